"""The floor: the least that durable steps cost. An engine of two tables with group commit, and nothing else.

    python -m bench.floor_prototype            answers commands, see `protocol/bench_protocol.py`
    python -m bench.floor_prototype worker     runs what was submitted

It has no fences, leases, events, retries, usage rows or workflow files. Checkpoints, ends, claims and
wake-ups each have a connection of their own; what many runs want written goes into one transaction, and the
next one starts when the last has returned. `suite.py` runs it beside Callboard: the ratio is what the rest costs.
"""

import asyncio
import json
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

import asyncpg
import uvloop

from bench.protocol import bench_protocol as bench

STEPS = 3
BATCH_ROWS, CLAIM_ROWS, MAX_RUNNING = 500, 100, 10_000
SUBMITS_AT_ONCE = 200
POLL_SECONDS = 1.0
SQLITE_LOOK_SECONDS = 0.005

TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id {key}, kind text NOT NULL, arg bigint, status smallint NOT NULL DEFAULT 0, result text
);
CREATE INDEX IF NOT EXISTS jobs_ready ON jobs (id) WHERE status = 0;
CREATE TABLE IF NOT EXISTS steps (run_id bigint, step int, result {json}, PRIMARY KEY (run_id, step));
"""
CHECKPOINT = "INSERT INTO steps SELECT * FROM unnest($1::bigint[], $2::int[], $3::jsonb[])"
FINISH = (
    "UPDATE jobs SET status = 2, result = ended.result "
    "FROM unnest($1::bigint[], $2::text[]) ended (id, result) WHERE jobs.id = ended.id"
)
SUBMIT = (
    "WITH added AS (INSERT INTO jobs (kind, arg) SELECT * FROM unnest($1::text[], $2::bigint[])) "
    "SELECT pg_notify('jobs', '')"
)
CLAIM = (
    "UPDATE jobs SET status = 1 WHERE id IN (SELECT id FROM jobs WHERE status = 0 ORDER BY id LIMIT {limit} {lock}) "
    "RETURNING id, kind, arg"
)

Row: TypeAlias = tuple[Any, ...]
Item = TypeVar("Item")


class Store(ABC):
    """The two tables. Every write takes many rows and is one commit."""

    @abstractmethod
    async def create(self) -> None: ...

    @abstractmethod
    async def submit(self, jobs: Sequence[Row]) -> None: ...

    @abstractmethod
    async def claim(self, limit: int) -> Sequence[Sequence[Any]]: ...

    @abstractmethod
    async def checkpoint(self, steps: Sequence[Row]) -> None: ...

    @abstractmethod
    async def finish(self, ends: Sequence[Row]) -> None: ...

    @abstractmethod
    async def listen(self, wake: asyncio.Event) -> None:
        """Set `wake` whenever another process has committed something."""

    @abstractmethod
    async def count_ended(self) -> int: ...


class PostgresStore(Store):
    """Four connections, each with one purpose, so that nothing is acquired or reset between two flushes."""

    def __init__(self, checkpoints: Any, claims: Any, ends: Any, notices: Any) -> None:
        self._checkpoints, self._claims, self._ends, self._notices = checkpoints, claims, ends, notices

    @classmethod
    async def open(cls) -> "PostgresStore":
        return cls(*[await asyncpg.connect(bench.DATABASE_URL) for _ in range(4)])

    async def create(self) -> None:
        await self._checkpoints.execute(TABLES.format(key="bigserial PRIMARY KEY", json="jsonb"))

    async def submit(self, jobs: Sequence[Row]) -> None:
        await self._checkpoints.execute(SUBMIT, *_columns(jobs))

    async def claim(self, limit: int) -> Sequence[Sequence[Any]]:
        rows: Sequence[Sequence[Any]] = await self._claims.fetch(
            CLAIM.format(limit="$1", lock="FOR UPDATE SKIP LOCKED"), limit
        )
        return rows

    async def checkpoint(self, steps: Sequence[Row]) -> None:
        await self._checkpoints.execute(CHECKPOINT, *_columns(steps))

    async def finish(self, ends: Sequence[Row]) -> None:
        await self._ends.execute(FINISH, *_columns(ends))

    async def listen(self, wake: asyncio.Event) -> None:
        await self._notices.add_listener("jobs", lambda *_: wake.set())

    async def count_ended(self) -> int:
        return int(await self._claims.fetchval("SELECT count(*) FROM jobs WHERE status = 2"))


class SqliteStore(Store):
    """One connection on one thread, WAL and FULL: a commit is on the disk when it returns."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._connection: sqlite3.Connection | None = None
        self._looking: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls) -> "SqliteStore":
        store = cls()
        await store._on_thread(store._connect)
        return store

    async def create(self) -> None:
        await self._on_thread(
            lambda: self._open_connection().executescript(TABLES.format(key="integer PRIMARY KEY", json="text"))
        )

    async def submit(self, jobs: Sequence[Row]) -> None:
        await self._write("INSERT INTO jobs (kind, arg) VALUES (?, ?)", jobs)

    async def claim(self, limit: int) -> Sequence[Sequence[Any]]:
        def take() -> list[Any]:
            connection = self._open_connection()
            connection.execute("BEGIN IMMEDIATE")
            rows = connection.execute(CLAIM.format(limit="?", lock=""), (limit,)).fetchall()
            connection.execute("COMMIT")
            return rows

        return await self._on_thread(take)

    async def checkpoint(self, steps: Sequence[Row]) -> None:
        await self._write("INSERT INTO steps VALUES (?, ?, ?)", steps)

    async def finish(self, ends: Sequence[Row]) -> None:
        await self._write("UPDATE jobs SET status = 2, result = ?2 WHERE id = ?1", ends)

    async def listen(self, wake: asyncio.Event) -> None:
        async def look() -> None:
            seen = None
            while True:
                version = await self._on_thread(lambda: self._scalar("PRAGMA data_version"))
                if version != seen:
                    seen = version
                    wake.set()
                await asyncio.sleep(SQLITE_LOOK_SECONDS)

        self._looking = asyncio.create_task(look())

    async def count_ended(self) -> int:
        return int(await self._on_thread(lambda: self._scalar("SELECT count(*) FROM jobs WHERE status = 2")))

    async def _write(self, statement: str, rows: Sequence[Row]) -> None:
        def write() -> None:
            connection = self._open_connection()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(statement, rows)
            connection.execute("COMMIT")

        await self._on_thread(write)

    async def _on_thread(self, work: Callable[[], Item]) -> Item:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _connect(self) -> None:
        path = bench.DATABASE_URL.removeprefix("sqlite:///")
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=30)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")

    def _open_connection(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    def _scalar(self, query: str) -> Any:
        return self._open_connection().execute(query).fetchone()[0]


class GroupWriter:
    """Writes together what is waiting: at most `BATCH_ROWS` rows a flush, one flush at a time."""

    def __init__(self, flush: Callable[[Sequence[Row]], Awaitable[None]]) -> None:
        self._flush = flush
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._has_rows = asyncio.Event()
        self._task = asyncio.create_task(self._drain())

    def write(self, row: Row) -> "asyncio.Future[None]":
        """Return the future of when `row` is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        self._has_rows.set()
        return done

    def close(self) -> None:
        self._task.cancel()

    async def _drain(self) -> None:
        while True:
            if not self._waiting:
                self._has_rows.clear()
                await self._has_rows.wait()
            batch, self._waiting = self._waiting[:BATCH_ROWS], self._waiting[BATCH_ROWS:]
            await self._flush([row for row, _ in batch])
            for _, done in batch:
                if not done.done():
                    done.set_result(None)


async def work_for_ever() -> None:
    """Claim up to 100 jobs at a time, run them all at once, and sleep only when there is nothing."""
    store, wake = await open_store(), asyncio.Event()
    await store.listen(wake)
    checkpoints, ends = GroupWriter(store.checkpoint), GroupWriter(store.finish)
    running: set[asyncio.Task[None]] = set()
    while True:
        wake.clear()
        jobs = await store.claim(min(CLAIM_ROWS, MAX_RUNNING - len(running)))
        for job_id, _, number in jobs:
            task = asyncio.create_task(_run(job_id, number, checkpoints, ends))
            running.add(task)
            task.add_done_callback(running.discard)
        if not jobs:
            await _wait(wake)


async def _run(job_id: int, number: int, checkpoints: GroupWriter, ends: GroupWriter) -> None:
    output = {}
    for step in range(STEPS):
        if step == 0:
            bench.marks.add(bench.START)
        output = {"number": number, "step": step}
        await checkpoints.write((job_id, step, json.dumps(output)))
    bench.marks.add(bench.END)
    await ends.write((job_id, json.dumps(output)))


async def _wait(wake: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(wake.wait(), POLL_SECONDS)
    except TimeoutError:
        return


async def open_store() -> Store:
    """Return the store that the environment names, connected."""
    return await (SqliteStore.open() if bench.DATABASE_URL.startswith("sqlite") else PostgresStore.open())


class Client:
    """What the commands do. Submits are grouped, as those of an API process with many requests would be."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._store: Store | None = None

    def setup(self) -> dict[str, Any]:
        self._store = self._loop.run_until_complete(open_store())
        self._loop.run_until_complete(self._store.create())
        return {"version": "bench/floor_prototype.py", "worker": ["-m", "bench.floor_prototype", "worker"]}

    def submit(self, work: str, count: int) -> None:
        self._loop.run_until_complete(self._submit(work, count))

    def count_ended(self) -> int:
        return self._loop.run_until_complete(self._opened().count_ended())

    async def _submit(self, work: str, count: int) -> None:
        writer, room = GroupWriter(self._opened().submit), asyncio.Semaphore(SUBMITS_AT_ONCE)

        async def submit(number: int) -> None:
            async with room:
                await writer.write((work, number))

        await asyncio.gather(*map(submit, range(count)))
        writer.close()

    def _opened(self) -> Store:
        assert self._store is not None
        return self._store


def _columns(rows: Sequence[Row]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def main() -> None:
    """Be the worker or the client."""
    if "worker" in sys.argv:
        uvloop.run(work_for_ever())
    else:
        client = Client()
        bench.answer_commands(client.setup, client.submit, client.count_ended)


if __name__ == "__main__":
    main()
