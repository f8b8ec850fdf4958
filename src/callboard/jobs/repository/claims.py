"""Claiming: the most urgent ready jobs become one worker's, each with a new fence."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.bulk import insert_rows
from callboard.core.clock import now
from callboard.core.database import Database, UtcDateTime
from callboard.core.ids import JobId, WorkerId
from callboard.core.json_values import dumps
from callboard.jobs.models import Job, JobEvent, Worker
from callboard.jobs.repository.fences import one_of
from callboard.jobs.repository.lanes import choose_within_limits, lane_columns, lane_of, read_allowances
from callboard.jobs.repository.readiness import (
    READY_INDEX,
    SUSPECTS_INDEX,
    by_index,
    in_claim_order,
    is_ready,
    is_suspect,
)
from callboard.jobs.running_limits import NO_LIMITS, RunningLimits
from callboard.jobs.status import JobStatus

_CLAIM_LOCK = 0xCA11B0A2C  # claims serialise: several claimers at once are slower than one (measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job as its worker needs it. Everything it writes carries `fence`."""

    id: JobId
    fence: int
    last_event_id: int
    tenant_id: str
    workflow_name: str
    definition_hash: str
    celery_task_id: str
    user_id: str | None
    related_entity_type: str | None
    related_entity_id: str | None
    input_data: str
    attempt: int
    active_ms: int
    timeout_seconds: int
    budget_usd: Decimal | None
    started_at: datetime

    @property
    def was_claimed_before(self) -> bool:
        return self.fence > 1


_CLAIMED_COLUMNS = [getattr(Job, name) for name in ClaimedJob.__dataclass_fields__]


async def claim_jobs(
    database: Database, worker_id: WorkerId, limit: int, *, limits: RunningLimits = NO_LIMITS
) -> list[ClaimedJob]:
    """Claim up to `limit` ready jobs for `worker_id` and return them, by priority, then age.

    Jobs that `limits` do not let start now stand back, and those behind them are claimed. Suspects are no one's to
    claim here. A worker that was marked dead, or has stopped, claims nothing.
    Source: PostgreSQL manual, SELECT, "The Locking Clause" (SKIP LOCKED).
    """
    async with _claiming(database) as connection:
        ready = sa.select(Job.id).where(is_ready())
        if limits.are_set:
            ready = ready.where(one_of(connection, Job.id, await choose_within_limits(connection, limit, limits)))
        else:
            ready = by_index(Job, READY_INDEX, ready)
        return await _claim(connection, worker_id, ready, limit)


async def claim_suspect(
    database: Database, worker_id: WorkerId, *, limits: RunningLimits = NO_LIMITS
) -> ClaimedJob | None:
    """Claim the most urgent suspect that `limits` let start now, for a worker that runs nothing else."""
    async with _claiming(database) as connection:
        allowances = await read_allowances(connection, limits)
        suspects = by_index(Job, SUSPECTS_INDEX, sa.select(Job.id, *lane_columns()).where(is_suspect()))
        may_start = [row.id for row in await connection.execute(suspects) if allowances.left(lane_of(row)) != 0]
        chosen = sa.select(Job.id).where(is_suspect(), one_of(connection, Job.id, may_start))
        jobs = await _claim(connection, worker_id, chosen, 1)
    return jobs[0] if jobs else None


@asynccontextmanager
async def _claiming(database: Database) -> AsyncIterator[AsyncConnection]:
    """Give a transaction in which nobody else claims: what it counts as running stays true until it commits."""
    async with database.transaction() as connection:
        if database.is_postgresql:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CLAIM_LOCK)))
        yield connection


async def _claim(
    connection: AsyncConnection, worker_id: WorkerId, candidates: sa.Select[Any], limit: int
) -> list[ClaimedJob]:
    """Make the first `limit` of `candidates` this worker's, but for those that somebody has locked."""
    is_alive = sa.exists().where(Worker.id == worker_id, Worker.dead_at.is_(None), Worker.stopped_at.is_(None))
    first = candidates.where(is_alive).order_by(*in_claim_order()).limit(limit).with_for_update(skip_locked=True)
    ids: list[UUID] = [row.id for row in await connection.execute(first)]
    if not ids:
        return []
    rows = (await connection.execute(_take(connection, ids, worker_id))).all()
    await _write_started_events(connection, rows)
    claimed = {row.id: ClaimedJob(**row._mapping) for row in rows}  # noqa: SLF001 - Row's documented mapping
    return [claimed[job_id] for job_id in ids if job_id in claimed]


def _take(connection: AsyncConnection, ids: Sequence[UUID], worker_id: WorkerId) -> sa.UpdateBase:
    moment = now()
    return (
        sa.update(Job)
        .where(one_of(connection, Job.id, ids))
        .values(
            status=JobStatus.PROCESSING,
            owner=worker_id,
            fence=Job.fence + 1,
            claimed_at=moment,
            started_at=sa.func.coalesce(Job.started_at, sa.literal(moment, UtcDateTime())),
            last_event_id=Job.last_event_id + 1,
            updated_at=moment,
        )
        .returning(*_CLAIMED_COLUMNS)
    )


async def _write_started_events(connection: AsyncConnection, rows: Sequence[sa.Row[Any]]) -> None:
    """Write `job.started` under the event id that the claim has just given."""
    moment = now()
    events = [
        {
            "job_id": row.id,
            "event_id": row.last_event_id,
            "event": "job.started",
            "data": dumps({"fence": row.fence}),
            "created_at": moment,
        }
        for row in rows
    ]
    await insert_rows(connection, JobEvent, events)
