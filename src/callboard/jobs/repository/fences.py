"""Locking the rows of jobs in one order and comparing fences, for every multi-row write of this package.

Rows are locked `ORDER BY id FOR NO KEY UPDATE`: unordered batches of two processes deadlock each other, and
a fence that is compared in a JOIN, without the lock, lets a late row appear after a take-over.
On SQLite the transaction itself (BEGIN IMMEDIATE) is the lock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.bulk import insert_rows, update_rows
from callboard.core.clock import now
from callboard.core.json_values import dumps
from callboard.jobs.models import Job, JobEvent
from callboard.jobs.status import JobStatus


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append to a job's stream."""

    job_id: UUID
    event: str
    data: Mapping[str, Any]


def one_of(connection: AsyncConnection, column: Any, ids: Iterable[UUID]) -> sa.ColumnElement[bool]:
    """Return the condition that `column` is one of `ids`: one array on PostgreSQL, so one plan for any count."""
    wanted = list(ids)
    if connection.dialect.name == "postgresql":
        return sa.type_coerce(column, sa.Uuid()) == sa.any_(sa.literal(wanted, postgresql.ARRAY(sa.Uuid())))
    return sa.type_coerce(column, sa.Uuid()).in_(wanted)


async def lock_jobs(connection: AsyncConnection, ids: Iterable[UUID], *columns: Any) -> dict[UUID, sa.Row[Any]]:
    """Lock the jobs of `ids` in the order of their ids and return what stands in them now.

    Beside `columns` each row has `id`, `fence`, `status`, `last_event_id`.
    """
    query = (
        sa.select(Job.id, Job.fence, Job.status, Job.last_event_id, *columns)
        .where(one_of(connection, Job.id, sorted(set(ids))))
        .order_by(Job.id)
        .with_for_update(key_share=True)
    )
    return {row.id: row for row in await connection.execute(query)}


def is_owned(row: sa.Row[Any] | None, fence: int) -> bool:
    """Return whether a run with `fence` may still write to the job that `row` was locked from."""
    return row is not None and row.fence == fence and row.status == JobStatus.PROCESSING


async def update_jobs(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write columns of jobs that this transaction has locked. Rows of one call name the same columns.

    A row's `job_id` says which job; the rest are columns and their values.
    """
    await update_rows(connection, Job, rows, key="id", key_name="job_id")


async def append_events(
    connection: AsyncConnection, events: Sequence[NewEvent], locked: Mapping[UUID, Any]
) -> dict[UUID, int]:
    """Append `events` to their jobs' streams and return each job's new last event id.

    The jobs are locked by this transaction; `locked` has their rows. The caller writes the returned ids.
    """
    last = {job_id: row.last_event_id for job_id, row in locked.items()}
    rows = []
    moment = now()
    for event in events:
        last[event.job_id] += 1
        rows.append(
            {
                "job_id": event.job_id,
                "event_id": last[event.job_id],
                "event": event.event,
                "data": dumps(event.data),
                "created_at": moment,
            }
        )
    await insert_rows(connection, JobEvent, rows)
    return last
