"""LangGraph: a graph of three nodes; a checkpoint and its writes are rows, before the next node starts.

As its documentation advises: asynchronous savers, a pool with autocommit and dict rows on PostgreSQL.
`durability="sync"`, since the other contestants' steps are durable before the next one starts, too. It has
no queue: its worker gets what to run from a file, which costs it nothing.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TypedDict
from uuid import uuid4

import aiohttp
import bench_protocol as bench
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

CONNECTIONS = 20
RUNS_AT_ONCE = 100  # of no-ops; more is not faster
IS_SQLITE = bench.DATABASE_URL.startswith("sqlite")


class State(TypedDict):
    """What the nodes hand on."""

    step: int
    text: str


async def first(_state: State) -> dict[str, int]:
    bench.marks.add(bench.START)
    return {"step": 0}


async def second(_state: State) -> dict[str, int]:
    return {"step": 1}


async def third(_state: State) -> dict[str, int]:
    return {"step": 2}


def setup() -> dict[str, object]:
    saver = "langgraph-checkpoint-sqlite" if IS_SQLITE else "langgraph-checkpoint-postgres"
    return {
        "version": f"langgraph {version('langgraph')}, {saver} {version(saver)}",
        "worker": ["program.py", "worker"],
    }


async def work_for_ever() -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with open_saver() as saver, aiohttp.ClientSession(connector=connector) as http:
        await saver.setup()
        graphs = {bench.THREE_NOOPS: three_noops(saver), bench.ONE_CALL: one_call(saver, http)}
        rooms = {bench.THREE_NOOPS: asyncio.Semaphore(RUNS_AT_ONCE), bench.ONE_CALL: asyncio.Semaphore(bench.SLOTS)}

        async def run(work: str) -> None:
            async with rooms[work]:
                config = {"configurable": {"thread_id": uuid4().hex}}
                await graphs[work].ainvoke({"step": -1, "text": ""}, config, durability="sync")
                bench.marks.add(bench.END)

        runs: set[asyncio.Task[None]] = set()
        async for work, count in bench.listed_runs():
            for _ in range(count):
                task = asyncio.create_task(run(work))
                runs.add(task)
                task.add_done_callback(runs.discard)


def three_noops(saver: BaseCheckpointSaver):  # noqa: ANN201 - its name is of LangGraph's inside
    graph = StateGraph(State)
    graph.add_node("first", first)
    graph.add_node("second", second)
    graph.add_node("third", third)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", "third")
    graph.add_edge("third", END)
    return graph.compile(checkpointer=saver)


def one_call(saver: BaseCheckpointSaver, http: aiohttp.ClientSession):  # noqa: ANN201 - as above
    async def call(_state: State) -> dict[str, str]:
        bench.marks.add(bench.START)
        url = bench.PROVIDER_URL + bench.CALL_PATH
        async with http.post(url, data=bench.CALL_BODY, headers=bench.CALL_HEADERS) as answer:
            return {"text": bench.text_of(await answer.read())}

    graph = StateGraph(State)
    graph.add_node("call", call)
    graph.add_edge(START, "call")
    graph.add_edge("call", END)
    return graph.compile(checkpointer=saver)


@asynccontextmanager
async def open_saver() -> AsyncIterator[BaseCheckpointSaver]:
    if IS_SQLITE:
        async with AsyncSqliteSaver.from_conn_string(bench.DATABASE_URL.removeprefix("sqlite:///")) as saver:
            yield saver
        return
    kwargs = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(
        bench.DATABASE_URL, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs=kwargs, open=False
    ) as pool:
        yield AsyncPostgresSaver(pool)


if __name__ == "__main__":
    if "worker" in sys.argv:
        asyncio.run(work_for_ever())
    else:
        bench.answer_commands(setup, bench.list_runs)
