"""Migrations: up, down and up again on both databases, together with others, and equal to the models."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

import callboard.accounts.models
import callboard.core.cache_table
import callboard.core.idempotency
import callboard.jobs.models
import callboard.llm.models
import callboard.webhooks.models
import callboard.workflows.models  # noqa: F401 - the imports above fill Base.metadata
from callboard.core import migrations
from callboard.core.database import Base, Database
from callboard.jobs.repository.journal import load_journal, write_journal
from callboard.jobs.repository.outputs import LARGE_OUTPUT_BYTES
from tests.fixtures.job_rows import claimed_job, journal_of, journal_write
from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.processes import ROOT, environment_of

PROCESSES = 3
UPGRADE = "from callboard.cli.main import app; app(['db', 'upgrade'])"


@pytest.fixture
def empty_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A PostgreSQL database without any table."""
    name = f"callboard_test_empty{os.getpid()}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    yield postgres_server.url(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/empty.db"
    return str(request.getfixturevalue("empty_postgres_url"))


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    """A database without any table: SQLite, then PostgreSQL."""
    database = Database(empty_url)
    yield database
    await database.close()


async def tables_of(database: Database) -> set[str]:
    def names(connection: sa.Connection) -> set[str]:
        return set(sa.inspect(connection).get_table_names(schema=database.schema))

    async with database.transaction() as connection:
        return await connection.run_sync(names)


class TestLargeOutputs:
    async def test_go_back_into_their_rows_and_are_read_there_after_the_next_upgrade(self, empty: Database) -> None:
        await migrations.upgrade(empty)
        job = await claimed_job(empty)
        outputs = {"small": "done", "large": "ä" * LARGE_OUTPUT_BYTES, "larger": "b" * LARGE_OUTPUT_BYTES * 2}
        await write_journal(empty, [journal_write(job, path, output=text) for path, text in outputs.items()])

        await migrations.downgrade(empty, "0004")
        before = await journal_of(empty, job.id)
        await migrations.upgrade(empty)

        assert {path: json.loads(text) for path, text in before.items()} == outputs
        journal = await load_journal(empty, job.id)
        assert {path: json.loads(row.output_json or "") for path, row in journal.items()} == outputs


class TestUpgrade:
    async def test_goes_up_down_and_up_again(self, empty: Database) -> None:
        assert await migrations.current(empty) is None

        await migrations.upgrade(empty)
        first = await tables_of(empty)
        await migrations.downgrade(empty, "base")
        none = await tables_of(empty)
        await migrations.upgrade(empty)

        assert none <= {"alembic_version"}
        assert first == await tables_of(empty) == {*Base.metadata.tables, "alembic_version"}
        assert await migrations.current(empty) == migrations.head()

    async def test_does_nothing_the_second_time(self, empty: Database) -> None:
        await migrations.upgrade(empty)

        await migrations.upgrade(empty)

        assert await migrations.current(empty) == migrations.head()

    @pytest.mark.filterwarnings("ignore:Generating approximate signature")
    async def test_makes_what_the_models_say(self, empty: Database) -> None:
        await migrations.upgrade(empty)

        assert await _differences(empty) == []

    async def test_is_told_when_a_model_says_something_else(self, empty: Database) -> None:
        await migrations.upgrade(empty)
        prefix = "callboard." if empty.is_postgresql else ""
        async with empty.transaction() as connection:
            await connection.exec_driver_sql(f"ALTER TABLE {prefix}workers ADD COLUMN extra INTEGER")

        assert await _differences(empty) != []

    async def test_may_be_run_by_several_processes_at_once(self, empty: Database, tmp_path: Path) -> None:
        plain = empty.url.replace("+aiosqlite", "").replace("+asyncpg", "")
        environment = environment_of({"database_url": plain, "callboard_home": tmp_path, "pythonpath": "src"})
        running = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", UPGRADE), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
            )
            for _ in range(PROCESSES)
        ]

        assert [await process.wait() for process in running] == [0] * PROCESSES
        assert await migrations.current(empty) == migrations.head()


def _is_known(found: Any, connection: sa.Connection) -> bool:
    """Return whether `found` is Alembic's own table, or the index whose DESC it cannot read on SQLite."""
    name = getattr(found[1], "name", None)
    cannot_be_read = connection.dialect.name == "sqlite" and name == "idx_workflow_jobs_ready"
    return name == "alembic_version" or cannot_be_read


async def _differences(database: Database) -> list[Any]:
    """Return what Alembic would write into a new revision."""

    def compare(connection: sa.Connection) -> list[Any]:
        if database.schema is not None:
            connection.execute(sa.text(f'SET search_path TO "{database.schema}"'))
            connection.dialect.default_schema_name = database.schema
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table_schema": database.schema}
        )
        return [found for found in compare_metadata(context, Base.metadata) if not _is_known(found, connection)]

    async with database.transaction() as connection:
        return await connection.run_sync(compare)
