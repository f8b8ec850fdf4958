"""The SQL of API keys, and of the Idempotency-Keys they are made with. Called by `service.py` alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import sqlalchemy as sa

from callboard.accounts.errors import ApiKeyNotFoundError
from callboard.accounts.models import ApiKey
from callboard.core.database import Database, WriteSession
from callboard.core.errors import NotFoundError
from callboard.core.idempotency import IdempotencyKey
from callboard.core.repository import BaseRepository

CREATE_ROUTE = "POST /api/v1/api-keys"


class ApiKeyRepository(BaseRepository[ApiKey]):
    """The keys of one tenant, or of all."""

    model: ClassVar[type[ApiKey]] = ApiKey
    not_found: ClassVar[type[NotFoundError]] = ApiKeyNotFoundError

    async def find_active(self, key_hash: str) -> ApiKey | None:
        """Return the key of this hash, or None when there is none or it was revoked."""
        found: ApiKey | None = await self.session.scalar(
            self.query().where(ApiKey.key_hash == key_hash, ApiKey.revoked_at.is_(None))
        )
        return found

    async def revoke(self, key_id: UUID, revoked_at: datetime) -> None:
        """Mark the key as revoked; the time of an earlier revocation stays."""
        await self.session.execute(
            sa.update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None)).values(revoked_at=revoked_at)
        )

    async def revoke_of_user(self, user_id: str, revoked_at: datetime) -> Sequence[str]:
        """Mark the keys that are bound to a user as revoked and return the hashes of those that were not yet."""
        mine = (ApiKey.tenant_id == self.scope.tenant_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        revoked = sa.update(ApiKey).where(*mine).values(revoked_at=revoked_at).returning(ApiKey.key_hash)
        return (await self.session.scalars(revoked)).all()

    async def count_of_user(self, user_id: str) -> int:
        """Return how many keys are bound to a user and not revoked."""
        mine = (ApiKey.tenant_id == self.scope.tenant_id, ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        return await self.session.scalar(sa.select(sa.func.count(ApiKey.id)).where(*mine)) or 0

    async def mark_used(self, key_id: UUID, used_at: datetime) -> None:
        await self.session.execute(sa.update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=used_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatable:
    """A request that its caller may send again: their tenant and Idempotency-Key, and the hash of the body."""

    tenant_id: str
    key: str
    body_hash: str
    valid_since: datetime


@dataclass(frozen=True, slots=True)
class Earlier:
    """What the same Idempotency-Key made before, and the hash of the body it came with."""

    created_id: UUID
    body_hash: str


async def take_idempotency_key(
    database: Database, session: WriteSession, request: Repeatable, *, created_id: UUID, created_at: datetime
) -> Earlier | None:
    """Take the request's key for what this transaction creates; return what it made before, if it did.

    Of two requests at once the second waits here until the first has committed.
    """
    same_key = sa.and_(
        IdempotencyKey.tenant_id == request.tenant_id,
        IdempotencyKey.route == CREATE_ROUTE,
        IdempotencyKey.key == request.key,
    )
    await session.execute(sa.delete(IdempotencyKey).where(same_key, IdempotencyKey.created_at < request.valid_since))
    row = database.insert(IdempotencyKey).values(
        tenant_id=request.tenant_id,
        route=CREATE_ROUTE,
        key=request.key,
        body_hash=request.body_hash,
        created_id=created_id,
        created_at=created_at,
    )
    taken = await session.execute(row.on_conflict_do_nothing().returning(IdempotencyKey.created_id))
    if taken.first() is not None:
        return None
    found = await session.execute(sa.select(IdempotencyKey.created_id, IdempotencyKey.body_hash).where(same_key))
    return Earlier(*found.one())
