"""pgqueuer: three jobs in PostgreSQL, each of which enqueues the next; jobs are durable, outputs are not kept.

As its documentation advises: `pgq install` with durable tables, a larger batch for short jobs, uvloop.
"""

import asyncio
import subprocess
import sys
from importlib.metadata import version

import aiohttp
import asyncpg
import bench_protocol as bench
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

BATCH_ROWS = 100
CONNECTIONS = 10
_loop = asyncio.new_event_loop()
_queries: list[Queries] = []


async def work_for_ever() -> None:
    """Do what `pgq run` does, which this version's command line does not get to."""
    pool = await asyncpg.create_pool(bench.DATABASE_URL, min_size=CONNECTIONS, max_size=CONNECTIONS)
    driver = AsyncpgPoolDriver(pool)
    queue = PgQueuer(driver)
    queries = Queries(driver)
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    @queue.entrypoint("first")
    async def first(_job: Job) -> None:
        bench.marks.add(bench.START)
        await queries.enqueue("second", b'{"step":0}')

    @queue.entrypoint("second")
    async def second(_job: Job) -> None:
        await queries.enqueue("third", b'{"step":1}')

    @queue.entrypoint("third")
    async def third(_job: Job) -> None:
        bench.marks.add(bench.END)

    @queue.entrypoint("call")
    async def call(_job: Job) -> None:
        bench.marks.add(bench.START)
        url = bench.PROVIDER_URL + bench.CALL_PATH
        async with http.post(url, data=bench.CALL_BODY, headers=bench.CALL_HEADERS) as answer:
            bench.text_of(await answer.read())
        bench.marks.add(bench.END)

    await queue.run(batch_size=BATCH_ROWS)


def setup() -> dict[str, object]:
    install = [sys.executable, "-m", "pgqueuer", "--pg-dsn", bench.DATABASE_URL, "install"]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    return {
        "version": f"pgqueuer {version('pgqueuer')}",
        "worker": ["program.py", "worker"],
    }


def submit(work: str, count: int) -> None:
    _loop.run_until_complete(_enqueue("first" if work == bench.THREE_NOOPS else "call", count))


async def _enqueue(name: str, count: int) -> None:
    if not _queries:
        _queries.append(Queries(AsyncpgDriver(await asyncpg.connect(bench.DATABASE_URL))))
    for done in range(0, count, BATCH_ROWS):
        batch = min(BATCH_ROWS, count - done)
        await _queries[0].enqueue([name] * batch, [None] * batch, [0] * batch)


if __name__ == "__main__":
    if "worker" in sys.argv:
        uvloop.run(work_for_ever())
    else:
        bench.answer_commands(setup, submit)
