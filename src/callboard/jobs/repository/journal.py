"""The journal: writing what steps ended with and what calls cost, and reading it back for a replay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.bulk import insert_rows, once
from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.ids import JobId
from callboard.core.json_values import loads
from callboard.jobs.models import JobStep
from callboard.jobs.repository.budgets import Settlement, settle_calls
from callboard.jobs.repository.fences import NewEvent, append_events, is_owned, lock_jobs, update_jobs
from callboard.jobs.repository.outputs import compress_outputs, insert_outputs, is_large, read_outputs
from callboard.llm.models import ProviderUsage
from callboard.workflows.steps.base import Progress, RecordedStep, StepOutcome

WITHOUT_JOB: Mapping[str, None] = dict.fromkeys(
    ("job_id", "user_id", "related_entity_type", "related_entity_id", "metadata")  # it may be its user who was erased
)


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
    outputs = await _compress_large_outputs(writes)  # before: no row is locked meanwhile
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, (write.job_id for write in writes))
        owned = [write for write in writes if is_owned(locked.get(write.job_id), write.fence)]
        await _insert_steps(connection, owned, outputs)
        await insert_outputs(database, connection, [outputs[id(write)] for write in owned if id(write) in outputs])
        await _insert_usage(connection, writes, locked)
        await _write_progress(connection, owned, locked)
        await settle_calls(
            connection,
            [write.settlement for write in writes if write.settlement is not None and write.job_id in locked],
        )
    still_owned = {id(write) for write in owned}
    return [id(write) in still_owned for write in writes]


async def load_journal(database: Database, job_id: JobId) -> dict[str, RecordedStep]:
    """Return what earlier attempts journaled for this job, by path, without what failed."""
    query = sa.select(
        JobStep.path, JobStep.status, JobStep.output, JobStep.large_output_bytes, JobStep.choice, JobStep.error
    ).where(JobStep.job_id == job_id, JobStep.status != StepOutcome.FAILED)
    async with database.reads() as session:
        rows = (await session.execute(query)).all()
        large = [row.path for row in rows if row.large_output_bytes is not None]
        outputs = await read_outputs(session, job_id, large)
    return {
        row.path: RecordedStep(
            outcome=StepOutcome(row.status),
            output_json=row.output if row.large_output_bytes is None else outputs[row.path],
            choice=row.choice,
            error=_read_error(row.error),
        )
        for row in rows
    }


async def _compress_large_outputs(writes: Sequence[JournalWrite]) -> dict[int, dict[str, Any]]:
    """Return the rows of outputs that are kept apart, by the identity of their write."""
    large = {id(write): write.step for write in writes if write.step is not None and is_large(write.step["output"])}
    return dict(zip(large, await compress_outputs(list(large.values())), strict=True)) if large else {}


async def _insert_steps(
    connection: AsyncConnection, writes: Sequence[JournalWrite], outputs: Mapping[int, Mapping[str, Any]]
) -> None:
    rows = [_step_row(write.step, outputs.get(id(write))) for write in writes if write.step is not None]
    for each in _in_rounds(rows):
        await insert_rows(connection, JobStep, each, refine=_replacing_failed)


def _in_rounds(rows: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return `rows` in lists none of which has a step instance twice: one statement cannot change a row twice."""
    rounds: list[dict[tuple[UUID, str], dict[str, Any]]] = []
    for row in rows:
        key = (row["job_id"], row["path"])
        free = next((each for each in rounds if key not in each), None)
        if free is None:
            rounds.append(free := {})
        free[key] = row
    return [list(each.values()) for each in rounds]


def _replacing_failed(statement: Any) -> Any:
    """A failed row gives way to a later attempt; any other row stands: writing it again is success."""
    given = statement.excluded
    replaced = {column.name: given[column.name] for column in JobStep.__table__.c if not column.primary_key}
    return statement.on_conflict_do_update(
        index_elements=["job_id", "path"], set_=replaced, where=JobStep.status == StepOutcome.FAILED
    )


async def _insert_usage(
    connection: AsyncConnection, writes: Sequence[JournalWrite], locked: Mapping[UUID, Any]
) -> None:
    """Count the calls; those of a job that was deleted meanwhile count without it, and without its user."""
    rows = [
        write.usage if write.job_id in locked else {**write.usage, **WITHOUT_JOB}
        for write in writes
        if write.usage is not None
    ]
    # a row is known by its id, too: without a job the key of calls does not tell two writes apart
    await insert_rows(connection, ProviderUsage, rows, refine=once)


def _step_row(step: dict[str, Any], output: Mapping[str, Any] | None) -> dict[str, Any]:
    if output is None:
        return {**step, "large_output_bytes": None}
    return {**step, "output": None, "large_output_bytes": output["size_bytes"]}


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
