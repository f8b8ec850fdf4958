"""Jobs that got no further for too long: counting them, and ending them as failed. `jobs/housekeeping.py` calls it.

A job's progress is its `updated_at`: its submit, a claim, a hand-back or take-over, a step that began, was tried
again or was journaled. A lease that is renewed is none, nor is a worker that lives. Back and forth between
workers cannot go on for ever: a run's `timeout_seconds` counts all the time in which one held it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from callboard.core.clock import now, to_iso
from callboard.core.database import Database
from callboard.core.ids import JobId
from callboard.core.repository import TenantScope
from callboard.jobs.errors import StaleJobError
from callboard.jobs.models import Job
from callboard.jobs.repository.budgets import confirm_nothing
from callboard.jobs.repository.fences import lock_jobs, one_of
from callboard.jobs.repository.finishes import ENDING_COLUMNS, Finish, end_locked_jobs
from callboard.jobs.repository.submissions import notify
from callboard.jobs.status import JobStatus
from callboard.workflows.errors import error_of_run

CAN_BE_STALE = (JobStatus.PENDING, JobStatus.QUEUED, JobStatus.PROCESSING)  # who waits has been told to


@dataclass(frozen=True, slots=True)
class StaleJob:
    """A job without progress, and where it stood."""

    id: UUID
    status: JobStatus


async def count_stale(database: Database, scope: TenantScope, *, before: datetime) -> dict[JobStatus, int]:
    """Return how many jobs made no progress since `before`, by status."""
    query = sa.select(Job.status, sa.func.count()).where(_is_stale(before), *_in(scope)).group_by(Job.status)
    async with database.reads() as session:
        return {JobStatus(row[0]): row[1] for row in await session.execute(query)}


async def list_stale(
    database: Database, scope: TenantScope, *, before: datetime, after: UUID | None, limit: int
) -> Sequence[UUID]:
    """Return jobs that made no progress since `before`, in the order of their ids, those beyond `after`."""
    query = sa.select(Job.id).where(_is_stale(before), *_in(scope)).order_by(Job.id).limit(limit)
    if after is not None:
        query = query.where(Job.id > after)
    async with database.reads() as session:
        return (await session.scalars(query)).all()


async def fail_stale(database: Database, job_ids: Sequence[UUID], *, older_than: timedelta) -> list[StaleJob]:
    """End those of `job_ids` that are stale in one transaction and return them.

    Each is judged once more under its lock: it may have been claimed, ended or journaled meanwhile. The fence
    grows, so whoever held it can write nothing but usage. One that was to be cancelled ends as cancelled.
    """
    before = now() - older_than
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, job_ids, *ENDING_COLUMNS, Job.updated_at)
        stale = {key: row for key, row in locked.items() if row.status in CAN_BE_STALE and row.updated_at < before}
        cut_off = await confirm_nothing(connection, stale)
        await end_locked_jobs(
            connection, [_finish_of(row, older_than) for row in stale.values()], stale, cut_off=cut_off
        )
        if stale:
            reason = f"no progress for {_in_words(older_than)}"
            await connection.execute(
                sa.update(Job)
                .where(one_of(connection, Job.id, stale))
                .values(fence=Job.fence + 1, is_stale=True, stale_reason=reason)
            )
        for key in sorted(stale):
            if stale[key].status == JobStatus.PROCESSING:  # a worker that lives aborts its calls
                await notify(database, connection, f"cancel {key}")
    return [StaleJob(key, JobStatus(row.status)) for key, row in stale.items()]


def _is_stale(before: datetime) -> sa.ColumnElement[bool]:
    # No index has updated_at: it changes with every step, and a new version of the row would touch the index.
    return sa.and_(Job.status.in_(CAN_BE_STALE), Job.updated_at < before)


def _in(scope: TenantScope) -> list[sa.ColumnElement[bool]]:
    return [] if scope.tenant_id is None else [Job.tenant_id == scope.tenant_id]


def _finish_of(row: sa.Row[Any], older_than: timedelta) -> Finish:
    if row.cancel_requested_at is not None:
        return Finish(job_id=JobId(row.id), fence=row.fence, status=JobStatus.CANCELLED)
    error = StaleJobError(
        f"The job made no progress for {_in_words(older_than)}: it was {row.status}, and last got further at "
        f"{to_iso(row.updated_at)}. Look whether a worker lives, then submit it again.",
        details={"status": row.status, "last_progress_at": to_iso(row.updated_at)},
    )
    return Finish(job_id=JobId(row.id), fence=row.fence, status=JobStatus.FAILED, error=error_of_run(error))


def _in_words(duration: timedelta) -> str:
    hours = duration.total_seconds() / 3600
    return f"{hours:g} hour{'' if hours == 1 else 's'}"
