"""What a queue is: how workers learn that there is work. The database alone knows what the work is.

Everybody rings a `Doorbell`: `jobs/service.py` after a commit, `jobs/runner.py` for jobs handed back,
`jobs/sweeper.py` for what nobody came for. How a worker answers differs:

    embedded.py          the bell calls the `RunNext` that `wiring` hands it, and now and then without a ring
    celery.py, arq.py    each ring is a token in a broker; whoever takes one calls `TokenTasks.take`
"""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from callboard.core.json_values import JsonValue

RUN_NEXT_TASK = "run_next"  # the name of a token, in every broker
MAX_PRIORITY = 10

RunNext: TypeAlias = Callable[[], Awaitable[int]]
"""Claims what there is room for, starts it, and returns how many jobs that were."""

TaskResult: TypeAlias = Mapping[str, JsonValue]
"""What a task gives back: a few words that Flower and the like show."""


class Ring(Protocol):
    """How `Doorbell.ring` is called."""

    def __call__(self, count: int = 1, *, priority: int = 0) -> None: ...


class Doorbell(Protocol):
    """Rings workers. A ring may be lost or doubled: the sweeper and polling make up for it."""

    def ring(self, count: int = 1, *, priority: int = 0) -> None:
        """Tell workers that `count` jobs are ready. Never blocks, never raises.

        `priority` (0-10, 10 most urgent) is a hint to the broker; the claim decides by what the rows say.
        """
        ...

    def slot_freed(self) -> None:
        """Hear that this process has room for one run more. Never blocks, never raises."""
        ...

    async def close(self) -> None:
        """Let what was rung go out, for a bounded time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTasks:
    """What the tasks of a broker's worker call, all on the loop that runs the jobs.

    `take` claims one job for a token, waits for it, and returns what became of it. `periodic` are the tasks
    that a clock sends, by name.
    """

    take: Callable[[], Coroutine[Any, Any, TaskResult]]
    periodic: Mapping[str, Callable[[], Coroutine[Any, Any, TaskResult]]]


OpenTokenWorker: TypeAlias = Callable[[int], AbstractAsyncContextManager[TokenTasks]]
"""Opens the services of a worker process that holds so many runs at once; leaving closes them in good order."""


class MissingExtraError(ImportError):
    """A program was asked for that is not installed; the message names the extra to install."""


def missing_extra(extra: str) -> MissingExtraError:
    """Return the error for a queue whose packages are not there."""
    return MissingExtraError(
        f"QUEUE_BACKEND={extra} needs packages that are not installed: pip install 'callboard[{extra}]'."
    )
