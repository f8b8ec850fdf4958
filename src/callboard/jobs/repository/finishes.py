"""Ending a run: completed, failed, cancelled, handed back to the queue, or parked; ends with outbox row and costs.

A job's end, its outbox row and its last event are one transaction. Cancel against finish: the first commit
wins, so a run that finishes after a cancel was accepted ends as cancelled. A run is parked only while nothing
that it waits for has come: else it goes back to the queue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.bulk import insert_rows
from callboard.core.clock import milliseconds_between, now, to_iso
from callboard.core.database import Database, utc_now
from callboard.core.ids import JobId, new_uuid
from callboard.core.json_values import dumps, with_member
from callboard.jobs.costs import CostData, summarise_costs
from callboard.jobs.models import Job
from callboard.jobs.repository.budgets import confirm_nothing
from callboard.jobs.repository.fences import NewEvent, append_events, is_owned, lock_jobs, update_jobs
from callboard.jobs.repository.usage import load_usage
from callboard.jobs.repository.waits import close_waits, look_before_parking
from callboard.jobs.status import JobStatus, ensure_legal
from callboard.webhooks.models import OutboxMessage

ENDING_COLUMNS = (
    Job.tenant_id,
    Job.workflow_name,
    Job.user_id,
    Job.started_at,
    Job.claimed_at,
    Job.active_ms,
    Job.cancel_requested_at,
    Job.total_steps,
    Job.steps_completed,
    Job.current_step,
    Job.unconfirmed_usd,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How a run ended, as its worker says. QUEUED hands the job back to whoever claims it next, WAITING parks it.

    `outputs_json` is the workflow's outputs, a JSON object as text; `error` the error document of a failure;
    `waits` the ids of all that a parked run waits for; `wake_at` when the first of their times is up. `has_reserved`:
    the run may have left reservations of calls that were cut off.
    """

    job_id: JobId
    fence: int
    status: JobStatus
    outputs_json: str = "{}"
    error: Mapping[str, Any] | None = None
    waits: Sequence[UUID] = ()
    wake_at: datetime | None = None
    has_reserved: bool = False


class Finished(Enum):
    """What became of a finish."""

    WRITTEN = auto()
    REQUEUED = auto()  # it was to be parked, and there was news of what it waits for
    ALREADY = auto()  # the same run had ended the job before: the first try's commit was heard of late
    LOST = auto()  # somebody else owns the job by now


async def write_finishes(database: Database, finishes: Sequence[Finish]) -> list[Finished]:
    """End many runs in one transaction and return, in order, what became of each."""
    async with database.transaction() as connection:
        locked = await lock_jobs(
            connection, (finish.job_id for finish in finishes), *ENDING_COLUMNS, utc_now().label("moment")
        )
        outcomes = [_judge(locked.get(finish.job_id), finish) for finish in finishes]
        mine = [finish for finish, outcome in zip(finishes, outcomes, strict=True) if outcome is Finished.WRITTEN]
        ends = await _heed_news(connection, [_heed_cancel(finish, locked[finish.job_id]) for finish in mine], locked)
        cut_off = await confirm_nothing(connection, [finish.job_id for finish in ends if finish.has_reserved])
        await end_locked_jobs(connection, ends, locked, cut_off=cut_off)
        went = {finish.job_id for finish in ends if finish.status is JobStatus.QUEUED}
    return [
        Finished.REQUEUED
        if outcome is Finished.WRITTEN and finish.status is JobStatus.WAITING and finish.job_id in went
        else outcome
        for finish, outcome in zip(finishes, outcomes, strict=True)
    ]


async def end_locked_jobs(
    connection: AsyncConnection,
    finishes: Sequence[Finish],
    locked: Mapping[UUID, sa.Row[Any]],
    *,
    cut_off: Mapping[UUID, Decimal] | None = None,
) -> None:
    """Write `finishes` of jobs whose rows this transaction has locked with `ENDING_COLUMNS`.

    `cut_off` is what `confirm_nothing` has added to their `unconfirmed_usd` since they were locked.
    """
    if not finishes:
        return
    for finish in finishes:
        ensure_legal(JobStatus(locked[finish.job_id].status), finish.status)
    usage = await load_usage(connection, [finish.job_id for finish in finishes if finish.status.is_final])
    last_events = await append_events(connection, [_event_of(finish) for finish in finishes], locked)
    moment = now()
    rows = []
    messages = []
    for finish in sorted(finishes, key=lambda finish: finish.job_id):
        row = locked[finish.job_id]
        unconfirmed_usd = row.unconfirmed_usd + (cut_off or {}).get(finish.job_id, Decimal(0))
        costs = summarise_costs(usage.get(finish.job_id, []), unconfirmed_usd)
        ended = _ended_values(finish, row, costs, moment) if finish.status.is_final else _let_go(finish, row, moment)
        rows.append({"job_id": finish.job_id, "last_event_id": last_events[finish.job_id], **ended})
        if finish.status.is_final:
            messages.append(_outbox_values(finish, row, ended, costs, moment))
    await _update(connection, rows)
    await close_waits(connection, [finish.job_id for finish in finishes if finish.status.is_final])
    await insert_rows(connection, OutboxMessage, messages)


