"""The journal: writing what steps ended with and what calls cost, and reading it back for a replay."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.ids import JobId
from callboard.core.json_values import loads
from callboard.jobs.models import JobStep
from callboard.jobs.repository.budgets import Settlement, settle_calls
from callboard.jobs.repository.fences import NewEvent, append_events, is_owned, lock_jobs, update_jobs
from callboard.llm.models import ProviderUsage
from callboard.workflows.steps.base import Progress, RecordedStep, StepOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalWrite:
    """What one run wants made durable at one moment. Every part may be missing.

    `step` and `usage` are columns of `JobStep` and `ProviderUsage`; `settlement` is of what was reserved for a call.
    """

    job_id: JobId
    fence: int
    step: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    settlement: Settlement | None = None
    event: NewEvent | None = None
    progress: Progress | None = None


async def write_journal(database: Database, writes: Sequence[JournalWrite]) -> list[bool]:
    """Write many runs' journal in one transaction; return for each whether its run is still the owner.

    Usage is written, and reservations settled, in any case: money that was spent is counted, whoever holds the lease.
    """
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, (write.job_id for write in writes))
        owned = [write for write in writes if is_owned(locked.get(write.job_id), write.fence)]
        await _insert_steps(database, connection, owned)
        await _insert_usage(database, connection, [write for write in writes if write.job_id in locked])
        await _write_progress(connection, owned, locked)
        await settle_calls(
            connection,
            [write.settlement for write in writes if write.settlement is not None and write.job_id in locked],
        )
    still_owned = {id(write) for write in owned}
    return [id(write) in still_owned for write in writes]


async def load_journal(database: Database, job_id: JobId) -> dict[str, RecordedStep]:
    """Return what earlier attempts journaled for this job, by path, without what failed."""
    query = sa.select(JobStep.path, JobStep.status, JobStep.output, JobStep.choice, JobStep.error).where(
        JobStep.job_id == job_id, JobStep.status != StepOutcome.FAILED
    )
    async with database.reads() as session:
        rows = (await session.execute(query)).all()
    return {
        row.path: RecordedStep(
            outcome=StepOutcome(row.status), output_json=row.output, choice=row.choice, error=_read_error(row.error)
        )
        for row in rows
    }


async def _insert_steps(database: Database, connection: AsyncConnection, writes: Sequence[JournalWrite]) -> None:
    rows = [write.step for write in writes if write.step is not None]
    if not rows:
        return
    statement = database.insert(JobStep)
    given = statement.excluded
    replaced = {column.name: given[column.name] for column in JobStep.__table__.c if not column.primary_key}
    await connection.execute(
        # A failed row gives way to a later attempt; any other row stands: writing it again is success.
        statement.on_conflict_do_update(
            index_elements=["job_id", "path"], set_=replaced, where=JobStep.status == StepOutcome.FAILED
        ),
        rows,
    )


async def _insert_usage(database: Database, connection: AsyncConnection, writes: Sequence[JournalWrite]) -> None:
    rows = [write.usage for write in writes if write.usage is not None]
    if rows:
        statement = database.insert(ProviderUsage)
        await connection.execute(
            statement.on_conflict_do_nothing(index_elements=["job_id", "path", "fence", "call"]), rows
        )


async def _write_progress(
    connection: AsyncConnection, writes: Sequence[JournalWrite], locked: dict[UUID, sa.Row[Any]]
) -> None:
    """Append the events and move each job's progress on, one row per job."""
    if not writes:
        return
    last_events = await append_events(connection, [write.event for write in writes if write.event], locked)
    progress: dict[UUID, Progress] = {}
    for write in writes:
        if write.progress is not None:
            progress[write.job_id] = write.progress
    moment = now()
    with_progress = [
        {
            "job_id": job_id,
            "last_event_id": last_events[job_id],
            "steps_completed": progress[job_id].steps_completed,
            "current_step": progress[job_id].current_step,
            "updated_at": moment,
        }
        for job_id in sorted(progress)
    ]
    without = sorted({write.job_id for write in writes} - set(progress))
    await update_jobs(connection, with_progress)
    await update_jobs(
        connection, [{"job_id": key, "last_event_id": last_events[key], "updated_at": moment} for key in without]
    )


def _read_error(text: str | None) -> dict[str, Any] | None:
    return None if text is None else loads(text)
