"""Waiting for jobs to end, without a session or a query per waiter.

`service.py` waits here for `?wait=`; the runner of this process announces its ends at once, and one query
every `LOOK_SECONDS` asks for all others together.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import UUID

import structlog

from callboard.core.database import DATABASE_ERRORS

CLOSE_SECONDS = 5.0  # for a look under way; a database that hangs gets no more
LOOK_SECONDS = 0.25  # how late a job that another process ended is noticed

log = structlog.get_logger(__name__)


class Endings:
    """Tells waiters that a job has ended. `find_ended` returns those of the given ids that have."""

    def __init__(self, find_ended: Callable[[Sequence[UUID]], Awaitable[Iterable[UUID]]]) -> None:
        self._find_ended = find_ended
        self._waiters: dict[UUID, set[asyncio.Future[None]]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, job_id: UUID, *, seconds: float) -> None:
        """Return when the job has ended, or after `seconds`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[job_id].add(waiter)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="job-endings")
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            return
        finally:
            self._waiters[job_id].discard(waiter)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    def announce(self, job_id: UUID) -> None:
        """Wake whoever waits for this job."""
        for waiter in self._waiters.get(job_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def close(self) -> None:
        """Wake everybody: the process stops."""
        for job_id in list(self._waiters):
            self.announce(job_id)
        if self._looking is not None:  # it ends by itself; cancelled within a query it could leave a connection behind
            await asyncio.wait([self._looking], timeout=CLOSE_SECONDS)
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        while self._waiters:
            try:
                for job_id in await self._find_ended(list(self._waiters)):
                    self.announce(job_id)
            except DATABASE_ERRORS as error:
                log.warning("endings.look_failed", error=repr(error)[:300])
            await asyncio.sleep(LOOK_SECONDS)
