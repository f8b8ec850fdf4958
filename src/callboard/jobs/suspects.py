"""Running suspects: jobs that may have killed the workers that ran them, each alone in a process of its own.

A worker has `SuspectChildren` beside its `sweeper.py`: while suspects are queued it keeps some child processes
(`callboard/suspect_worker.py`), and each takes one suspect after another by `run_suspects`. A suspect that journals
a row has shown that it does not kill there and goes back among the others; one whose child dies is given up.
"""

import asyncio
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from callboard.core.database import DATABASE_ERRORS, Database
from callboard.core.ids import WorkerId, new_uuid
from callboard.jobs.leases import WorkerLease
from callboard.jobs.repository.housekeeping import list_cancel_requests
from callboard.jobs.repository.suspects import absolve, count_suspects
from callboard.jobs.repository.takeovers import take_from_child
from callboard.jobs.repository.workers import list_dead
from callboard.jobs.runner import ActiveRun, JobRunner, StopReason

MAX_CHILDREN = 3  # of one worker: each is a Python process of some 100 MB, and holds some connections
LOOK_SECONDS = 1.0
START_SECONDS = 5.0  # a child younger than this has not claimed yet: one more would find nothing
FAILED_START_PAUSE_SECONDS = 30.0
WATCH_SECONDS = 0.1  # how soon a child sees that its job got further, or is to be cancelled
STOP_MARGIN_SECONDS = 10.0  # for a child to write what it has, after the grace that its calls get
START_ERRORS = (OSError, pickle.PicklingError, AttributeError, TypeError)  # no memory; steps that cannot be handed over
CHILD_MODULE = "callboard.suspect_worker"

log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Child:
    """A child process, and the worker that it registers as."""

    worker_id: WorkerId
    process: "subprocess.Popen[bytes]"
    started_at: float
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class SuspectChildren:
    """The child processes of one worker. `start_child` starts one that registers under the given id."""

    def __init__(
        self,
        database: Database,
        *,
        runner: JobRunner,
        start_child: "Callable[[WorkerId], subprocess.Popen[bytes]]",
        grace_seconds: float,
    ) -> None:
        self._database = database
        self._runner = runner
        self._start_child = start_child
        self._grace_seconds = grace_seconds
        self._children: dict[WorkerId, _Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._pause_until = 0.0
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look for suspects."""
        self._keeping = asyncio.create_task(self._keep(), name="suspects")

    async def stop(self) -> None:
        """Tell the children to hand back what they run, and return when they are gone."""
        self._is_stopping = True
        self._wake.set()
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
        for child in self._children.values():
            child.process.terminate()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._grace_seconds + STOP_MARGIN_SECONDS)
        for child in self._children.values():
            child.process.kill()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _keep(self) -> None:
        while not self._is_stopping:
            try:
                await self._start_where_wanted()
                await self._end_the_frozen()
            except DATABASE_ERRORS as error:
                log.warning("suspects.database_away", error=repr(error)[:300])
            self._wake.clear()
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _start_where_wanted(self) -> None:
        """Start a child for every suspect that none will take soon, as far as there is room."""
        room = min(MAX_CHILDREN, max(1, self._runner.free_slots)) - len(self._children)
        if room <= 0 or time.monotonic() < self._pause_until:
            return
        starting = sum(time.monotonic() - child.started_at < START_SECONDS for child in self._children.values())
        unclaimed = await count_suspects(self._database, most=MAX_CHILDREN)
        for _ in range(min(room, unclaimed - starting)):
            worker_id = WorkerId(new_uuid())
            try:
                process = await asyncio.to_thread(self._start_child, worker_id)
            except START_ERRORS as error:
                log.error("suspects.child_not_started", error=repr(error)[:300])
                self._pause_until = time.monotonic() + FAILED_START_PAUSE_SECONDS
                return
            log.info("suspects.child_started", worker_id=str(worker_id), pid=process.pid)
            child = self._children[worker_id] = _Child(worker_id, process, time.monotonic())
            task = asyncio.create_task(self._look_after(child), name=f"suspects-{process.pid}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _end_the_frozen(self) -> None:
        """Kill children that others have marked dead: what they ran is taken over, and they do not notice."""
        for worker_id in await list_dead(self._database, list(self._children)):
            if worker_id in self._children:
                self._children[worker_id].process.kill()

    async def _look_after(self, child: _Child) -> None:
        """Wait for the child's end; when it died, what it ran is to blame: it ran nothing else."""
        threading.Thread(target=_wait, args=(child, asyncio.get_running_loop()), daemon=True).start()
        await child.ended.wait()
        code = child.process.returncode
        if code != 0 and not self._is_stopping:
            await self._take_from(child, code)
        del self._children[child.worker_id]
        self._wake.set()

    async def _take_from(self, child: _Child, code: int) -> None:
        try:
            taken = await take_from_child(self._database, child.worker_id)
        except DATABASE_ERRORS as error:
            # a sweeper takes the job over, and it is run alone once more
            log.warning("suspects.database_away", error=repr(error)[:300])
            return
        log.error("suspects.child_died", worker_id=str(child.worker_id), exit_code=code, jobs=sum(taken.values()))
        if not taken:
            self._pause_until = time.monotonic() + FAILED_START_PAUSE_SECONDS


def start_suspect_worker(worker_id: WorkerId, handover: bytes) -> "subprocess.Popen[bytes]":
    """Start a child that runs suspects as the worker `worker_id`, and hand it what it works with.

    Its stdin stays open while this process lives, so that it notices when nobody looks after it any more. It is
    in a session of its own: Ctrl-C in a terminal reaches this process, which tells it in good order.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(  # noqa: S603 - this Python, our own module
        [sys.executable, "-m", CHILD_MODULE, str(worker_id)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        process.stdin.write(len(handover).to_bytes(8, "big") + handover)
        process.stdin.flush()
    except BrokenPipeError:
        log.warning("suspects.child_not_reached", pid=process.pid)  # its end is seen like any other's
    return process


async def run_suspects(database: Database, *, runner: JobRunner, lease: WorkerLease, stop: asyncio.Event) -> None:
    """Run suspects one after another until there is none, `stop` is set, or this worker was marked dead."""
    while not stop.is_set() and not lease.is_lost:
        run = await runner.start_suspect()
        if run is None:
            return
        await _watch(database, run, lease=lease, stop=stop)


async def _watch(database: Database, run: ActiveRun, *, lease: WorkerLease, stop: asyncio.Event) -> None:
    """Return when the run has ended or is to be handed back.

    Raises: what broke the run itself, so that this process ends as one that died.
    """
    assert run.task is not None
    is_absolved = False
    while not stop.is_set():
        done, _ = await asyncio.wait({run.task}, timeout=WATCH_SECONDS)
        if done:
            return run.task.result()
        if lease.is_lost:
            run.stop(StopReason.LOST)
            continue
        try:
            if await list_cancel_requests(database, lease.worker_id):
                run.stop(StopReason.CANCELLED)
            if not is_absolved and await absolve(database, run.job.id, run.job.fence):
                is_absolved = True
                run.suspend()
        except DATABASE_ERRORS as error:
            log.warning("suspects.database_away", error=repr(error)[:300])
    return None


def _wait(child: _Child, loop: asyncio.AbstractEventLoop) -> None:
    child.process.wait()
    loop.call_soon_threadsafe(child.ended.set)
