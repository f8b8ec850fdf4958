"""Taking jobs from workers that will not end them: the dead, and oneself where a claim was not heard of.

`jobs/sweeper.py` calls both functions. A job goes back to the queue with a new fence, so whoever held it is
out; one that gets no further however often it is tried ends as `worker_lost`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.ids import WorkerId
from callboard.jobs.errors import WorkerLostError
from callboard.jobs.models import Job, JobStep, Worker
from callboard.jobs.repository.budgets import confirm_nothing
from callboard.jobs.repository.fences import NewEvent, append_events, is_owned, lock_jobs, one_of, update_jobs
from callboard.jobs.repository.finishes import ENDING_COLUMNS, Finish, end_locked_jobs, held_ms
from callboard.jobs.repository.submissions import notify
from callboard.jobs.status import JobStatus, ensure_legal

MAX_JOBS_PER_TAKEOVER = 500
FORGOTTEN_AFTER = timedelta(seconds=10)  # a claim's commit may be heard of late, but not this late


async def take_over_jobs(database: Database) -> dict[JobStatus, int]:
    """Take every job whose worker is dead or gone, at most `MAX_JOBS_PER_TAKEOVER`; return how many went where.

    A job goes back to the queue with a new fence; one that was to be cancelled ends; one whose workers died
    more than `max_retries` times without a new journal row fails as `worker_lost`.
    """
    gone = sa.select(Worker.id).where(sa.or_(Worker.dead_at.is_not(None), Worker.stopped_at.is_not(None)))
    orphans = (
        sa.select(Job.id, Job.fence)
        .where(Job.owner.in_(gone), Job.status == JobStatus.PROCESSING)
        .order_by(Job.id)
        .limit(MAX_JOBS_PER_TAKEOVER)
    )
    async with database.reads() as session:
        fences = {row.id: row.fence for row in await session.execute(orphans)}
    return await _take(database, fences)


async def take_back_forgotten(
    database: Database, worker_id: WorkerId, holds: Callable[[UUID], bool]
) -> dict[JobStatus, int]:
    """Take jobs that are this worker's by the database, but not by `holds`; return how many went where.

    That happens when a claim was committed and the answer lost with the connection, or when a run broke in
    a way that nobody thought of; the same job breaking again and again ends as `worker_lost`.
    """
    claimed = sa.select(Job.id, Job.fence).where(
        Job.owner == worker_id, Job.status == JobStatus.PROCESSING, Job.claimed_at < now() - FORGOTTEN_AFTER
    )
    async with database.reads() as session:
        fences = {row.id: row.fence for row in await session.execute(claimed) if not holds(row.id)}
    return await _take(database, fences)


async def _take(database: Database, fences: Mapping[UUID, int]) -> dict[JobStatus, int]:
    """Take the jobs of `fences` from those that held them when they were looked up."""
    if not fences:
        return {}
    async with database.transaction() as connection:
        locked = await lock_jobs(
            connection, fences, *ENDING_COLUMNS, Job.retry_count, Job.max_retries, Job.journal_rows_at_takeover
        )
        # Another sweeper may have been first while we waited for the lock, and a living worker may hold it by now.
        lost = {key: row for key, row in locked.items() if is_owned(row, fences[key])}
        journal_rows = await _count_journal_rows(connection, list(lost))
        verdicts = {key: _judge(row, journal_rows.get(key, 0)) for key, row in lost.items()}
        cut_off = await confirm_nothing(connection, lost)
        ends = [finish for finish in verdicts.values() if isinstance(finish, Finish)]
        await end_locked_jobs(connection, ends, lost, cut_off=cut_off)
        await _requeue(connection, {key: values for key, values in verdicts.items() if isinstance(values, dict)}, lost)
        await notify(database, connection)
    return _count_verdicts(verdicts)


def _judge(row: sa.Row[Any], journal_rows: int) -> Finish | dict[str, Any]:
    """Return how a lost job ends, or the column values with which it goes back to the queue."""
    if row.cancel_requested_at is not None:
        return Finish(job_id=row.id, fence=row.fence, status=JobStatus.CANCELLED)
    is_further = journal_rows > row.journal_rows_at_takeover
    retry_count = row.retry_count if is_further else row.retry_count + 1
    if retry_count > row.max_retries:
        return Finish(job_id=row.id, fence=row.fence, status=JobStatus.FAILED, error=_worker_lost(row.retry_count))
    return {"retry_count": retry_count, "journal_rows_at_takeover": journal_rows}


def _worker_lost(retry_count: int) -> dict[str, Any]:
    error = WorkerLostError()
    return {
        "type": error.code,
        "category": error.category,
        "message": error.message,
        "retryable": False,
        "step_id": None,
        "details": {"take_overs": retry_count + 1},
    }


async def _requeue(
    connection: AsyncConnection, verdicts: Mapping[UUID, dict[str, Any]], locked: Mapping[UUID, sa.Row[Any]]
) -> None:
    if not verdicts:
        return
    ensure_legal(JobStatus.PROCESSING, JobStatus.QUEUED)
    events = [NewEvent(key, "job.requeued", {"reason": "worker_lost"}) for key in sorted(verdicts)]
    last_events = await append_events(connection, events, locked)
    moment = now()
    rows = [
        {
            "job_id": key,
            "status": JobStatus.QUEUED,
            "owner": None,
            "fence": locked[key].fence + 1,
            "claimed_at": None,
            "active_ms": locked[key].active_ms + held_ms(locked[key], moment),
            "last_event_id": last_events[key],
            "updated_at": moment,
            **verdicts[key],
        }
        for key in sorted(verdicts)
    ]
    await update_jobs(connection, rows)


async def _count_journal_rows(connection: AsyncConnection, job_ids: Sequence[UUID]) -> dict[UUID, int]:
    query = (
        sa.select(JobStep.job_id, sa.func.count())
        .where(one_of(connection, JobStep.job_id, job_ids))
        .group_by(JobStep.job_id)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}


def _count_verdicts(verdicts: Mapping[UUID, Finish | dict[str, Any]]) -> dict[JobStatus, int]:
    counts: dict[JobStatus, int] = {}
    for verdict in verdicts.values():
        status = verdict.status if isinstance(verdict, Finish) else JobStatus.QUEUED
        counts[status] = counts.get(status, 0) + 1
    return counts
