"""This process as a worker that others can see living: one row, renewed by a thread of its own.

`jobs/runner.py` asks `is_current` before it starts a call. A thread with its own connection renews, so that
a busy loop does not look dead; and it stops renewing when the loop has not answered for long, so that a
frozen one does.
"""

import asyncio
import threading
import time

import structlog

from callboard.core.database import DATABASE_ERRORS, Database
from callboard.core.ids import WorkerId, new_uuid
from callboard.jobs.process_identity import ProcessIdentity
from callboard.jobs.repository.workers import insert_worker, mark_stopped, renew_worker

RENEWALS_PER_LEASE = 4  # three may fail before the lease runs out
MAX_LOOP_SILENCE_SECONDS = 120  # longer than any step is allowed to hold the loop, by far
LOOP_BEAT_SECONDS = 1.0
LEAVING_PATIENCE_SECONDS = 5.0  # a worker that stops, or was marked dead, waits this long for a database

log = structlog.get_logger(__name__)


class WorkerLease:
    """The row of this worker. `is_lost` when somebody marked it dead."""

    def __init__(self, database: Database, *, lease_seconds: float, slots: int) -> None:
        self._database = database
        self._lease_seconds = lease_seconds
        self._slots = slots
        self.identity = ProcessIdentity.of_this_process()
        self.worker_id = WorkerId(new_uuid())
        self._renewed_at = 0.0
        self._loop_answered_at = 0.0
        self._is_lost = False
        self._is_leaving = False
        self._stop = threading.Event()
        self._renewer: threading.Thread | None = None
        self._beat: asyncio.Task[None] | None = None

    @property
    def is_current(self) -> bool:
        """Whether this worker may start a new call: its lease has been renewed in time."""
        return not self._is_lost and time.monotonic() < self._renewed_at + self._lease_seconds

    @property
    def is_lost(self) -> bool:
        """Whether somebody marked this worker dead. What it holds is no longer its own."""
        return self._is_lost

    def keeps_trying(self, waited_seconds: float) -> bool:
        """Return whether a write that failed for want of a database is worth repeating.

        It is while this worker may still be the owner, however long the database is away: nobody takes over
        before it is back and every lease has had its time. One that was marked dead, or leaves, waits a little,
        for what it paid is to be counted, and then lets go: others find what is in the journal.
        """
        is_going = self._is_lost or self._is_leaving or self._stop.is_set()
        return not is_going or waited_seconds < LEAVING_PATIENCE_SECONDS

    def leave(self) -> None:
        """Begin to leave: a database that is away is waited for no longer than a moment."""
        self._is_leaving = True

    async def register(self, worker_id: WorkerId | None = None) -> None:
        """Write this worker's row, with `worker_id` or a new id, and begin to renew it."""
        self.worker_id = worker_id or WorkerId(new_uuid())
        before = time.monotonic()
        async with self._database.transaction() as connection:
            await insert_worker(
                connection, self.worker_id, self.identity, lease_seconds=self._lease_seconds, slots=self._slots
            )
        self._renewed_at = self._loop_answered_at = before
        self._is_lost = False
        self._stop = threading.Event()
        self._beat = asyncio.create_task(self._keep_beating(), name="worker-lease-beat")
        self._renewer = threading.Thread(
            target=lambda: asyncio.run(self._renew_until_stopped(self._stop)), name="worker-lease", daemon=True
        )
        self._renewer.start()
        log.info("worker.registered", worker_id=str(self.worker_id), host=self.identity.host, pid=self.identity.pid)

    async def stop(self) -> None:
        """Stop renewing and write that this worker left in good order, if the database is there to hear it."""
        await self._stop_renewing()
        if self._is_lost:
            return
        try:
            await mark_stopped(self._database, self.worker_id)
        except DATABASE_ERRORS as error:
            # the sweeper of another process sees on its own that this one is gone
            log.warning("worker.stop_not_written", worker_id=str(self.worker_id), error=repr(error)[:300])

    async def register_again(self) -> None:
        """Begin anew after the lease was lost: the dead row stays dead, this process gets another."""
        await self._stop_renewing()
        await self.register()

    async def _stop_renewing(self) -> None:
        self._stop.set()
        if self._beat is not None:
            self._beat.cancel()
        if self._renewer is not None:
            await asyncio.to_thread(self._renewer.join)

    async def _keep_beating(self) -> None:
        while True:
            self._loop_answered_at = time.monotonic()
            await asyncio.sleep(LOOP_BEAT_SECONDS)

    async def _renew_until_stopped(self, stop: threading.Event) -> None:
        """Run in the renewal thread, on a loop and a connection of its own."""
        engine = self._database.single_connection_engine()
        pause = self._lease_seconds / RENEWALS_PER_LEASE
        try:
            while not stop.wait(pause):
                if time.monotonic() - self._loop_answered_at > MAX_LOOP_SILENCE_SECONDS:
                    log.error("worker.loop_silent", worker_id=str(self.worker_id), seconds=MAX_LOOP_SILENCE_SECONDS)
                    continue
                before = time.monotonic()
                try:
                    async with engine.begin() as connection:
                        is_ours = await renew_worker(connection, self.worker_id, lease_seconds=self._lease_seconds)
                except DATABASE_ERRORS as error:
                    log.warning("worker.renewal_failed", worker_id=str(self.worker_id), error=repr(error)[:300])
                    continue
                if not is_ours:
                    self._is_lost = True
                    break
                self._renewed_at = before
        finally:
            await engine.dispose()
