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
from callboard.jobs.repository.workers import mark_dead
from callboard.jobs.status import JobStatus, ensure_legal

MAX_JOBS_PER_TAKEOVER = 500
UNSEEN_FACTOR = 2  # a suspect's child may die with its whole machine, for which the job is not to blame at once
FORGOTTEN_AFTER = timedelta(seconds=10)  # a claim's commit may be heard of late, but not this late


async def take_over_jobs(database: Database) -> dict[JobStatus, int]:
    """Take every job whose worker is dead or gone, at most `MAX_JOBS_PER_TAKEOVER`; return how many went where.

    A job goes back to the queue with a new fence; one that was to be cancelled ends. One whose workers died
    `max_retries - 1` times without a new journal row is a suspect from then on.
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
    return await _take(database, fences, is_culprit=False)


async def take_from_child(database: Database, worker_id: WorkerId) -> dict[JobStatus, int]:
    """Take what a worker ran alone that has just died before our eyes; return how many went where.

    Nobody and nothing else died with it, so the job is to blame: its `max_retries`th take-over ends it as
    `worker_lost`.
    """
    await mark_dead(database, worker_id, only_if_expired=False)
    held = sa.select(Job.id, Job.fence).where(Job.owner == worker_id, Job.status == JobStatus.PROCESSING)
    async with database.reads() as session:
        fences = {row.id: row.fence for row in await session.execute(held)}
    return await _take(database, fences, is_culprit=True)


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
    return await _take(database, fences, is_culprit=True)


async def _take(database: Database, fences: Mapping[UUID, int], *, is_culprit: bool) -> dict[JobStatus, int]:
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
        verdicts = {key: _judge(row, journal_rows.get(key, 0), is_culprit=is_culprit) for key, row in lost.items()}
        cut_off = await confirm_nothing(connection, lost)
        ends = [finish for finish in verdicts.values() if isinstance(finish, Finish)]
        await end_locked_jobs(connection, ends, lost, cut_off=cut_off)
        await _requeue(connection, {key: values for key, values in verdicts.items() if isinstance(values, dict)}, lost)
        await notify(database, connection)
    return _count_verdicts(verdicts)


def _judge(row: sa.Row[Any], journal_rows: int, *, is_culprit: bool) -> Finish | dict[str, Any]:
    """Return how a lost job ends, or the column values with which it goes back to the queue."""
    if row.cancel_requested_at is not None:
        return Finish(job_id=row.id, fence=row.fence, status=JobStatus.CANCELLED)
    is_further = journal_rows > row.journal_rows_at_takeover
    retry_count = row.retry_count if is_further else row.retry_count + 1
    most = row.max_retries if is_culprit else row.max_retries * UNSEEN_FACTOR
    if not is_further and retry_count >= most:
        return Finish(job_id=row.id, fence=row.fence, status=JobStatus.FAILED, error=_worker_lost(row, retry_count))
    return {"retry_count": retry_count, "journal_rows_at_takeover": journal_rows}


def _worker_lost(row: sa.Row[Any], retry_count: int) -> dict[str, Any]:
    error = WorkerLostError()
    return {
        "type": error.code,
        "category": error.category,
        "message": error.message,
        "retryable": False,
        "step_id": row.current_step,
        "details": {"take_overs": retry_count},
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
