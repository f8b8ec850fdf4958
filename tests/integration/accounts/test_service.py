"""ApiKeyService on both databases: what is stored, what is noted, how quickly a revoked key is refused."""

import pytest
import sqlalchemy as sa

from callboard.accounts.errors import ApiKeyNotFoundError, InvalidKeyError
from callboard.accounts.models import ApiKey
from callboard.accounts.service import ApiKeyService
from callboard.core.database import Database
from callboard.core.pagination import PageRequest
from callboard.core.repository import TenantScope
from callboard.core.security import KeyHasher

SECRET = "a secret of at least thirty-two characters"
REFUSE_UPDATES = "CREATE TRIGGER full BEFORE UPDATE ON api_keys BEGIN SELECT RAISE(ABORT, 'disk is full'); END"


class Clock:
    """A monotonic clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api_keys(database: Database, clock: Clock) -> ApiKeyService:
    return ApiKeyService(database, KeyHasher(SECRET), monotonic=clock)


async def last_used(database: Database, key: ApiKey) -> object:
    async with database.reads() as session:
        return await session.scalar(sa.select(ApiKey.last_used_at).where(ApiKey.id == key.id))


class TestCreate:
    async def test_stores_a_hash_and_never_the_key(self, api_keys: ApiKeyService, database: Database) -> None:
        new = await api_keys.create("shop", ["jobs:read"], tenant_id="default")

        async with database.reads() as session:
            stored = (await session.execute(sa.select(ApiKey.__table__))).one()

        assert new.key not in str(stored)
        assert stored.key_hash == KeyHasher(SECRET).hash(new.key)


class TestAuthenticate:
    async def test_returns_tenant_user_and_scopes(self, api_keys: ApiKeyService) -> None:
        new = await api_keys.create("shop", ["jobs:read"], tenant_id="acme", user_id="user-7")

        caller = await api_keys.authenticate(new.key)

        assert (caller.tenant, caller.tenant_id, caller.user_id) == (TenantScope("acme"), "acme", "user-7")
        assert (caller.scopes, caller.is_admin) == (frozenset({"jobs:read"}), False)

    async def test_refuses_keys_that_were_hashed_with_another_secret(
        self, api_keys: ApiKeyService, database: Database
    ) -> None:
        new = await api_keys.create("shop", ["jobs:read"], tenant_id="default")
        rotated = ApiKeyService(database, KeyHasher("another secret of more than thirty-two characters"))

        with pytest.raises(InvalidKeyError):
            await rotated.authenticate(new.key)

    async def test_refuses_within_a_second_what_another_process_revoked(
        self, api_keys: ApiKeyService, database: Database, clock: Clock
    ) -> None:
        new = await api_keys.create("shop", ["jobs:read"], tenant_id="default")
        await api_keys.authenticate(new.key)
        await ApiKeyService(database, KeyHasher(SECRET)).revoke(new.row.id, TenantScope("default"))

        clock.seconds = 1.0

        with pytest.raises(InvalidKeyError):
            await api_keys.authenticate(new.key)

    async def test_notes_the_use_once_a_minute(self, api_keys: ApiKeyService, database: Database, clock: Clock) -> None:
        new = await api_keys.create("shop", ["jobs:read"], tenant_id="default")
        noted = []

        for clock.seconds in (0.0, 30.0, 61.0):
            await api_keys.authenticate(new.key)
            await api_keys.close()
            noted.append(await last_used(database, new.row))

        assert noted[0] is not None
        assert noted[1] == noted[0]
        assert noted[2] != noted[0]

    async def test_works_while_the_use_cannot_be_written(self, sqlite_url: str) -> None:
        database = Database(sqlite_url)
        api_keys = ApiKeyService(database, KeyHasher(SECRET))
        new = await api_keys.create("shop", ["jobs:read"], tenant_id="default")
        async with database.writes() as session:
            await session.execute(sa.text(REFUSE_UPDATES))

        caller = await api_keys.authenticate(new.key)

        await api_keys.close()
        assert (caller.key_id, await last_used(database, new.row)) == (str(new.row.id), None)
        await database.close()


class TestRevoke:
    async def test_raises_for_a_key_of_another_tenant(self, api_keys: ApiKeyService) -> None:
        new = await api_keys.create("shop", ["jobs:read"], tenant_id="acme")

        with pytest.raises(ApiKeyNotFoundError):
            await api_keys.revoke(new.row.id, TenantScope("default"))

        assert await api_keys.authenticate(new.key)


class TestListPage:
    async def test_shows_the_operator_every_tenants_keys(self, api_keys: ApiKeyService) -> None:
        for tenant in ("acme", "default"):
            await api_keys.create(tenant, ["jobs:read"], tenant_id=tenant)

        page = await api_keys.list_page(TenantScope.every_tenant(), PageRequest())

        assert [row.tenant_id for row in page.items] == ["default", "acme"]
