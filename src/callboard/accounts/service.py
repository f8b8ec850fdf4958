"""The rules of API keys: make, list, revoke, and tell who a key belongs to.

`auth.py` calls `authenticate` at every request; `router.py` and the CLI's `keys` call the rest.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from callboard.accounts.caller import Caller
from callboard.accounts.errors import InvalidKeyError, KeyReusedError
from callboard.accounts.models import ApiKey
from callboard.accounts.operator_keys import OperatorKey
from callboard.accounts.repository import ApiKeyRepository, Repeatable, take_idempotency_key
from callboard.accounts.scopes import expand_scopes
from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.ids import new_uuid
from callboard.core.pagination import Page, PageRequest
from callboard.core.repository import TenantScope
from callboard.core.security import API_KEY_PREFIX, PREFIX_LENGTH, KeyHasher, new_api_key, same_secret
from callboard.core.unit_of_work import unit_of_work

CACHE_SECONDS = 1.0  # how long a key that another process revoked may still work here
MAX_CACHED_KEYS = 10_000
USE_NOTED_EVERY_SECONDS = 60.0  # last_used_at is for people; a write per request would cost more than the work

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made: its row, and the key itself, which nobody can read again."""

    row: ApiKey
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    until: float


class ApiKeyService:
    """API keys: the operator's, which are compared, and those in the database, which are looked up by hash."""

    def __init__(
        self,
        database: Database,
        hasher: KeyHasher,
        operator_keys: Sequence[OperatorKey] = (),
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._hasher = hasher
        self._operator_keys = tuple(operator_keys)
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._noted: dict[UUID, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def authenticate(self, key: str) -> Caller:
        """Return who `key` belongs to. A key that was revoked is refused within 1 s, in every process.

        Raises: InvalidKeyError, when nobody has it or it was revoked.
        """
        operator = self._find_operator(key)
        if operator is not None:
            return operator
        if not key.startswith(API_KEY_PREFIX):
            raise InvalidKeyError
        key_hash = self._hasher.hash(key)
        known = self._known.get(key_hash)
        if known is not None and known.until > self._monotonic():
            return known.caller
        return await self._look_up(key_hash)

    async def create(
        self, name: str, scopes: Iterable[str], *, tenant_id: str, user_id: str | None = None
    ) -> NewApiKey:
        """Make a key and return it with its row; what is stored is only its hash."""
        new = self._make(name, scopes, tenant_id=tenant_id, user_id=user_id)
        async with unit_of_work(self._database) as work:
            await work.repository(ApiKeyRepository, TenantScope(tenant_id)).add(new.row)
        _log_created(new.row)
        return new

    async def create_once(
        self, name: str, scopes: Iterable[str], *, tenant_id: str, user_id: str | None, request: Repeatable
    ) -> NewApiKey | ApiKey:
        """Make a key as `create` does, or return the row of the one that the same request made before.

        The key itself cannot be given again: only its hash was stored.
        Raises: KeyReusedError, when the Idempotency-Key came with another body.
        """
        new = self._make(name, scopes, tenant_id=tenant_id, user_id=user_id)
        async with unit_of_work(self._database) as work:
            keys = work.repository(ApiKeyRepository, TenantScope(tenant_id))
            earlier = await take_idempotency_key(
                self._database, work.session, request, created_id=new.row.id, created_at=new.row.created_at
            )
            if earlier is not None and earlier.body_hash != request.body_hash:
                raise KeyReusedError
            if earlier is not None:
                return await keys.get(earlier.created_id)
            await keys.add(new.row)
        _log_created(new.row)
        return new

    async def list_page(self, scope: TenantScope, page: PageRequest) -> Page[ApiKey]:
        """Return the keys in `scope`, newest first, revoked ones too."""
        async with self._database.reads() as session:
            return await ApiKeyRepository(session, scope).list_page(page)

    async def revoke(self, key_id: UUID, scope: TenantScope) -> None:
        """Make the key useless, for good. Revoking it again changes nothing.

        Raises: ApiKeyNotFoundError, also when the key is outside `scope`.
        """
        async with unit_of_work(self._database) as work:
            keys = work.repository(ApiKeyRepository, scope)
            row = await keys.get(key_id)
            await keys.revoke(row.id, now())
        self._known.pop(row.key_hash, None)
        log.info("key.revoked", key_id=str(key_id), tenant_id=row.tenant_id)

    async def revoke_of_user(self, user_id: str, *, tenant_id: str) -> int:
        """Make every key that is bound to a user useless, for good, and return how many worked until now."""
        async with unit_of_work(self._database) as work:
            hashes = await work.repository(ApiKeyRepository, TenantScope(tenant_id)).revoke_of_user(user_id, now())
        for key_hash in hashes:
            self._known.pop(key_hash, None)
        return len(hashes)

    async def count_of_user(self, user_id: str, *, tenant_id: str) -> int:
        """Return how many keys `revoke_of_user` would revoke."""
        async with self._database.reads() as session:
            return await ApiKeyRepository(session, TenantScope(tenant_id)).count_of_user(user_id)

    async def close(self) -> None:
        """Return when the uses noted so far are written."""
        if self._notes:
            await asyncio.wait(self._notes)

    def _make(self, name: str, scopes: Iterable[str], *, tenant_id: str, user_id: str | None) -> NewApiKey:
        key = new_api_key()
        row = ApiKey(
            id=new_uuid(),
            tenant_id=tenant_id,
            name=name,
            key_hash=self._hasher.hash(key),
            prefix=key[:PREFIX_LENGTH],
            scopes=" ".join(scopes),
            user_id=user_id,
            created_at=now(),
        )
        return NewApiKey(row, key)

    def _find_operator(self, key: str) -> Caller | None:
        # Every one is compared, so that the time does not tell which of them came close.
        matches = [operator.caller for operator in self._operator_keys if same_secret(key, operator.key)]
        return matches[0] if matches else None

    async def _look_up(self, key_hash: str) -> Caller:
        async with self._database.reads() as session:
            row = await ApiKeyRepository(session, TenantScope.every_tenant()).find_active(key_hash)
        if row is None:
            self._known.pop(key_hash, None)
            raise InvalidKeyError
        caller = _caller_of(row)
        if len(self._known) >= MAX_CACHED_KEYS:
            self._known.clear()
        self._known[key_hash] = _Known(caller, self._monotonic() + CACHE_SECONDS)
        self._note_use(row.id)
        return caller

    def _note_use(self, key_id: UUID) -> None:
        """Write when the key was used, beside the request: it waits for no write, and no write can fail it."""
        moment = self._monotonic()
        if moment - self._noted.get(key_id, float("-inf")) < USE_NOTED_EVERY_SECONDS:
            return
        self._noted[key_id] = moment
        task = asyncio.get_running_loop().create_task(self._write_use(key_id), name="note-key-use")
        self._notes.add(task)
        task.add_done_callback(self._settle_note)

    async def _write_use(self, key_id: UUID) -> None:
        async with unit_of_work(self._database) as work:
            await work.repository(ApiKeyRepository, TenantScope.every_tenant()).mark_used(key_id, now())

    def _settle_note(self, task: asyncio.Task[None]) -> None:
        self._notes.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.warning("key.use_not_noted", error=repr(error)[:200])


def _log_created(row: ApiKey) -> None:
    log.info("key.created", key_id=str(row.id), tenant_id=row.tenant_id, scopes=row.scopes)


def _caller_of(row: ApiKey) -> Caller:
    return Caller(
        tenant=TenantScope(row.tenant_id),
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        scopes=expand_scopes(row.scopes.split()),
        key_id=str(row.id),
    )
