"""Cleaning up after jobs: what got no further fails as stale, what ended long ago is deleted.

`sweeper.py` calls `run_due` in every worker, `admin_router.py` the rest, and whoever has a schedule of their own
`clean_up_stale`. All work is done in batches with a rest in between, so that nothing that is hot waits for it; a
kill leaves whole batches done and others not begun. `goes_on` is asked before each batch.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from callboard.core.batch_writer import MAX_ROWS
from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.repository import TenantScope
from callboard.jobs.errors import RetentionOffError
from callboard.jobs.repository.housekeeping import housekeeping_turn
from callboard.jobs.repository.retention import (
    count_consumed,
    count_ended,
    count_unused_bundles,
    delete_consumed,
    delete_ended,
    delete_unused_bundles,
    list_ended,
)
from callboard.jobs.repository.stale import count_stale, fail_stale, list_stale
from callboard.jobs.status import JobStatus

BATCH_ROWS = MAX_ROWS  # a transaction: nobody waits longer for one than for a flush of the runs
REST_SECONDS = 0.1  # between batches
MAX_IDS_SHOWN = 100
MIN_BUNDLE_AGE = timedelta(days=1)  # a workflow that is submitted now and then keeps its bundle
EVERY_TENANT = TenantScope.every_tenant()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleReport:
    """How many jobs failed as stale, or would, by the status that they had; `job_ids` are the first of them.

    `is_complete` is False when time was up before all were done.
    """

    by_status: Mapping[JobStatus, int]
    job_ids: Sequence[UUID]
    is_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """What was deleted, or would be. `job_ids` are some of the jobs, and only where none was deleted.

    `is_complete` is False when time was up before all were done.
    """

    jobs: int
    bundles: int
    outbox_rows: int
    job_ids: Sequence[UUID] = ()
    is_complete: bool = True


def always() -> bool:
    """Let a clean-up go on until it is done."""
    return True


class HousekeepingService:
    """Cleans up in one tenant, or in all. `stale_after_hours` and `retention_days` are for the schedule; 0 is off.

    `abort_run` and `announce` tell this process's runner and waiters of a job that was ended here.
    """

    def __init__(
        self,
        database: Database,
        *,
        stale_after_hours: int,
        retention_days: int,
        abort_run: Callable[[UUID], None],
        announce: Callable[[UUID], None],
    ) -> None:
        self._database = database
        self._stale_after_hours = stale_after_hours
        self._retention_days = retention_days
        self._abort_run = abort_run
        self._announce = announce

    async def run_due(self, goes_on: Callable[[], bool] = always) -> None:
        """Clean up by the settings, unless another process is at it."""
        if not self._stale_after_hours and not self._retention_days:
            return
        async with housekeeping_turn(self._database) as is_ours:
            if not is_ours:
                return
            if self._stale_after_hours:
                await self.clean_up_stale(timedelta(hours=self._stale_after_hours), goes_on=goes_on)
            if self._retention_days:
                await self.delete_old(timedelta(days=self._retention_days), goes_on=goes_on)

    async def clean_up_stale(
        self, older_than: timedelta, *, scope: TenantScope = EVERY_TENANT, goes_on: Callable[[], bool] = always
    ) -> StaleReport:
        """Fail the jobs that are pending, queued or processing without progress for `older_than`; return how many.

        Waiting jobs are left. Whoever holds one that is ended here can write nothing more but usage.
        """
        by_status: Counter[JobStatus] = Counter()
        shown: list[UUID] = []
        last: UUID | None = None
        is_complete = False
        while not is_complete and goes_on():
            ids = await list_stale(self._database, scope, before=now() - older_than, after=last, limit=BATCH_ROWS)
            if not ids:
                is_complete = True
                continue
            for job in await fail_stale(self._database, ids, older_than=older_than):
                by_status[job.status] += 1
                shown.append(job.id)
                self._tell_of_end(job.id, job.status)
            del shown[MAX_IDS_SHOWN:]
            last = ids[-1]
            await asyncio.sleep(REST_SECONDS)
        if by_status:
            log.warning(
                "housekeeping.stale",
                older_than_hours=older_than.total_seconds() / 3600,
                **{str(status): count for status, count in by_status.items()},
            )
        return StaleReport(by_status=by_status, job_ids=shown, is_complete=is_complete)

    async def preview_stale(self, older_than: timedelta, *, scope: TenantScope) -> StaleReport:
        """Return what `clean_up_stale` would do now."""
        before = now() - older_than
        by_status = await count_stale(self._database, scope, before=before)
        ids = await list_stale(self._database, scope, before=before, after=None, limit=MAX_IDS_SHOWN)
        return StaleReport(by_status=by_status, job_ids=ids)

    async def delete_old(
        self, older_than: timedelta, *, scope: TenantScope = EVERY_TENANT, goes_on: Callable[[], bool] = always
    ) -> RetentionReport:
        """Delete the jobs that ended longer than `older_than` ago, and what is of no use without them.

        Beside them go bundles that no job names any more, and outbox rows that were consumed as long ago.
        """
        before, written_before = now() - older_than, now() - max(older_than, MIN_BUNDLE_AGE)
        jobs, has_all_jobs = await _repeat(
            lambda: delete_ended(self._database, scope, before=before, limit=BATCH_ROWS), goes_on
        )
        bundles, has_all_bundles = await _repeat(
            lambda: delete_unused_bundles(self._database, written_before=written_before, limit=BATCH_ROWS), goes_on
        )
        outbox_rows, has_all_rows = await _repeat(
            lambda: delete_consumed(self._database, scope, before=before, limit=BATCH_ROWS), goes_on
        )
        if jobs or bundles or outbox_rows:
            log.info(
                "housekeeping.retention",
                older_than_days=older_than.total_seconds() / 86400,
                jobs=jobs,
                bundles=bundles,
                outbox_rows=outbox_rows,
            )
        return RetentionReport(
            jobs=jobs,
            bundles=bundles,
            outbox_rows=outbox_rows,
            is_complete=has_all_jobs and has_all_bundles and has_all_rows,
        )

    async def preview_old(self, older_than: timedelta, *, scope: TenantScope) -> RetentionReport:
        """Return what `delete_old` would do now."""
        before, written_before = now() - older_than, now() - max(older_than, MIN_BUNDLE_AGE)
        return RetentionReport(
            jobs=await count_ended(self._database, scope, before=before),
            bundles=await count_unused_bundles(
                self._database, scope, written_before=written_before, ended_before=before
            ),
            outbox_rows=await count_consumed(self._database, scope, before=before),
            job_ids=await list_ended(self._database, scope, before=before, limit=MAX_IDS_SHOWN),
        )

    def retention(self, older_than_days: int | None) -> timedelta:
        """Return for how long to keep what has ended: as asked, else by the setting. Raises: RetentionOffError."""
        days = self._retention_days if older_than_days is None else older_than_days
        if not days:
            raise RetentionOffError
        return timedelta(days=days)

    def _tell_of_end(self, job_id: UUID, status: JobStatus) -> None:
        if status is JobStatus.PROCESSING:
            self._abort_run(job_id)
        self._announce(job_id)


async def _repeat(delete: Callable[[], Awaitable[int]], goes_on: Callable[[], bool]) -> tuple[int, bool]:
    """Delete batch after batch; return how many rows that were, and whether all are gone."""
    total = 0
    while goes_on():
        deleted = await delete()
        total += deleted
        if not deleted:
            return total, True
        await asyncio.sleep(REST_SECONDS)
    return total, False
