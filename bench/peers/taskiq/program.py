"""taskiq: three tasks on a Redis stream, each of which kicks the next; nothing of it is durable.

As its documentation advises: the stream broker, which acknowledges, uvloop, one worker process that awaits
many tasks. No result backend, since nobody reads results.
"""

import asyncio
from importlib.metadata import version

import aiohttp
import bench_protocol as bench
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import RedisStreamBroker

SUBMITS_AT_ONCE = 50
broker = RedisStreamBroker(url=bench.REDIS_URL, queue_name="bench")
_loop = asyncio.new_event_loop()
_started: list[bool] = []


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def startup(state: TaskiqState) -> None:
    state.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def shutdown(state: TaskiqState) -> None:
    await state.http.close()


@broker.task
async def third(_before: dict[str, int]) -> dict[str, int]:
    bench.marks.add(bench.END)
    return {"step": 2}


@broker.task
async def second(_before: dict[str, int]) -> dict[str, int]:
    await third.kiq({"step": 1})
    return {"step": 1}


@broker.task
async def first() -> dict[str, int]:
    bench.marks.add(bench.START)
    await second.kiq({"step": 0})
    return {"step": 0}


@broker.task
async def call() -> str:
    bench.marks.add(bench.START)
    url = bench.PROVIDER_URL + bench.CALL_PATH
    async with broker.state.http.post(url, data=bench.CALL_BODY, headers=bench.CALL_HEADERS) as answer:
        text = bench.text_of(await answer.read())
    bench.marks.add(bench.END)
    return text


def setup() -> dict[str, object]:
    options = ["--workers", "1", "--max-async-tasks", str(bench.SLOTS), "--log-level", "WARNING"]
    return {
        "version": f"taskiq {version('taskiq')}, taskiq-redis {version('taskiq-redis')}",
        "worker": ["-m", "taskiq", "worker", *options, "program:broker"],
    }


def submit(work: str, count: int) -> None:
    _loop.run_until_complete(_kick(first if work == bench.THREE_NOOPS else call, count))


async def _kick(task, count: int) -> None:  # noqa: ANN001 - a generic of taskiq's with four parameters
    if not _started:
        await broker.startup()
        _started.append(True)
    for done in range(0, count, SUBMITS_AT_ONCE):
        await asyncio.gather(*(task.kiq() for _ in range(min(SUBMITS_AT_ONCE, count - done))))


if __name__ == "__main__":
    bench.answer_commands(setup, submit)
