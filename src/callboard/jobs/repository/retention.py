"""Deleting what has ended long ago: jobs with all that hangs on them, bundles that none names, consumed messages.

`jobs/housekeeping.py` calls each function again and again; a call is one transaction of `limit` rows at most.
Usage rows stay, without the id of their job.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.database import Database
from callboard.core.repository import TenantScope
from callboard.jobs.models import Job
from callboard.jobs.repository.fences import one_of
from callboard.jobs.status import FINAL_STATUSES
from callboard.webhooks.models import OutboxMessage
from callboard.workflows.models import WorkflowBundle

FINAL = sorted(FINAL_STATUSES)


async def list_ended(database: Database, scope: TenantScope, *, before: datetime, limit: int) -> Sequence[UUID]:
    """Return jobs that ended before that moment, the oldest end first."""
    query = sa.select(Job.id).where(_has_ended(before), *_in(Job, scope)).order_by(Job.completed_at).limit(limit)
    async with database.reads() as session:
        return (await session.scalars(query)).all()


async def count_ended(database: Database, scope: TenantScope, *, before: datetime) -> int:
    """Return how many jobs ended before that moment."""
    return await _count(database, sa.select(sa.func.count(Job.id)).where(_has_ended(before), *_in(Job, scope)))


async def delete_ended(database: Database, scope: TenantScope, *, before: datetime, limit: int) -> int:
    """Delete jobs that ended before that moment, oldest first, and return how many.

    Journal, events, waits and webhook attempts go with them. One whose row somebody else has locked is left: it
    is being retried, or deleted. So two that delete take different jobs, and neither waits.
    """
    query = sa.select(Job.id).where(_has_ended(before), *_in(Job, scope)).order_by(Job.completed_at).limit(limit)
    async with database.transaction() as connection:
        ids = (await connection.scalars(query.with_for_update(skip_locked=True))).all()
        await delete_locked_jobs(connection, ids)
    return len(ids)


async def delete_locked_jobs(connection: AsyncConnection, job_ids: Sequence[UUID]) -> None:
    """Delete jobs whose rows this transaction has locked, and what hangs on them."""
    if job_ids:
        await connection.execute(sa.delete(Job).where(one_of(connection, Job.id, job_ids)))


async def count_consumed(database: Database, scope: TenantScope, *, before: datetime) -> int:
    """Return how many outbox rows were consumed before that moment."""
    counted = sa.select(sa.func.count(OutboxMessage.id))
    return await _count(database, counted.where(OutboxMessage.consumed_at < before, *_in(OutboxMessage, scope)))


async def delete_consumed(database: Database, scope: TenantScope, *, before: datetime, limit: int) -> int:
    """Delete outbox rows that were consumed before that moment and return how many. Others wait for who reads them."""
    old = (
        sa.select(OutboxMessage.id)
        .where(OutboxMessage.consumed_at < before, *_in(OutboxMessage, scope))
        .order_by(OutboxMessage.consumed_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    async with database.transaction() as connection:
        ids = (await connection.scalars(old)).all()
        if ids:
            await connection.execute(sa.delete(OutboxMessage).where(one_of(connection, OutboxMessage.id, ids)))
    return len(ids)


async def count_unused_bundles(
    database: Database, scope: TenantScope, *, written_before: datetime, ended_before: datetime
) -> int:
    """Return how many bundles no job would name if those were deleted that ended before that moment."""
    goes = sa.and_(_has_ended(ended_before), *_in(Job, scope))
    stays = sa.exists().where(Job.definition_hash == WorkflowBundle.hash, sa.not_(goes))
    counted = sa.select(sa.func.count()).select_from(WorkflowBundle)
    return await _count(database, counted.where(WorkflowBundle.created_at < written_before, ~stays))


async def delete_unused_bundles(database: Database, *, written_before: datetime, limit: int) -> int:
    """Delete bundles that no job names, of those written before that moment, and return how many.

    They are locked first and judged by a second statement. A submit holds the lock of the bundle that it names
    until its job is there to be seen (`submissions.py`); a condition judged before the lock would not see it.
    """
    is_named = sa.exists().where(Job.definition_hash == WorkflowBundle.hash)
    unused = (
        sa.select(WorkflowBundle.hash)
        .where(WorkflowBundle.created_at < written_before, ~is_named)
        .order_by(WorkflowBundle.hash)
        .limit(limit)
        .with_for_update(skip_locked=True)  # one that is locked is being named
    )
    async with database.transaction() as connection:
        hashes = (await connection.scalars(unused)).all()
        if not hashes:
            return 0
        deleted = await connection.scalars(
            sa.delete(WorkflowBundle).where(WorkflowBundle.hash.in_(hashes), ~is_named).returning(WorkflowBundle.hash)
        )
        return len(deleted.all())


def _has_ended(before: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(Job.completed_at < before, Job.status.in_(FINAL))


def _in(table: type[Job | OutboxMessage], scope: TenantScope) -> list[sa.ColumnElement[bool]]:
    return [] if scope.tenant_id is None else [table.tenant_id == scope.tenant_id]


async def _count(database: Database, query: sa.Select[Any]) -> int:
    async with database.reads() as session:
        return await session.scalar(query) or 0
