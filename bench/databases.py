"""A private database for each sample, and what that database can do at most: bare INSERTs by its own driver.

`run_rate.py` and `submit_latency.py` call this. The floors use no code of Callboard's.
"""

import asyncio
import os
import sqlite3
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from callboard.core.ids import new_uuid

SQLITE, POSTGRESQL = "sqlite", "postgresql"
SCHEMA = "callboard"  # the default of DATABASE_SCHEMA
BATCH_ROWS = 500  # what `core/batch_writer.py` flushes at most
PAYLOAD = '{"step":"first","numbers":[1,2,3]}'
ANSWER_SECONDS = 3.0

FloorRow: TypeAlias = tuple[UUID, int, str]


@dataclass(frozen=True, slots=True)
class Floor:
    """What the bare driver did: rows a second in batches, and how long single-row commits took, in seconds."""

    batched_rows_per_second: float
    commit_seconds: Sequence[float]

    @property
    def commits_per_second(self) -> float:
        return len(self.commit_seconds) / sum(self.commit_seconds)


class BareDatabase(ABC):
    """One connection of the database's own driver, in autocommit; it makes a table `bench_floor` where it measures."""

    @abstractmethod
    async def create_floor(self) -> None: ...

    @abstractmethod
    async def insert(self, rows: Sequence[FloorRow]) -> None:
        """Write `rows` in one transaction."""

    @abstractmethod
    async def scalar(self, query: str) -> Any:
        """Return the one value of `query`; `{schema}` in it stands for what is before a table's name."""

    @abstractmethod
    async def close(self) -> None: ...

    async def count(self, table: str, condition: str = "1 = 1") -> int:
        return int(await self.scalar(f"SELECT count(*) FROM {{schema}}{table} WHERE {condition}"))

    async def measure_floor(self, rows: int, *, max_commits: int, max_seconds: float) -> Floor:
        """Write `rows` rows in batches, then single rows until `max_commits` or `max_seconds`."""
        await self.create_floor()
        wanted = [_row(number) for number in range(rows)]
        started = time.perf_counter()
        for start in range(0, rows, BATCH_ROWS):
            await self.insert(wanted[start : start + BATCH_ROWS])
        batched = rows / (time.perf_counter() - started)
        return Floor(batched, await self._time_commits(max_commits, max_seconds))

    async def _time_commits(self, max_commits: int, max_seconds: float) -> list[float]:
        times: list[float] = []
        while len(times) < max_commits and sum(times) < max_seconds:
            row = _row(len(times))
            started = time.perf_counter()
            await self.insert([row])
            times.append(time.perf_counter() - started)
        return times


class BareSqlite(BareDatabase):
    """The sqlite3 of Python's own library, with the durability that Callboard asks for (WAL, FULL)."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")

    async def create_floor(self) -> None:
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS bench_floor (run BLOB, step INTEGER, output TEXT, PRIMARY KEY (run, step))"
        )

    async def insert(self, rows: Sequence[FloorRow]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO bench_floor VALUES (?, ?, ?)", [(run.bytes, step, output) for run, step, output in rows]
        )
        self._connection.execute("COMMIT")

    async def scalar(self, query: str) -> Any:
        return self._connection.execute(query.format(schema="")).fetchone()[0]

    async def close(self) -> None:
        self._connection.close()


class BarePostgres(BareDatabase):
    """asyncpg, one array per column."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> "BarePostgres":
        return cls(await asyncpg.connect(url))

    async def create_floor(self) -> None:
        await self._connection.execute(
            "CREATE TABLE IF NOT EXISTS bench_floor (run uuid, step integer, output json, PRIMARY KEY (run, step))"
        )

    async def insert(self, rows: Sequence[FloorRow]) -> None:
        columns = [list(column) for column in zip(*rows, strict=True)]
        await self._connection.execute(
            "INSERT INTO bench_floor SELECT * FROM unnest($1::uuid[], $2::integer[], $3::json[])", *columns
        )

    async def scalar(self, query: str) -> Any:
        return await self._connection.fetchval(query.format(schema=f"{SCHEMA}."))

    async def close(self) -> None:
        await self._connection.close()


@asynccontextmanager
async def private_database(kind: str, postgres_url: str, folder: Path) -> AsyncIterator[str]:
    """Give the URL of an empty database of our own, and remove it afterwards."""
    if kind == SQLITE:
        with tempfile.TemporaryDirectory(dir=folder, prefix="database-") as home:
            yield f"sqlite:///{home}/bench.db"
        return
    name = f"callboard_bench_{os.getpid()}_{new_uuid().hex[-12:]}"
    await _administer(postgres_url, f"CREATE DATABASE {name}")
    try:
        yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    finally:
        await _administer(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[BareDatabase]:
    """Give a connection of the driver itself to the database at `url`."""
    is_sqlite = url.startswith(SQLITE)
    database = BareSqlite(Path(url.removeprefix("sqlite:///"))) if is_sqlite else await BarePostgres.open(url)
    try:
        yield database
    finally:
        await database.close()


def is_writable(file: Path) -> bool:
    """Return whether nobody holds the write lock of this SQLite file at this moment."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=0)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


async def postgres_version(url: str) -> str | None:
    """Return the version of the server at `url`, or None when none answers there."""
    try:
        connection = await asyncpg.connect(url, timeout=ANSWER_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return None
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()


async def _administer(url: str, statement: str) -> None:
    async with asyncio.timeout(60):
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def _row(number: int) -> FloorRow:
    return (new_uuid(), number, PAYLOAD)
