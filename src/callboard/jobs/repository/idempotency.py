"""Taking Idempotency-Keys, in the transaction that creates what a request asked for.

Submits, signals, retries and forks of jobs use it: two requests in a race create one thing.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.database import Database
from callboard.core.idempotency import IdempotencyKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """The Idempotency-Key that came with a request, and the answer to give again.

    Keys older than `valid_since` count as unused.
    """

    tenant_id: str
    route: str
    key: str
    body_hash: str
    answer: str
    valid_since: datetime

    @property
    def order(self) -> tuple[str, str, str]:
        """Keys are taken in one order, so that two processes with the same keys cannot wait for each other."""
        return (self.tenant_id, self.route, self.key)


@dataclass(frozen=True, slots=True)
class EarlierUse:
    """What a key was used for before."""

    created_id: UUID
    body_hash: str
    answer: str | None


async def take_key(
    database: Database, connection: AsyncConnection, given: Idempotency, *, created_id: UUID, created_at: datetime
) -> EarlierUse | None:
    """Write the key for what this transaction creates, and return None; or what it was used for before."""
    is_key = _is_key(given.tenant_id, given.route, given.key)
    await connection.execute(sa.delete(IdempotencyKey).where(is_key, IdempotencyKey.created_at < given.valid_since))
    statement = database.insert(IdempotencyKey).values(
        tenant_id=given.tenant_id,
        route=given.route,
        key=given.key,
        body_hash=given.body_hash,
        created_id=created_id,
        answer=given.answer,
        created_at=created_at,
    )
    taken = await connection.execute(statement.on_conflict_do_nothing().returning(IdempotencyKey.created_id))
    if taken.first() is not None:
        return None
    row = (await connection.execute(_uses().where(is_key))).one()
    return EarlierUse(row.created_id, row.body_hash, row.answer)


async def find_use(connection: AsyncConnection, given: Idempotency) -> EarlierUse | None:
    """Return what the key of `given` was used for before, or None."""
    is_valid = IdempotencyKey.created_at >= given.valid_since
    row = (
        await connection.execute(_uses().where(_is_key(given.tenant_id, given.route, given.key), is_valid))
    ).one_or_none()
    return None if row is None else EarlierUse(row.created_id, row.body_hash, row.answer)


async def find_key(
    database: Database, tenant_id: str, route: str, key: str, *, valid_since: datetime
) -> EarlierUse | None:
    """Return what this key was used for since `valid_since`, or None."""
    query = _uses().where(_is_key(tenant_id, route, key), IdempotencyKey.created_at >= valid_since)
    async with database.reads() as session:
        row = (await session.execute(query)).one_or_none()
    return None if row is None else EarlierUse(row.created_id, row.body_hash, row.answer)


def _uses() -> sa.Select[UUID, str, str | None]:
    return sa.select(IdempotencyKey.created_id, IdempotencyKey.body_hash, IdempotencyKey.answer)


def _is_key(tenant_id: str, route: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(IdempotencyKey.tenant_id == tenant_id, IdempotencyKey.route == route, IdempotencyKey.key == key)
