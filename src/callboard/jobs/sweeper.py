"""Looks after what no single run can see: dead workers, lost jobs, cancels from elsewhere, old rows.

Runs in every worker process beside `runner.py`. Its queries are short; the database decides who is first.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from uuid import UUID

import structlog

from callboard.core.cache_table import delete_expired_answers
from callboard.core.clock import now
from callboard.core.database import DATABASE_ERRORS, Database
from callboard.core.ids import WorkerId
from callboard.jobs.housekeeping import HousekeepingService
from callboard.jobs.leases import WorkerLease
from callboard.jobs.process_identity import is_gone
from callboard.jobs.repository.housekeeping import (
    count_unclaimed,
    delete_old_rows,
    list_cancel_requests,
)
from callboard.jobs.repository.takeovers import take_back_forgotten, take_over_jobs
from callboard.jobs.repository.waits import list_news
from callboard.jobs.repository.wakings import wake_due_jobs
from callboard.jobs.repository.workers import list_living_workers, mark_dead
from callboard.jobs.runner import JobRunner
from callboard.jobs.spending_limits import SpendingLimits
from callboard.jobs.status import JobStatus
from callboard.queues.port import Ring

CANCEL_LOOK_SECONDS = 0.3  # a cancel is promised within a second, whoever runs the job
WAKE_LOOK_SECONDS = 0.5  # how late a timer of a parked job may be noticed
SWEEPS_PER_LEASE = 6
MAX_SWEEP_SECONDS = 5.0  # a dead neighbour on the same host is noticed this soon
MAX_GAP_OF_LEASE = 0.5  # three sweeps missed, while a lease that is renewed in time has more left than this
UNCLAIMED_SECONDS = 2.0  # a job for which there is room is claimed within milliseconds, or its ring was lost
MAX_RING_PAUSE_SECONDS = 30.0  # where ringing does not help, as with a broker that is away
LIMITS_LOOK_SECONDS = 5.0  # how late a limit that was set elsewhere may begin to count
HOUSEKEEPING_SECONDS = 600.0
STOP_SECONDS = 5.0  # for a look under way when this process stops; a database that hangs gets no more

log = structlog.get_logger(__name__)


class Sweeper:
    """The housekeeping of one worker process."""

    def __init__(
        self,
        database: Database,
        *,
        runner: JobRunner,
        lease: WorkerLease,
        limits: SpendingLimits,
        lease_seconds: float,
        idempotency_hours: int,
        housekeeping: HousekeepingService,
        ring: Ring,
    ) -> None:
        self._database = database
        self._runner = runner
        self._lease = lease
        self._limits = limits
        self._lease_seconds = lease_seconds
        self._idempotency_hours = idempotency_hours
        self._housekeeping = housekeeping
        self._ring = ring
        self._sweep_seconds = min(MAX_SWEEP_SECONDS, lease_seconds / SWEEPS_PER_LEASE)
        self._watched_since: float | None = None
        self._answered_at = 0.0
        self._rung_for: UUID | None = None
        self._ring_again_at = 0.0
        self._ring_pause_seconds = 0.0
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Sweep once, so that a restart takes over at once, and then again and again."""
        await self._once(self.sweep)
        await self._once(self._limits.refresh)
        self._tasks = [
            asyncio.create_task(self._repeat(self._limits.refresh, LIMITS_LOOK_SECONDS), name="spending-limits"),
            asyncio.create_task(self._repeat(self.begin_anew_if_lost, CANCEL_LOOK_SECONDS), name="lease-watch"),
            asyncio.create_task(self._repeat(self.sweep, self._sweep_seconds), name="sweeper"),
            asyncio.create_task(self._repeat(self.heed_cancels, CANCEL_LOOK_SECONDS), name="cancel-look"),
            asyncio.create_task(self._repeat(self.wake_due, WAKE_LOOK_SECONDS), name="timers"),
            asyncio.create_task(self._repeat(self.clean_up, HOUSEKEEPING_SECONDS), name="housekeeping"),
        ]

    async def stop(self) -> None:
        """Return when nothing is looked after any more.

        A look under way is waited for: cancelled in the middle, it could leave a connection behind.
        """
        self._stopping.set()
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)

    async def sweep(self) -> None:
        """Mark dead workers, take over their jobs, hand back what this process forgot."""
        workers = await list_living_workers(self._database)
        self._note_gap()
        for worker in workers:
            if worker.id == self._lease.worker_id:
                continue
            if is_gone(worker.identity, self._lease.identity):
                await self._bury(worker.id, why="process_gone", only_if_expired=False)
            elif worker.is_expired and self._has_watched_a_lease():
                await self._bury(worker.id, why="lease_expired", only_if_expired=True)
        await self._take_over()
        forgotten = await take_back_forgotten(self._database, self._lease.worker_id, self._runner.holds)
        if forgotten:
            log.warning("sweeper.took_back_forgotten", **_by_name(forgotten))
            self._ring(forgotten.get(JobStatus.QUEUED, 0))
        await self.ring_for_unclaimed()

    async def ring_for_unclaimed(self) -> int:
        """Ring for ready jobs that nobody came for, as many as there are free slots; return how many that were.

        Where the same job is left after a ring, the next one comes later: tokens that nobody takes would pile up.
        """
        unclaimed = await count_unclaimed(self._database, ready_before=now() - timedelta(seconds=UNCLAIMED_SECONDS))
        if unclaimed.oldest != self._rung_for:
            self._rung_for, self._ring_pause_seconds, self._ring_again_at = unclaimed.oldest, self._sweep_seconds, 0.0
        if not unclaimed.count or time.monotonic() < self._ring_again_at:
            return 0
        self._ring_again_at = time.monotonic() + self._ring_pause_seconds * 0.9  # the clock of the sweeps has a jitter
        self._ring_pause_seconds = min(self._ring_pause_seconds * 2, MAX_RING_PAUSE_SECONDS)
        log.info("sweeper.rang_again", jobs=unclaimed.count)
        self._ring(unclaimed.count)
        return unclaimed.count

    async def heed_cancels(self) -> None:
        """Abort the runs of this process that somebody asked to cancel, and wake those that there is news for."""
        for job_id in await list_cancel_requests(self._database, self._lease.worker_id):
            self._runner.cancel(job_id)
        waiting = self._runner.list_waiting_for_news()
        if waiting:
            for job_id in await list_news(self._database, waiting):
                self._runner.wake(job_id)

    async def wake_due(self) -> None:
        """Put parked jobs whose time is up back into the queue."""
        while woken := await wake_due_jobs(self._database):
            self._ring(woken)

    async def begin_anew_if_lost(self) -> None:
        """When somebody marked this worker dead: let go of its runs, and come back as a new worker."""
        if not self._lease.is_lost:
            return
        log.error("worker.marked_dead", worker_id=str(self._lease.worker_id))
        self._runner.abandon_all()
        await self._lease.register_again()

    async def clean_up(self) -> None:
        """Delete what nothing reads any more, fail what got no further, delete what ended long ago."""
        await delete_old_rows(self._database, keys_before=now() - timedelta(hours=self._idempotency_hours))
        await delete_expired_answers(self._database, before=now())
        await self._housekeeping.run_due(lambda: not self._stopping.is_set())

    def _has_watched_a_lease(self) -> bool:
        """Whether the database has answered us for one full lease without a gap."""
        return self._watched_since is not None and time.monotonic() - self._watched_since >= self._lease_seconds

    def _note_gap(self) -> None:
        """Begin to watch anew when the database's last answer is long ago.

        A database that hangs, or a process that was frozen, raises no error; but then every lease has run out,
        and everybody needs the time to renew before anybody is judged.
        """
        answered_at = time.monotonic()
        if self._watched_since is None or answered_at - self._answered_at > self._lease_seconds * MAX_GAP_OF_LEASE:
            self._watched_since = answered_at
        self._answered_at = answered_at

    async def _bury(self, worker_id: WorkerId, *, why: str, only_if_expired: bool) -> None:
        if await mark_dead(self._database, worker_id, only_if_expired=only_if_expired):
            log.warning("sweeper.worker_dead", worker_id=str(worker_id), why=why)

    async def _take_over(self) -> None:
        taken = await take_over_jobs(self._database)
        while taken:
            log.warning("sweeper.took_over", **_by_name(taken))
            self._ring(taken.get(JobStatus.QUEUED, 0))
            taken = await take_over_jobs(self._database)

    async def _repeat(self, task: Callable[[], Awaitable[None]], seconds: float) -> None:
        while not await self._is_stopping_within(seconds):
            await self._once(task)

    async def _is_stopping_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _once(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except DATABASE_ERRORS as error:
            self._watched_since = None
            log.warning("sweeper.database_away", error=repr(error)[:300])


def _by_name(counts: Mapping[JobStatus, int]) -> dict[str, int]:
    return {str(status): count for status, count in counts.items()}
