"""Running again: a retry begins a job that ended badly anew, a fork makes a new job from a part of another.

Both keep journal rows, so what was paid is not paid again. Called by `jobs/reruns.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.ids import JobId
from callboard.jobs.errors import JobNotFoundError
from callboard.jobs.models import Job, JobOutput, JobStep
from callboard.jobs.repository.fences import NewEvent, append_events, lock_jobs, update_jobs
from callboard.jobs.repository.idempotency import EarlierUse, Idempotency, find_use, take_key
from callboard.jobs.repository.submissions import Accepted, NewJob, insert_jobs_in, notify
from callboard.jobs.status import JobStatus, ensure_retryable
from callboard.workflows.steps.base import StepOutcome


async def retry_job(database: Database, job_id: JobId, idempotency: Idempotency | None) -> EarlierUse | None:
    """Put a failed or cancelled job back into the queue for another attempt and return None.

    A key that was used before changes nothing: what it was used for is returned.

    Raises: IllegalMoveError, for a job in any other state.
    """
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, [job_id], Job.attempt)
        row = locked[job_id]
        if idempotency is not None:
            earlier = await find_use(connection, idempotency)
            if earlier is not None:
                return earlier
        ensure_retryable(JobStatus(row.status))
        if idempotency is not None:
            await take_key(database, connection, idempotency, created_id=job_id, created_at=now())
        event = NewEvent(job_id, "job.retried", {"attempt": row.attempt + 1})
        last_events = await append_events(connection, [event], locked)
        moment = now()
        values = {
            "job_id": job_id,
            "status": JobStatus.QUEUED,
            "attempt": row.attempt + 1,
            "retry_count": 0,
            "active_ms": 0,
            "claimed_at": None,
            "cancel_requested_at": None,
            "wake_at": None,
            "error": None,
            "error_message": None,
            "completed_at": None,
            "duration_ms": None,
            "is_stale": False,
            "stale_reason": None,
            "queued_at": moment,
            "updated_at": moment,
            "last_event_id": last_events[job_id],
        }
        await update_jobs(connection, [values])
        await notify(database, connection)
    return None


async def insert_fork(database: Database, job: NewJob, *, source_id: UUID, step_ids: Sequence[str]) -> Accepted:
    """Write `job` with the journal rows that `source_id` has of its top-level steps `step_ids`, at no cost.

    Raises: JobNotFoundError, when the source was deleted meanwhile.
    """
    async with database.transaction() as connection:
        if source_id not in await lock_jobs(connection, [source_id]):
            raise JobNotFoundError(f"Job {source_id} was deleted a moment ago; there is nothing to fork.")
        (accepted,) = await insert_jobs_in(database, connection, [job])
        if accepted.is_new and step_ids:
            await _copy_journal(connection, source_id, job.job_id, step_ids)
    return accepted


async def list_done_steps(database: Database, job_id: UUID, step_ids: Sequence[str]) -> set[str]:
    """Return those of the top-level steps `step_ids` that have ended in a way that stands."""
    query = sa.select(JobStep.path).where(
        JobStep.job_id == job_id, JobStep.path.in_(step_ids), JobStep.status != StepOutcome.FAILED
    )
    async with database.reads() as session:
        return set((await session.scalars(query)).all())


async def read_input(database: Database, job_id: UUID) -> str:
    """Return a job's input, as JSON text."""
    async with database.reads() as session:
        return (await session.scalars(sa.select(Job.input_data).where(Job.id == job_id))).one()


async def _copy_journal(connection: AsyncConnection, source_id: UUID, target_id: UUID, step_ids: Sequence[str]) -> None:
    """Copy rows as they are, but for the job and the fence: no run of the new job wrote them."""
    steps, outputs = JobStep.__table__, JobOutput.__table__
    is_kept = sa.and_(
        steps.c.job_id == source_id,
        steps.c.status != StepOutcome.FAILED,
        sa.or_(*(_belongs_to(steps.c.path, step_id) for step_id in step_ids)),
    )
    own: dict[str, sa.ColumnElement[Any]] = {
        "job_id": sa.literal(target_id, sa.Uuid()),
        "fence": sa.literal(0, sa.BigInteger),
    }
    await connection.execute(sa.insert(JobStep).from_select(*_copied(steps, own, is_kept)))
    paths = sa.select(steps.c.path).where(is_kept)
    is_theirs = sa.and_(outputs.c.job_id == source_id, outputs.c.path.in_(paths))
    await connection.execute(sa.insert(JobOutput).from_select(*_copied(outputs, own, is_theirs)))


def _copied(
    table: sa.FromClause, own: Mapping[str, sa.ColumnElement[Any]], condition: sa.ColumnElement[bool]
) -> tuple[list[str], sa.Select[*tuple[Any, ...]]]:
    """Return the columns of `table`, and rows to insert into them: those of `condition`, with `own` values."""
    names = [column.name for column in table.c]
    columns = [own[name].label(name) if name in own else table.c[name] for name in names]
    return names, sa.select(*columns).where(condition)


def _belongs_to(path: sa.ColumnElement[str], step_id: str) -> sa.ColumnElement[bool]:
    """Return whether a path is the step's own, or of what is inside it: its calls, its choice, its children."""
    inside = (path.startswith(step_id + mark, autoescape=True) for mark in ("/", "[", "#", "?"))
    return sa.or_(path == step_id, *inside)
