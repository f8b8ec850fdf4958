"""The sweeper's queries: cancels to heed, whose turn it is to clean up, and rows that nobody reads any more."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from callboard.core.clock import now
from callboard.core.database import Database, utc_now
from callboard.core.idempotency import IdempotencyKey
from callboard.core.ids import WorkerId
from callboard.jobs.models import Job, Worker
from callboard.jobs.repository.readiness import in_claim_order, is_ready
from callboard.jobs.repository.spending import KEEP_ACCOUNTS, delete_old_accounts
from callboard.jobs.status import JobStatus

KEEP_WORKERS = timedelta(days=7)
_HOUSEKEEPING_LOCK = 0xCA11B0A  # with the schema: several Callboards may share a database


async def list_cancel_requests(database: Database, worker_id: WorkerId) -> Sequence[UUID]:
    """Return the running jobs of this worker that somebody asked to cancel."""
    query = sa.select(Job.id).where(
        Job.owner == worker_id, Job.cancel_requested_at.is_not(None), Job.status == JobStatus.PROCESSING
    )
    async with database.reads() as session:
        return (await session.scalars(query)).all()


@asynccontextmanager
async def housekeeping_turn(database: Database) -> AsyncIterator[bool]:
    """Give whether this process is the one of all that cleans up while the block lasts.

    The lock is a transaction's, not a session's, so that it holds behind a pooler, too. It is lost with its
    connection; two that clean up at once do no harm, they are only more load than one.
    """
    if not database.is_postgresql:
        yield True
        return
    key = sa.func.hashtext(database.schema)
    async with database.reads() as session:
        yield bool(await session.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(_HOUSEKEEPING_LOCK, key))))


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Ready jobs that nobody came for, at most as many as living workers have room for, and the oldest of them."""

    count: int
    oldest: UUID | None


async def count_unclaimed(database: Database, *, ready_before: datetime) -> Unclaimed:
    """Return what has been ready since `ready_before` while a slot was free for it."""
    slots = sa.select(sa.func.coalesce(sa.func.sum(Worker.slots), 0)).where(
        Worker.dead_at.is_(None), Worker.stopped_at.is_(None), Worker.lease_until > utc_now()
    )
    running = sa.select(sa.func.count()).where(Job.status == JobStatus.PROCESSING)
    async with database.reads() as session:
        free = int(await session.scalar(slots) or 0) - int(await session.scalar(running) or 0)
        if free <= 0:
            return Unclaimed(0, None)
        ready = (
            sa.select(Job.id).where(is_ready(), Job.updated_at < ready_before).order_by(*in_claim_order()).limit(free)
        )
        ids = (await session.scalars(ready)).all()
    return Unclaimed(len(ids), min(ids, default=None))


async def delete_old_rows(database: Database, *, keys_before: datetime) -> None:
    """Delete idempotency keys made before `keys_before`, workers that left, and accounts of days, long ago."""
    async with database.transaction() as connection:
        await connection.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < keys_before))
        left_before = now() - KEEP_WORKERS
        still_named = sa.exists().where(Job.owner == Worker.id)
        has_left = sa.or_(Worker.stopped_at < left_before, Worker.dead_at < left_before)
        await connection.execute(sa.delete(Worker).where(has_left, ~still_named))
        await delete_old_accounts(connection, before=now() - KEEP_ACCOUNTS)
