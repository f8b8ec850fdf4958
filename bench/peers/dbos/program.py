"""DBOS: a workflow of three steps on a queue; the workflow's start, each step's output and its end are rows.

As its documentation advises: a client that enqueues, a worker that registers the queue and executes. The
queue's polling interval is the default one.
"""

import sys
import threading
from importlib.metadata import version

import aiohttp
import bench_protocol as bench
from dbos import DBOS, DBOSClient, run_dbos_database_migrations

QUEUE = "bench"
APPLICATION = "bench"
_clients: list[DBOSClient] = []
_sessions: list[aiohttp.ClientSession] = []


@DBOS.step()
def first() -> dict[str, int]:
    bench.marks.add(bench.START)
    return {"step": 0}


@DBOS.step()
def second() -> dict[str, int]:
    return {"step": 1}


@DBOS.step()
def third() -> dict[str, int]:
    return {"step": 2}


@DBOS.workflow(name=bench.THREE_NOOPS)
def three_noops() -> dict[str, int]:
    first()
    second()
    output = third()
    bench.marks.add(bench.END)
    return output


@DBOS.step()
async def call() -> str:
    if not _sessions:
        _sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
    url = bench.PROVIDER_URL + bench.CALL_PATH
    async with _sessions[0].post(url, data=bench.CALL_BODY, headers=bench.CALL_HEADERS) as answer:
        return bench.text_of(await answer.read())


@DBOS.workflow(name=bench.ONE_CALL)
async def one_call() -> str:
    bench.marks.add(bench.START)
    text = await call()
    bench.marks.add(bench.END)
    return text


def setup() -> dict[str, object]:
    run_dbos_database_migrations(system_database_url=bench.DATABASE_URL)
    return {"version": f"dbos {version('dbos')}", "worker": ["program.py", "worker"]}


def submit(work: str, count: int) -> None:
    if not _clients:
        _clients.append(DBOSClient(system_database_url=bench.DATABASE_URL, application_name=APPLICATION))
    for _ in range(count):
        _clients[0].enqueue({"workflow_name": work, "queue_name": QUEUE})


def work_for_ever() -> None:
    DBOS(config={"name": APPLICATION, "system_database_url": bench.DATABASE_URL, "log_level": "WARNING"})
    DBOS.launch()
    DBOS.register_queue(QUEUE)
    threading.Event().wait()


if __name__ == "__main__":
    if "worker" in sys.argv:
        work_for_ever()
    else:
        bench.answer_commands(setup, submit)
