"""The doorbell inside a process: an event, with polling as the net. The default, on both databases.

`wiring` gives it to `jobs/service.py` to ring and starts it where a worker runs. Processes on PostgreSQL
also hear each other (`core/notifications.py` rings this bell); on SQLite the poll finds others' jobs.
"""

import asyncio

import structlog

from callboard.core.database import DATABASE_ERRORS
from callboard.queues.port import RunNext

log = structlog.get_logger(__name__)


class EmbeddedDoorbell:
    """Calls `run_next` at once when it rings, and every `poll_seconds` without."""

    def __init__(self, *, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._rung = asyncio.Event()
        self._is_stopping = False
        self._answering: asyncio.Task[None] | None = None

    def ring(self, count: int = 1, *, priority: int = 0) -> None:  # noqa: ARG002 - `run_next` takes what there is
        self._rung.set()

    def slot_freed(self) -> None:
        self.ring()

    async def close(self) -> None:
        """Do nothing: no ring leaves this process."""

    async def start(self, run_next: RunNext) -> None:
        self._answering = asyncio.create_task(self._answer(run_next), name="embedded-doorbell")

    async def stop(self) -> None:
        """Call `run_next` no more. A claim under way is waited for: what it commits would have no runner."""
        self._is_stopping = True
        self.ring()
        if self._answering is not None:
            await asyncio.wait([self._answering])
            self._answering = None

    async def _answer(self, run_next: RunNext) -> None:
        while not self._is_stopping:
            self._rung.clear()
            if not await _found_work(run_next):
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._poll_seconds):
                await self._rung.wait()
        except TimeoutError:
            return


async def _found_work(run_next: RunNext) -> bool:
    """Return whether `run_next` found work; False while the database is away, for polling goes on."""
    try:
        return await run_next() > 0
    except DATABASE_ERRORS as error:
        log.warning("queue.claim_failed", error=repr(error)[:300])
        return False
