"""Group commit on real databases: a bad row fails alone, a database that is away is waited for."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from callboard.core.batch_writer import BatchWriter
from callboard.core.database import Database
from tests.fixtures.broken_connections import breaks_connections
from tests.fixtures.postgres_server import PostgresServer

TABLE = sa.Table(
    "test_rows",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, sa.CheckConstraint("number >= 0"), nullable=False),
)


class Rows:
    """A table, the writer to it, and how often it was flushed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.flushes = 0
        self.writer: BatchWriter[int, int] = BatchWriter(self._flush, name="test", keep_trying=lambda _: True)

    async def stored(self) -> list[int]:
        async with self.database.reads() as session:
            return list(await session.scalars(sa.select(TABLE.c.number).order_by(TABLE.c.id)))

    async def _flush(self, numbers: Sequence[int]) -> Sequence[int]:
        self.flushes += 1
        async with self.database.transaction() as connection:
            await connection.execute(sa.insert(TABLE), [{"id": abs(n), "number": n} for n in numbers])
        return numbers


@pytest.fixture
async def rows(database: Database) -> AsyncIterator[Rows]:
    async with database.transaction() as connection:
        await connection.run_sync(TABLE.create)
    rows = Rows(database)
    yield rows
    await rows.writer.close()


class TestBatchWriter:
    async def test_writes_what_comes_together_in_few_transactions(self, rows: Rows) -> None:
        await asyncio.gather(*(rows.writer.write(number) for number in range(1, 401)))

        assert await rows.stored() == list(range(1, 401))
        assert rows.flushes <= 3

    @pytest.mark.parametrize("bad", [[1], [40], [77, 78, 100]], ids=str)
    async def test_fails_the_rows_that_the_database_refuses_and_no_other(self, rows: Rows, bad: list[int]) -> None:
        numbers = [-number if number in bad else number for number in range(1, 101)]

        results = await asyncio.gather(*(rows.writer.write(number) for number in numbers), return_exceptions=True)

        assert [abs(n) for n, result in zip(numbers, results, strict=True) if isinstance(result, IntegrityError)] == bad
        assert await rows.stored() == [number for number in range(1, 101) if number not in bad]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestLostConnections:
    @breaks_connections
    async def test_are_waited_out(
        self, rows: Rows, database: Database, database_url: str, postgres_server: PostgresServer
    ) -> None:
        name = database_url.rpartition("/")[2]
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        writes = []

        for number in range(1, 31):
            writes.append(rows.writer.submit(number))
            if number % 10 == 0:
                await asyncio.to_thread(postgres_server.execute, query)

        results = await asyncio.wait_for(asyncio.gather(*writes, return_exceptions=True), 20)
        refused = [result for result in results if isinstance(result, Exception)]
        assert all(isinstance(result, IntegrityError) for result in refused)  # a commit that was not heard of
        assert await rows.stored() == list(range(1, 31))
