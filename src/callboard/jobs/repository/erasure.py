"""Erasing what is kept of a user: their jobs with all that hangs on them, and the person in what has to stay.

`jobs/erasure.py` calls it, again and again; a call is one transaction of `limit` rows at most. What has to
stay is money (usage rows) and what others have yet to hear of (outbox rows that nobody has consumed).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.database import Database
from callboard.core.idempotency import IdempotencyKey
from callboard.core.ids import JobId
from callboard.core.json_values import dumps, loads
from callboard.jobs.budget_scopes import BudgetScope
from callboard.jobs.models import BudgetAccount, Job, SpendingLimit
from callboard.jobs.repository.fences import lock_jobs, one_of
from callboard.jobs.repository.finishes import ENDING_COLUMNS, Finish, end_locked_jobs
from callboard.jobs.repository.retention import delete_locked_jobs
from callboard.jobs.status import JobStatus
from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage

WITHOUT_PERSON: Mapping[str, None] = {
    "user_id": None,
    "related_entity_type": None,
    "related_entity_id": None,
    "usage_metadata": None,  # ids of answers, addresses that were asked
}


@dataclass(frozen=True, slots=True)
class Person:
    """A user as the calling application names them, within one tenant."""

    tenant_id: str
    user_id: str


async def count_jobs(database: Database, person: Person) -> dict[JobStatus, int]:
    """Return how many jobs a user has, by status."""
    query = sa.select(Job.status, sa.func.count()).where(_is_of(Job, person)).group_by(Job.status)
    async with database.reads() as session:
        return {JobStatus(row[0]): row[1] for row in await session.execute(query)}


async def count_usage(database: Database, person: Person) -> int:
    """Return how many usage rows name a user."""
    query = sa.select(sa.func.count(ProviderUsage.id)).where(_is_of(ProviderUsage, person))
    async with database.reads() as session:
        return await session.scalar(query) or 0


async def list_running(database: Database, person: Person, *, after: UUID | None, limit: int) -> Sequence[UUID]:
    """Return a user's jobs that workers hold and nobody has cancelled, in the order of their ids."""
    query = (
        sa.select(Job.id)
        .where(_is_of(Job, person), Job.status == JobStatus.PROCESSING, Job.cancel_requested_at.is_(None))
        .order_by(Job.id)
        .limit(limit)
    )
    if after is not None:
        query = query.where(Job.id > after)
    async with database.reads() as session:
        return (await session.scalars(query)).all()


async def erase_jobs(database: Database, person: Person, *, limit: int) -> list[UUID]:
    """Cancel and delete a user's jobs that no worker holds, and return their ids.

    Steps, events, inputs, results, webhook attempts and Idempotency-Keys go with them, in one transaction with
    the person in their usage and outbox rows.
    """
    idle = sa.select(Job.id).where(_is_of(Job, person), Job.status != JobStatus.PROCESSING).order_by(Job.id)
    async with database.reads() as session:
        ids = (await session.scalars(idle.limit(limit))).all()
    if not ids:
        return []
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, ids, *ENDING_COLUMNS)
        mine = {key: row for key, row in locked.items() if row.status != JobStatus.PROCESSING}
        await _cancel(connection, mine)
        await _forget_in_usage(connection, list(mine))
        await _forget_in_outbox(connection, list(mine))
        await connection.execute(
            sa.delete(IdempotencyKey).where(
                IdempotencyKey.tenant_id == person.tenant_id, one_of(connection, IdempotencyKey.created_id, mine)
            )
        )
        await delete_locked_jobs(connection, list(mine))
    return list(mine)


async def forget_in_usage(database: Database, person: Person, *, limit: int) -> int:
    """Take a user out of usage rows whose jobs are gone or held by workers and return of how many."""
    named = (
        sa.select(ProviderUsage.id)
        .where(_is_of(ProviderUsage, person))
        .order_by(ProviderUsage.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    async with database.transaction() as connection:
        ids = (await connection.scalars(named)).all()
        if ids:
            await connection.execute(
                sa.update(ProviderUsage).where(one_of(connection, ProviderUsage.id, ids)).values(**WITHOUT_PERSON)
            )
    return len(ids)


async def forget_in_budgets(database: Database, person: Person) -> None:
    """Delete a user's limits, and their accounts for which no call is under way."""
    is_theirs = sa.and_(BudgetAccount.tenant_id == person.tenant_id, BudgetAccount.subject == person.user_id)
    is_users = BudgetAccount.scope.in_([scope for scope in BudgetScope if scope.is_of_user])
    has_limit = sa.and_(SpendingLimit.tenant_id == person.tenant_id, SpendingLimit.user_id == person.user_id)
    async with database.transaction() as connection:
        await connection.execute(
            sa.delete(BudgetAccount).where(is_theirs, is_users, BudgetAccount.reserved_usd == Decimal(0))
        )
        await connection.execute(sa.delete(SpendingLimit).where(has_limit))


async def _cancel(connection: AsyncConnection, locked: Mapping[UUID, sa.Row[Any]]) -> None:
    """End the jobs that have not ended: whoever waits for their ends hears of it."""
    ends = [
        Finish(job_id=JobId(key), fence=row.fence, status=JobStatus.CANCELLED)
        for key, row in locked.items()
        if not JobStatus(row.status).is_final
    ]
    await end_locked_jobs(connection, ends, locked)


async def _forget_in_usage(connection: AsyncConnection, job_ids: Sequence[UUID]) -> None:
    await connection.execute(
        sa.update(ProviderUsage).where(one_of(connection, ProviderUsage.job_id, job_ids)).values(**WITHOUT_PERSON)
    )


async def _forget_in_outbox(connection: AsyncConnection, job_ids: Sequence[UUID]) -> None:
    """Delete the messages of jobs that were consumed; take the person, and what an error may quote, out of others."""
    of_jobs = one_of(connection, OutboxMessage.job_id, job_ids)
    await connection.execute(sa.delete(OutboxMessage).where(of_jobs, OutboxMessage.consumed_at.is_not(None)))
    query = sa.select(OutboxMessage.id, OutboxMessage.payload).where(of_jobs).order_by(OutboxMessage.id)
    rows = (await connection.execute(query)).all()
    if rows:
        messages = OutboxMessage.__table__
        assert isinstance(messages, sa.Table)  # a mapped class may stand for less, says its type
        await connection.execute(
            sa.update(messages).where(messages.c.id == sa.bindparam("message_id")),
            [{"message_id": row.id, "payload": _without_person(row.payload)} for row in rows],
        )


def _without_person(payload: str) -> str:
    return dumps({**loads(payload), "user_id": None, "error": None})


def _is_of(table: type[Job | ProviderUsage], person: Person) -> sa.ColumnElement[bool]:
    return sa.and_(table.tenant_id == person.tenant_id, table.user_id == person.user_id)
