"""Callboard as a contestant: a client that submits through the service layer, and workers.

    python -m bench.callboard_program            answers commands, see `protocol/bench_protocol.py`
    python -m bench.callboard_program worker     a worker process, as `callboard worker` is one

Settings come from the environment, as a user's do. BENCH_COMMITS changes how the worker commits, for the table
that shows what group commit is worth: `single` writes every checkpoint and end in a transaction of its own, on
20 connections at once; `serial` one after the other.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from unittest import mock

import uvloop

from bench.databases import bare
from bench.product import CALLER, ONE_CALL, THREE_NOOPS, bench_steps
from bench.protocol import bench_protocol as bench
from callboard import __version__
from callboard.core import batch_writer, database
from callboard.core.batch_writer import BatchWriter
from callboard.core.config import load_settings
from callboard.core.event_loop import run_on_fast_loop
from callboard.core.logging import configure_service_logging
from callboard.jobs.schemas import JobCreate
from callboard.wiring import Services, build_services, working

WORKFLOWS = {bench.THREE_NOOPS: THREE_NOOPS, bench.ONE_CALL: ONE_CALL}
SUBMITS_IN_FLIGHT = 200
CONNECTIONS_OF_SINGLE_COMMITS = 20

Answer = TypeVar("Answer")


async def work_for_ever() -> None:
    """Run jobs until SIGTERM."""
    settings = load_settings()
    configure_service_logging("worker", settings)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with build_services(settings, extra_steps=bench_steps()) as services, working(services):
        await stop.wait()


def commit_alone(how: str) -> None:
    """Have this process write every row in a transaction of its own. For the bench only: no setting does this."""
    mock.patch.object(batch_writer, "MAX_ROWS", 1).start()
    if how == "single":
        mock.patch.object(BatchWriter, "_drain", _drain_at_once).start()
        mock.patch.object(database, "WRITER_CONNECTIONS", CONNECTIONS_OF_SINGLE_COMMITS).start()


async def _drain_at_once(writer: "BatchWriter[Any, Any]") -> None:
    """Write what is queued at once, each row in a transaction of its own; the pool has the others wait."""
    while writer._queue:  # noqa: SLF001 - stands in for a method of this class
        batches = [writer._take_batch() for _ in range(len(writer._queue))]  # noqa: SLF001
        await asyncio.gather(*(writer._settle(batch) for batch in batches))  # noqa: SLF001


class Client:
    """What the commands do. With BENCH_EMBEDDED it holds a worker, too, as `callboard serve` does.

    Its loop runs on a thread, so that the worker goes on between two commands.
    """

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._stack = AsyncExitStack()
        self._services: Services | None = None
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def setup(self) -> dict[str, Any]:
        self._do(self._open())
        return {"version": f"callboard {__version__}", "worker": ["-m", "bench.callboard_program", "worker"]}

    def submit(self, work: str, count: int) -> None:
        self._do(self._submit(JobCreate(workflow_name=WORKFLOWS[work], input_data={}), count))

    def count_ended(self) -> int:
        return self._do(self._count_ended())

    def close(self) -> None:
        self._do(self._stack.aclose())

    async def _open(self) -> None:
        settings = load_settings()
        configure_service_logging("api", settings)
        services = build_services(settings, extra_steps=bench_steps())
        self._services = await self._stack.enter_async_context(services)
        if "BENCH_EMBEDDED" in os.environ:
            await self._stack.enter_async_context(working(self._services))

    async def _submit(self, request: JobCreate, count: int) -> None:
        assert self._services is not None
        jobs, room = self._services.jobs, asyncio.Semaphore(SUBMITS_IN_FLIGHT)

        async def submit() -> None:
            async with room:
                await jobs.submit(CALLER, request, idempotency_key=None)

        await asyncio.gather(*(submit() for _ in range(count)))

    async def _count_ended(self) -> int:
        async with bare(bench.DATABASE_URL) as database:
            return await database.count("llm_workflow_jobs", "status = 'completed'")

    def _do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def main() -> None:
    """Be the worker or the client."""
    how = os.environ.get("BENCH_COMMITS")
    if "worker" not in sys.argv:
        client = Client()
        bench.answer_commands(client.setup, client.submit, client.count_ended)
        client.close()
        return
    if how is not None:
        commit_alone(how)
    run_on_fast_loop(work_for_ever())


if __name__ == "__main__":
    main()
