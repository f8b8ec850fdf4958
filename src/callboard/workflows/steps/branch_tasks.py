"""Runs the branches of a parallel step side by side, and unwinds them in the right order when one breaks.

Called by `steps/parallel.py`. Three ways to break: a failure (cancels the others if it is to fail fast),
a suspended run (lets calls in flight finish, since they are paid for), a cancelled run (cancels all).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from callboard.workflows.flows import Flows
from callboard.workflows.steps.base import RunSuspended, StepFailedError

ResultT = TypeVar("ResultT")
Start: TypeAlias = Callable[[], Coroutine[Any, Any, ResultT]]


async def run_branches(
    starts: Sequence[Start[ResultT]], *, flows: Flows, max_concurrency: int, fail_fast: bool
) -> list[ResultT]:
    """Return the results of `starts` in their order, at most `max_concurrency` running at once.

    Each is a flow of its own in `flows`; one that waits for a person keeps its place among `max_concurrency`.

    Raises: what the first branch to break raised, once no branch runs any more. Without `fail_fast` a
    StepFailedError lets the others go on to their end first, and the first in order is raised. RunSuspended
    starts and cancels nothing more, and is raised even if another branch fails meanwhile.
    """
    with flows.aside():  # whoever has branches goes on when they have ended
        return await _Window(starts, flows, max_concurrency, fail_fast).run()


class _Window(Generic[ResultT]):
    """The branches that run at the moment, and the first reason to stop."""

    def __init__(
        self,
        starts: Sequence[Start[ResultT]],
        flows: Flows,
        max_concurrency: int,
        fail_fast: bool,  # noqa: FBT001
    ) -> None:
        self._starts = starts
        self._flows = flows
        self._max_concurrency = max_concurrency
        self._fail_fast = fail_fast
        self._results: dict[int, ResultT] = {}
        self._failures: dict[int, StepFailedError] = {}
        self._running: dict[asyncio.Task[ResultT], int] = {}
        self._stop: BaseException | None = None
        self._is_unwinding = False

    async def run(self) -> list[ResultT]:
        following = iter(range(len(self._starts)))
        try:
            while True:
                self._fill(following)
                if not self._running:
                    break
                done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=self._running.__getitem__):
                    self._take(task)
        finally:
            await self._cancel_running()  # there are some only when we are cancelled ourselves
            if self._is_unwinding:
                self._flows.end()
        if self._stop is not None:
            raise self._stop
        if self._failures:
            raise self._failures[min(self._failures)]
        return [self._results[index] for index in range(len(self._starts))]

    def _fill(self, following: Iterator[int]) -> None:
        while self._stop is None and len(self._running) < self._max_concurrency:
            index = next(following, None)
            if index is None:
                return
            self._flows.begin()
            self._running[asyncio.ensure_future(self._starts[index]())] = index

    def _take(self, task: asyncio.Task[ResultT]) -> None:
        index = self._running.pop(task)
        self._flows.end()
        if task.cancelled():
            self._stop_with(asyncio.CancelledError())
            return
        error = task.exception()
        if error is None:
            self._results[index] = task.result()
        elif isinstance(error, StepFailedError) and not self._fail_fast:
            self._failures[index] = error
        else:
            self._stop_with(error)

    def _stop_with(self, error: BaseException) -> None:
        """Keep the first reason to stop; a suspended run goes before one that came while it unwinds."""
        if self._stop is not None:
            return
        self._stop = error
        if not isinstance(error, RunSuspended):
            self._cancel_all()

    def _cancel_all(self) -> None:
        """Cancel what runs. Until it has unwound this run is not idle, though all its flows may stand aside."""
        if not self._is_unwinding:
            self._is_unwinding = True
            self._flows.begin()
        for task in self._running:
            task.cancel()

    async def _cancel_running(self) -> None:
        if self._running:
            self._cancel_all()
            await asyncio.wait(self._running)
            for task in self._running:
                self._flows.end()
                if not task.cancelled():
                    task.exception()  # read, or asyncio would log it; what cancelled us counts