def _judge(row: sa.Row[Any] | None, finish: Finish) -> Finished:
    if row is not None and row.fence == finish.fence and JobStatus(row.status).is_final:
        return Finished.ALREADY
    return Finished.WRITTEN if is_owned(row, finish.fence) else Finished.LOST


def _heed_cancel(finish: Finish, row: sa.Row[Any]) -> Finish:
    if row.cancel_requested_at is None:
        return finish
    return Finish(
        job_id=finish.job_id, fence=finish.fence, status=JobStatus.CANCELLED, has_reserved=finish.has_reserved
    )


async def _heed_news(
    connection: AsyncConnection, finishes: Sequence[Finish], locked: Mapping[UUID, sa.Row[Any]]
) -> list[Finish]:
    """Hand back to the queue what was to be parked and has news; close what a parked run no longer waits for."""
    parks: dict[UUID, Sequence[UUID]] = {
        finish.job_id: finish.waits for finish in finishes if finish.status is JobStatus.WAITING
    }
    if not parks:
        return list(finishes)
    found = await look_before_parking(connection, parks, locked)
    parked = [job_id for job_id, until in found.items() if not until.has_news]
    await close_waits(connection, parked, but=[wait_id for job_id in parked for wait_id in parks[job_id]])
    return [
        finish
        if finish.job_id not in found
        else replace(finish, status=JobStatus.QUEUED)
        if found[finish.job_id].has_news
        else replace(finish, wake_at=found[finish.job_id].wake_at)
        for finish in finishes
    ]


def _ended_values(finish: Finish, row: sa.Row[Any], costs: CostData, moment: datetime) -> dict[str, Any]:
    is_completed = finish.status is JobStatus.COMPLETED
    result = with_member(finish.outputs_json, "cost_data", costs.to_json()) if is_completed else None
    return {
        "status": finish.status,
        "owner": None,
        "result_data": result,
        "error": None if finish.error is None else dumps(finish.error),
        "error_message": None if finish.error is None else finish.error["message"],
        "cost_usd": costs.total_cost_usd,
        "input_tokens": costs.input_tokens,
        "output_tokens": costs.output_tokens,
        "current_step": None if is_completed else row.current_step or (finish.error or {}).get("step_id"),
        "steps_completed": row.total_steps if is_completed else row.steps_completed,
        "active_ms": row.active_ms + held_ms(row, moment),
        "completed_at": moment,
        "duration_ms": milliseconds_between(row.started_at or moment, moment),
        "updated_at": moment,
    }


def _let_go(finish: Finish, row: sa.Row[Any], moment: datetime) -> dict[str, Any]:
    """Leave the job to whoever claims it next, now or when it wakes. The fence grows at once: the owner is out."""
    return {
        "status": finish.status,
        "owner": None,
        "fence": row.fence + 1,
        "claimed_at": None,
        "active_ms": row.active_ms + held_ms(row, moment),
        "wake_at": finish.wake_at,
        "updated_at": moment,
    }


def held_ms(row: sa.Row[Any], moment: datetime) -> int:
    """Return for how long the present worker has held the job: only that counts for its time limit."""
    return 0 if row.claimed_at is None else milliseconds_between(row.claimed_at, moment)


async def _update(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Write `rows` of one or two shapes (ended, let go), each shape as one statement."""
    for shape in sorted({tuple(sorted(row)) for row in rows}):
        await update_jobs(connection, [row for row in rows if tuple(sorted(row)) == shape])


def _event_of(finish: Finish) -> NewEvent:
    if finish.status.is_final:
        return NewEvent(finish.job_id, f"job.{finish.status}", {"error": finish.error} if finish.error else {})
    if finish.status is JobStatus.WAITING:
        wake_at = None if finish.wake_at is None else to_iso(finish.wake_at)
        return NewEvent(finish.job_id, "job.waiting", {"waits": len(finish.waits), "wake_at": wake_at})
    return NewEvent(finish.job_id, "job.requeued", {"reason": "news" if finish.waits else "handed_back"})


def _outbox_values(
    finish: Finish, row: sa.Row[Any], ended: Mapping[str, Any], costs: CostData, moment: datetime
) -> dict[str, Any]:
    payload = {
        "job_id": str(finish.job_id),
        "status": finish.status,
        "workflow_name": row.workflow_name,
        "user_id": row.user_id,
        "error": finish.error,
        "cost_data": costs.to_json(),
        "duration_ms": ended["duration_ms"],
    }
    return {
        "id": new_uuid(),
        "tenant_id": row.tenant_id,
        "job_id": finish.job_id,
        "event": f"workflow.{finish.status}",
        "payload": dumps(payload),
        "created_at": moment,
    }
