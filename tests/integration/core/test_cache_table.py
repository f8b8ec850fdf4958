"""Kept answers in the database: found by their tenant, written behind the steps' backs, deleted when they are old."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
import structlog

from callboard.core.cache import AnswerCache, KeptAnswer
from callboard.core.cache_table import DELETE_ROWS, CachedAnswer, DatabaseAnswerStore, delete_expired_answers
from callboard.core.clock import now
from callboard.core.database import Database


def answer(key: str = "k", *, tenant_id: str = "a", value_json: str = '{"x":1}', ttl_seconds: float = 60) -> KeptAnswer:
    moment = now()
    return KeptAnswer(
        tenant_id=tenant_id,
        key=key,
        value_json=value_json,
        created_at=moment,
        expires_at=moment + timedelta(seconds=ttl_seconds),
    )


async def keep(database: Database, *answers: KeptAnswer) -> None:
    store = DatabaseAnswerStore(database)
    for each in answers:
        store.keep_soon(each)
    await store.close()


async def count(database: Database) -> int:
    async with database.reads() as session:
        return (await session.scalars(sa.select(sa.func.count()).select_from(CachedAnswer))).one()


@pytest.fixture
async def away() -> AsyncIterator[Database]:
    """A database that is not there."""
    database = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none")
    yield database
    await database.close()


class TestDatabaseAnswerStore:
    async def test_gives_back_what_it_keeps(self, database: Database) -> None:
        kept = answer()

        await keep(database, kept)

        assert await DatabaseAnswerStore(database).find("a", "k") == kept

    async def test_knows_no_other_tenants_answer(self, database: Database) -> None:
        await keep(database, answer(tenant_id="a"))

        assert await DatabaseAnswerStore(database).find("b", "k") is None

    async def test_a_newer_answer_takes_the_place_of_an_older_one(self, database: Database) -> None:
        await keep(database, answer(value_json="1"))

        await keep(database, answer(value_json="2"), answer(value_json="3"))

        found = await DatabaseAnswerStore(database).find("a", "k")
        assert found is not None
        assert found.value_json == "3"
        assert await count(database) == 1

    async def test_serves_another_process(self, database: Database) -> None:
        first, second = (AnswerCache(DatabaseAnswerStore(database)) for _ in range(2))
        first.keep("a", "k", {"data": ["ü"]}, ttl_seconds=60)
        await first.close()

        async with second.turn("a", "k", ttl_seconds=60, wait_seconds=1) as kept:
            assert kept == {"data": ["ü"]}

    async def test_a_database_that_is_away_costs_one_warning(self, away: Database) -> None:
        cache = AnswerCache(DatabaseAnswerStore(away))

        with structlog.testing.capture_logs() as logs:
            for key in ("k1", "k2"):
                async with cache.turn("a", key, ttl_seconds=60, wait_seconds=1) as kept:
                    assert kept is None
                    cache.keep("a", key, "answer", ttl_seconds=60)
            await cache.close()

        assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["cache.table_away"]
        async with cache.turn("a", "k1", ttl_seconds=60, wait_seconds=1) as kept:
            assert kept == "answer"


class TestDeleteExpiredAnswers:
    async def test_leaves_what_is_still_good(self, database: Database) -> None:
        await keep(database, answer("old", ttl_seconds=-1), answer("new"), answer("old", tenant_id="b", ttl_seconds=-1))

        assert await delete_expired_answers(database, before=now()) == 2
        assert await DatabaseAnswerStore(database).find("a", "new") is not None

    async def test_deletes_more_than_one_batch(self, database: Database) -> None:
        await keep(database, *(answer(str(number), ttl_seconds=-1) for number in range(DELETE_ROWS + 1)))

        assert await delete_expired_answers(database, before=now()) == DELETE_ROWS + 1
        assert await count(database) == 0
