"""Column types on both databases, and sessions that cannot write."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Mapped, mapped_column

from callboard.core.config import Settings
from callboard.core.database import (
    Base,
    Database,
    JsonText,
    Money,
    UtcDateTime,
    is_connection_error,
    utc_now,
)

SMALLEST = Decimal("0.000000000001")


class _Sample(Base):
    """A table of the types, made by the test alone."""

    __tablename__ = "test_samples"
    __table_args__ = {"info": {"is_test": True}}  # noqa: RUF012 - SQLAlchemy's form

    id: Mapped[int] = mapped_column(primary_key=True)
    money: Mapped[Decimal | None] = mapped_column(Money)
    moment: Mapped[datetime | None] = mapped_column(UtcDateTime)
    text: Mapped[str | None] = mapped_column(JsonText)


SAMPLES = cast("sa.Table", _Sample.__table__)
Base.metadata.remove(SAMPLES)  # it is no table of ours


@pytest.fixture
async def samples(database: Database) -> Database:
    """A database with the table of samples."""
    async with database.transaction() as connection:
        await connection.run_sync(SAMPLES.create)
    return database


async def store(database: Database, **values: Any) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.insert(_Sample), [values])


async def read(database: Database, query: Any) -> Any:
    async with database.reads() as session:
        return await session.scalar(query)


class TestMoney:
    @pytest.mark.parametrize("amount", ["0", "0.000000000001", "-1.5", "123456.000000000001", "999999.999999999999"])
    async def test_keeps_twelve_decimals(self, samples: Database, amount: str) -> None:
        await store(samples, id=1, money=Decimal(amount))

        assert await read(samples, sa.select(_Sample.money)) == Decimal(amount)

    async def test_adds_up_exactly_in_the_database(self, samples: Database) -> None:
        async with samples.transaction() as connection:
            rows = [{"id": number, "money": SMALLEST * 7} for number in range(1000)]
            await connection.execute(sa.insert(_Sample), [*rows, {"id": 1000, "money": Decimal("0.1")}])

        assert await read(samples, sa.select(sa.func.sum(_Sample.money))) == Decimal("0.100000007")

    async def test_is_compared_as_money(self, samples: Database) -> None:
        await store(samples, id=1, money=Decimal("0.1"))

        assert await read(samples, sa.select(_Sample.id).where(_Sample.money > Decimal("0.1") - SMALLEST)) == 1
        assert await read(samples, sa.select(_Sample.id).where(_Sample.money > Decimal("0.1"))) is None

    async def test_may_be_missing(self, samples: Database) -> None:
        await store(samples, id=1, money=None)

        assert await read(samples, sa.select(_Sample.money)) is None


class TestUtcDateTime:
    async def test_gives_back_the_same_moment_in_utc(self, samples: Database) -> None:
        moment = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
        await store(samples, id=1, moment=moment)

        found = await read(samples, sa.select(_Sample.moment))

        assert found == moment
        assert found.utcoffset() == timedelta(0)

    async def test_refuses_a_time_without_offset(self, samples: Database) -> None:
        with pytest.raises(StatementError, match="naive"):
            await store(samples, id=1, moment=datetime(2026, 1, 1))  # noqa: DTZ001 - that is the case

    async def test_is_ordered_as_time(self, samples: Database) -> None:
        early = datetime(2026, 1, 1, 23, tzinfo=timezone(timedelta(hours=12)))  # 11:00 in UTC
        await store(samples, id=1, moment=early)
        await store(samples, id=2, moment=datetime(2026, 1, 1, 12, tzinfo=UTC))

        assert await read(samples, sa.select(_Sample.id).order_by(_Sample.moment).limit(1)) == 1


class TestUtcNow:
    async def test_is_the_databases_own_time_later_by_the_seconds_given(self, samples: Database) -> None:
        before = datetime.now(UTC)
        async with samples.transaction() as connection:
            await connection.execute(sa.insert(_Sample).values(id=1, moment=utc_now(90.5)))

        found = await read(samples, sa.select(_Sample.moment))

        assert timedelta(seconds=80) < found - before < timedelta(seconds=120)
        assert await read(samples, sa.select(_Sample.id).where(_Sample.moment > utc_now())) == 1
        assert await read(samples, sa.select(_Sample.id).where(_Sample.moment < utc_now(200))) == 1


class TestJsonText:
    @pytest.mark.parametrize(
        "text",
        [
            '{"b": 1,  "a":1.0, "a": 2}',
            '"\\u00e4 \u00e4 \U0001f600"',
            "null",
            "123456789012345678901234567890",
            "[1.10]",
        ],
    )
    async def test_is_kept_as_it_was_written(self, samples: Database, text: str) -> None:
        await store(samples, id=1, text=text)

        assert await read(samples, sa.select(_Sample.text)) == text


class TestReads:
    async def test_refuses_writes(self, samples: Database) -> None:
        async with samples.reads() as session:
            with pytest.raises(DBAPIError, match=r"read-?only"):
                await session.execute(sa.insert(_Sample).values(id=1))

        assert await read(samples, sa.select(sa.func.count()).select_from(_Sample)) == 0

    async def test_are_not_held_up_by_a_writer(self, samples: Database) -> None:
        async with samples.transaction() as connection:
            await connection.execute(sa.insert(_Sample).values(id=1))

            seen = await asyncio.wait_for(read(samples, sa.select(sa.func.count()).select_from(_Sample)), 5)

        assert seen == 0


class TestWrites:
    async def test_commit_when_the_block_ends(self, samples: Database) -> None:
        async with samples.writes() as session:
            session.add(_Sample(id=1))

        assert await read(samples, sa.select(_Sample.id)) == 1

    async def test_leave_nothing_when_it_raises(self, samples: Database) -> None:
        async def add_and_fail() -> None:
            async with samples.writes() as session:
                session.add(_Sample(id=1))
                await session.flush()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await add_and_fail()

        assert await read(samples, sa.select(_Sample.id)) is None


class TestTransaction:
    async def test_of_a_frozen_process_gives_its_locks_back_before_its_lease_ends(self, postgres_url: str) -> None:
        database = Database(postgres_url)
        lease_seconds = Settings.model_fields["lease_seconds"].default
        query = sa.text("SELECT setting FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'")

        async with database.transaction() as connection:
            milliseconds = (await connection.execute(query)).scalar_one()

        assert 0 < int(milliseconds) < lease_seconds * 1000
        await database.close()

    async def test_that_slept_too_long_is_a_database_that_is_away(self, postgres_url: str) -> None:
        database = Database(postgres_url)

        async def sleep_in_a_transaction() -> None:
            async with database.transaction() as connection:
                await connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 50"))
                await asyncio.sleep(1)
                await connection.execute(sa.text("SELECT 1"))

        with pytest.raises((DBAPIError, OSError)) as slept:
            await sleep_in_a_transaction()

        assert is_connection_error(slept.value)
        await database.close()


class TestIsConnectionError:
    async def test_tells_a_bad_row_from_a_database_that_is_away(self, samples: Database) -> None:
        await store(samples, id=1)

        with pytest.raises(DBAPIError) as twice:
            await store(samples, id=1)

        assert not is_connection_error(twice.value)

    @pytest.mark.parametrize(
        ("sqlstate", "is_away"),
        [
            pytest.param("08006", True, id="connection lost"),
            pytest.param("25006", True, id="a standby"),
            pytest.param("25P03", True, id="frozen in a transaction"),
            pytest.param("28P01", True, id="password being changed"),
            pytest.param("3D000", True, id="database being restored"),
            pytest.param("40P01", True, id="deadlock"),
            pytest.param("53100", True, id="disk full"),
            pytest.param("53300", True, id="too many connections"),
            pytest.param("55000", True, id="takes no connections"),
            pytest.param("57014", True, id="query cancelled"),
            pytest.param("57P01", True, id="shutting down"),
            pytest.param("58030", True, id="input or output"),
            pytest.param("22021", False, id="bad text"),
            pytest.param("23505", False, id="there already"),
            pytest.param("42P01", False, id="no such table"),
        ],
    )
    def test_reads_what_postgresql_says(self, sqlstate: str, *, is_away: bool) -> None:
        refusal = Exception("x")
        refusal.sqlstate = sqlstate  # type: ignore[attr-defined]

        assert is_connection_error(DBAPIError("SELECT 1", None, refusal)) is is_away

    async def test_knows_a_server_that_is_not_there(self) -> None:
        database = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none")

        with pytest.raises(OSError, match="127") as refused:
            await database.ping()

        assert is_connection_error(refused.value)
        await database.close()

    async def test_knows_a_database_that_is_not_there(self, postgres_url: str) -> None:
        database = Database(postgres_url + "_none")

        with pytest.raises(DBAPIError) as refused:
            await database.ping()

        assert is_connection_error(refused.value)
        await database.close()
