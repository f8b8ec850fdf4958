"""PostgreSQL through a pooler in transaction mode: nothing of ours outlives its transaction there."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from callboard.core import migrations
from callboard.core.database import Database
from tests.fixtures.pgbouncer_server import SERVER_CONNECTIONS, PgBouncer
from tests.fixtures.postgres_server import PostgresServer

CLIENTS = SERVER_CONNECTIONS * 3
PREPARED = sa.text("SELECT count(*) FROM pg_prepared_statements")


@pytest.fixture
async def database(pooled_url: str) -> AsyncIterator[Database]:
    """A database behind a pooler that has fewer connections than it is asked for."""
    database = Database(pooled_url, pool_size=CLIENTS, is_behind_pooler=True)
    yield database
    await database.close()


async def on_every_connection(database: Database, query: sa.TextClause) -> set[str]:
    """Return what `query` gives on each server connection: transactions that overlap have one of their own."""
    together = asyncio.Barrier(SERVER_CONNECTIONS)

    async def ask() -> str:
        async with database.transaction() as connection:
            await connection.execute(sa.text("SELECT 1"))  # takes the server connection
            async with asyncio.timeout(5):
                await together.wait()
            return str((await connection.execute(query)).scalar_one())

    return set(await asyncio.gather(*(ask() for _ in range(SERVER_CONNECTIONS))))


class TestTransactions:
    async def test_of_more_clients_than_connections_get_their_own_answers(self, database: Database) -> None:
        async def ask(number: int) -> int:
            async with database.reads() as session:
                await session.execute(sa.text("SELECT pg_sleep(0.005)"))
                return int((await session.execute(sa.text("SELECT :n * 2"), {"n": number})).scalar_one())

        answers = await asyncio.gather(*(ask(number) for number in range(CLIENTS * 10)))

        assert answers == [number * 2 for number in range(CLIENTS * 10)]
        assert await on_every_connection(database, PREPARED) == {"0"}

    async def test_that_read_may_not_write_and_leave_no_other_unable_to(self, database: Database) -> None:
        statement = sa.text("CREATE TEMPORARY TABLE nothing (id INTEGER)")

        async with database.reads() as session:
            with pytest.raises(DBAPIError, match="read-only"):
                await session.execute(statement)

        read_only = sa.text("SELECT current_setting('default_transaction_read_only')")
        assert await on_every_connection(database, read_only) == {"off"}
        assert await on_every_connection(database, sa.text("SHOW transaction_read_only")) == {"off"}

    async def test_wait_for_a_connection_of_the_pooler(self, database: Database) -> None:
        await database.ping()
        holders = [database.transaction() for _ in range(SERVER_CONNECTIONS)]
        for holder in holders:
            await (await holder.__aenter__()).execute(sa.text("SELECT 1"))

        asked = asyncio.create_task(database.ping())
        await asyncio.sleep(0.2)
        is_waiting = not asked.done()
        for holder in holders:
            await holder.__aexit__(None, None, None)
        await asked

        assert is_waiting


class TestMigrations:
    async def test_leave_no_search_path_behind(self, database: Database, pooled_url: str) -> None:
        await migrations.downgrade(database, "base")

        await migrations.upgrade(database)

        assert await migrations.current(database) == migrations.head()
        assert await on_every_connection(database, sa.text("SHOW search_path")) == {'"$user", public'}

    async def test_of_several_processes_take_turns(
        self, postgres_server: PostgresServer, pgbouncer: PgBouncer, postgres_url: str
    ) -> None:
        processes = [Database(pgbouncer.url_of(postgres_url), is_behind_pooler=True) for _ in range(3)]
        await migrations.downgrade(processes[0], "base")

        await asyncio.gather(*(migrations.upgrade(database) for database in processes))

        assert await migrations.current(processes[0]) == migrations.head()
        for process in processes:
            await process.close()
