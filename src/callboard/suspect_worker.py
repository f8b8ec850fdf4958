"""A process that runs suspects, one at a time, and ends when there are none. `jobs/suspects.py` starts it.

    python -m callboard.suspect_worker WORKER_ID

It is handed its settings and step kinds on stdin, which stays open while the process that started it lives.
"""

import asyncio
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Sequence
from uuid import UUID

from callboard.core.config import Settings
from callboard.core.event_loop import run_on_fast_loop
from callboard.core.ids import WorkerId
from callboard.core.logging import configure_service_logging
from callboard.wiring import build_services, running_suspects
from callboard.workflows.steps.base import StepKind

FROZEN_CPU_SECONDS = 120.0  # of this process, without a turn of its loop: the job holds it, and others wait
BEAT_SECONDS = 1.0
ORPHAN_MARGIN_SECONDS = 30.0
POOL_SIZE = 2


def main() -> None:
    """Run suspects as the worker that the command line names."""
    settings, extra_steps = _read_handover()
    run_on_fast_loop(_run(WorkerId(UUID(sys.argv[1])), settings, extra_steps))


async def _run(worker_id: WorkerId, settings: Settings, extra_steps: Sequence[StepKind]) -> None:
    configure_service_logging("worker", settings)
    small = settings.model_copy(update={"max_running_jobs": 1, "database_pool_size": POOL_SIZE})
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    threading.Thread(
        target=_stop_when_orphaned, args=(loop, stop, settings.shutdown_grace_seconds), daemon=True
    ).start()
    beat = asyncio.create_task(_keep_beating(), name="beat")
    async with build_services(small, extra_steps=extra_steps) as services:
        await running_suspects(services, worker_id, stop)
    beat.cancel()


def _read_handover() -> tuple[Settings, Sequence[StepKind]]:
    """Return what the process that started this one wrote: the same code, on the same machine."""
    size = int.from_bytes(_read(8), "big")
    settings, extra_steps = pickle.loads(_read(size))  # noqa: S301 - the pipe is our parent's alone
    return settings, extra_steps


def _read(size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(sys.stdin.fileno(), size - len(data))
        if not part:
            raise SystemExit("nobody handed over what to work with")
        data += part
    return data


async def _keep_beating() -> None:
    """Have the system end this process when a job holds its loop: that is a death like any other.

    By CPU time, so that a process that was frozen from outside and goes on is not taken for one.
    """
    while True:
        signal.setitimer(signal.ITIMER_PROF, FROZEN_CPU_SECONDS)
        await asyncio.sleep(BEAT_SECONDS)


def _stop_when_orphaned(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, grace_seconds: float) -> None:
    """Hand back in good order when the process that started this one is gone; end in any case."""
    while os.read(sys.stdin.fileno(), 4096):
        continue
    loop.call_soon_threadsafe(stop.set)
    time.sleep(grace_seconds + ORPHAN_MARGIN_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
