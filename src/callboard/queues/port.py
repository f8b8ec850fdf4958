"""What a doorbell is: how workers learn that there is work. The database alone knows what the work is.

`jobs/service.py` rings after a commit; `jobs/sweeper.py` rings again for what nobody came for. Each adapter
calls the `run_next` that `wiring` hands it.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

RunNext: TypeAlias = Callable[[], Awaitable[int]]
"""Claims what there is room for, starts it, and returns how many jobs that were."""


class Doorbell(Protocol):
    """Rings workers. A ring may be lost or doubled: the sweeper and polling make up for it."""

    def ring(self) -> None:
        """Tell workers that there is work. Never blocks, never raises."""
        ...

    async def start(self, run_next: RunNext) -> None:
        """Begin to call `run_next` when it rings, and now and then without."""
        ...

    async def stop(self) -> None:
        """Call `run_next` no more."""
        ...
