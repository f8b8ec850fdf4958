"""ARQ: three jobs on Redis, each of which enqueues the next; nothing of it is durable.

As its documentation advises for jobs that wait: many at once in one process. Results are not kept.
"""

import asyncio
from importlib.metadata import version
from typing import Any

import aiohttp
import bench_protocol as bench
from arq import ArqRedis, create_pool
from arq.connections import RedisSettings

REDIS = RedisSettings.from_dsn(bench.REDIS_URL)
SUBMITS_AT_ONCE = 50
_loop = asyncio.new_event_loop()
_pools: list[ArqRedis] = []


async def first(ctx: dict[str, Any]) -> dict[str, int]:
    bench.marks.add(bench.START)
    await ctx["redis"].enqueue_job("second", {"step": 0})
    return {"step": 0}


async def second(ctx: dict[str, Any], _before: dict[str, int]) -> dict[str, int]:
    await ctx["redis"].enqueue_job("third", {"step": 1})
    return {"step": 1}


async def third(_ctx: dict[str, Any], _before: dict[str, int]) -> dict[str, int]:
    bench.marks.add(bench.END)
    return {"step": 2}


async def call(ctx: dict[str, Any]) -> str:
    bench.marks.add(bench.START)
    url = bench.PROVIDER_URL + bench.CALL_PATH
    async with ctx["http"].post(url, data=bench.CALL_BODY, headers=bench.CALL_HEADERS) as answer:
        text = bench.text_of(await answer.read())
    bench.marks.add(bench.END)
    return text


async def startup(ctx: dict[str, Any]) -> None:
    ctx["http"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def shutdown(ctx: dict[str, Any]) -> None:
    await ctx["http"].close()


class WorkerSettings:
    """What `arq program.WorkerSettings` reads."""

    functions = (first, second, third, call)
    redis_settings = REDIS
    on_startup = startup
    on_shutdown = shutdown
    max_jobs = bench.SLOTS
    keep_result = 0
    log_results = False


def setup() -> dict[str, object]:
    return {"version": f"arq {version('arq')}", "worker": ["-m", "arq", "program.WorkerSettings"]}


def submit(work: str, count: int) -> None:
    _loop.run_until_complete(_enqueue("first" if work == bench.THREE_NOOPS else "call", count))


async def _enqueue(name: str, count: int) -> None:
    if not _pools:
        _pools.append(await create_pool(REDIS))
    for done in range(0, count, SUBMITS_AT_ONCE):
        batch = min(SUBMITS_AT_ONCE, count - done)
        await asyncio.gather(*(_pools[0].enqueue_job(name) for _ in range(batch)))


if __name__ == "__main__":
    bench.answer_commands(setup, submit)
