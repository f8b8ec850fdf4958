"""The sweeper's queries: cancels to heed, and rows that nobody reads any more."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.idempotency import IdempotencyKey
from callboard.core.ids import WorkerId
from callboard.jobs.models import Job, Worker
from callboard.jobs.repository.spending import KEEP_ACCOUNTS, delete_old_accounts
from callboard.jobs.status import JobStatus

KEEP_WORKERS = timedelta(days=7)


async def list_cancel_requests(database: Database, worker_id: WorkerId) -> Sequence[UUID]:
    """Return the running jobs of this worker that somebody asked to cancel."""
    query = sa.select(Job.id).where(
        Job.owner == worker_id, Job.cancel_requested_at.is_not(None), Job.status == JobStatus.PROCESSING
    )
    async with database.reads() as session:
        return (await session.scalars(query)).all()


async def delete_old_rows(database: Database, *, keys_before: datetime) -> None:
    """Delete idempotency keys made before `keys_before`, workers that left, and accounts of days, long ago."""
    async with database.transaction() as connection:
        await connection.execute(sa.delete(IdempotencyKey).where(IdempotencyKey.created_at < keys_before))
        left_before = now() - KEEP_WORKERS
        still_named = sa.exists().where(Job.owner == Worker.id)
        has_left = sa.or_(Worker.stopped_at < left_before, Worker.dead_at < left_before)
        await connection.execute(sa.delete(Worker).where(has_left, ~still_named))
        await delete_old_accounts(connection, before=now() - KEEP_ACCOUNTS)
