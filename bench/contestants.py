"""What is measured side by side: Callboard, its floors and its peers, each behind the same few commands.

The tables of `suite.py` open contestants and take samples of them in turn. A contestant is a client process
that speaks `protocol/bench_protocol.py` and a worker process, which is frozen but for its own samples:
while jobs are submitted nothing drains, and while one drains nothing else runs.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.databases import POSTGRESQL, SQLITE, is_writable, private_database
from bench.processes import cpu_seconds, freeze, peak_memory_mb, reset_peak_memory, thaw, tree_of
from bench.product import bench_environment
from bench.protocol import bench_protocol as protocol
from tests.fixtures.redis_server import PrivateRedis

BENCH = Path(__file__).parent
PEERS, ENVIRONMENTS, PROTOCOL = BENCH / "peers", BENCH / ".venvs", BENCH / "protocol"
READY_SECONDS, READY_TRY_SECONDS, READY_RUNS = 90.0, 8.0, 1
WARM_UP_RUNS = 20
ANSWER_SECONDS, DRAIN_SECONDS, STOP_SECONDS = 120.0, 120.0, 15.0
LOOK_SECONDS = 0.002
LOG_SHOWN = 2000
NOT_DURABLE = "nothing: messages of Redis without persistence; a task that has run leaves no row"


class ContestantError(Exception):
    """A contestant did not start, or did not do what it was asked for."""


class MissingEnvironmentError(ContestantError):
    """The peer's virtual environment is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Who is measured. `peer` is a folder of `peers`, or None for a program of our own.

    `share` is how many of a table's runs it is given: slow ones get fewer, so that rounds stay short.
    """

    key: str
    label: str
    stores: str
    module: str = ""
    peer: str | None = None
    database: str | None = None
    workers: int = 1  # processes; 0 where the program itself works, or nobody is to
    worker: tuple[str, ...] = ()  # its arguments, where the program's own answer is not wanted
    share: float = 1.0
    unmarked: frozenset[str] = frozenset()  # works whose ends it does not mark; they are stored
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        return Path(sys.executable) if self.peer is None else ENVIRONMENTS / self.peer / "bin" / "python"

    @property
    def program(self) -> list[str]:
        return ["-m", self.module] if self.peer is None else ["program.py"]

    @property
    def folder(self) -> Path:
        return BENCH.parent if self.peer is None else PEERS / self.peer

    @property
    def has_worker(self) -> bool:
        return self.workers > 0 or "BENCH_EMBEDDED" in self.environment

    def with_environment(self, key: str, label: str, **environment: str) -> "Contestant":
        """Return the same one under another name, with these variables besides."""
        return replace(self, key=key, label=label, environment={**self.environment, **environment})


_CALLBOARD_STORES = (
    "per run: the job's row, a journal row per step, events, an outbox row; all fenced, each step durable"
)
_FLOOR_STORES = "per run: the job's row and a row per step, each durable before the next"
_LANGGRAPH_STORES = "per run: five checkpoints with their writes, each durable before the next step (durability sync)"
_DBOS_STORES = "per run: the workflow's row and a row per step, each step durable"

CALLBOARD_POSTGRESQL = Contestant(
    key="callboard_postgresql",
    label="Callboard, PostgreSQL",
    stores=_CALLBOARD_STORES,
    module="bench.callboard_program",
    database=POSTGRESQL,
    unmarked=frozenset({protocol.ONE_CALL}),
)
CALLBOARD_SQLITE = replace(
    CALLBOARD_POSTGRESQL, key="callboard_sqlite", label="Callboard, SQLite FULL", database=SQLITE
)
FLOOR_POSTGRESQL = Contestant(
    key="floor_postgresql",
    label="prototype (floor), PostgreSQL",
    stores=_FLOOR_STORES,
    module="bench.floor_prototype",
    database=POSTGRESQL,
    share=4,
)
FLOOR_SQLITE = replace(FLOOR_POSTGRESQL, key="floor_sqlite", label="prototype (floor), SQLite FULL", database=SQLITE)
BARE_AIOHTTP = Contestant(key="bare", label="bare aiohttp, no engine", stores="nothing", module="bench.bare_aiohttp")
CELERY = Contestant(key="celery", label="Celery chain, Redis", stores=NOT_DURABLE, peer="celery", share=0.25)
DBOS_POSTGRESQL = Contestant(
    key="dbos_postgresql", label="DBOS, PostgreSQL", stores=_DBOS_STORES, peer="dbos", database=POSTGRESQL, share=0.1
)
DBOS_SQLITE = replace(DBOS_POSTGRESQL, key="dbos_sqlite", label="DBOS, SQLite", database=SQLITE, share=0.04)
LANGGRAPH_POSTGRESQL = Contestant(
    key="langgraph_postgresql",
    label="LangGraph, PostgresSaver",
    stores=_LANGGRAPH_STORES,
    peer="langgraph",
    database=POSTGRESQL,
    share=0.15,
)
LANGGRAPH_SQLITE = replace(
    LANGGRAPH_POSTGRESQL, key="langgraph_sqlite", label="LangGraph, SqliteSaver", database=SQLITE
)
PGQUEUER = Contestant(
    key="pgqueuer",
    label="pgqueuer chain",
    stores="the rows of its jobs, durable; no outputs",
    peer="pgqueuer",
    database=POSTGRESQL,
    share=0.4,
)
ARQ = Contestant(key="arq", label="ARQ chain, Redis", stores=NOT_DURABLE, peer="arq", share=0.25)
TASKIQ = Contestant(key="taskiq", label="taskiq chain, Redis", stores=NOT_DURABLE, peer="taskiq", share=0.25)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """One sample: `runs` runs, submitted to a frozen worker, and what it took from its going on to the last end."""

    runs: int
    submit_seconds: float
    seconds: float
    cpu_seconds: float
    peak_memory_mb: float

    @property
    def rate(self) -> float:
        return self.runs / self.seconds

    @property
    def cpu_seconds_per_1000(self) -> float:
        return self.cpu_seconds / self.runs * 1000


class MarkFile:
    """What the processes of one contestant have marked so far, as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._file = path.open("rb")
        self._starts: list[float] = []
        self._ends: list[float] = []

    def starts(self) -> list[float]:
        self._read()
        return self._starts

    def ends(self) -> list[float]:
        self._read()
        return self._ends

    def close(self) -> None:
        self._file.close()

    def _read(self) -> None:
        size = protocol.MARK.size
        data = self._file.read()
        whole = len(data) - len(data) % size
        self._file.seek(whole - len(data), os.SEEK_CUR)
        for at, kind in protocol.MARK.iter_unpack(data[:whole]):
            (self._starts if kind == protocol.START else self._ends).append(at)


class Program:
    """A process that answers one line of JSON for each line of JSON."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def ask(self, **command: Any) -> dict[str, Any]:
        """Return its answer. Raises: ContestantError, when it has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        with suppress(ConnectionError):
            await self._process.stdin.drain()
        async with asyncio.timeout(ANSWER_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise ContestantError(f"It died at {command}. Its log ends with\n{tail_of(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await end_process(self._process)


class Running:
    """A contestant whose client and workers run. Its workers are frozen whenever no sample is taken."""

    def __init__(
        self,
        contestant: Contestant,
        program: Program,
        workers: list[asyncio.subprocess.Process],
        marks: MarkFile,
        database_url: str,
    ) -> None:
        self.contestant = contestant
        self.program = program
        self.marks = marks
        self.database_url = database_url
        self.version = ""
        self._workers = workers

    def pids(self) -> list[int]:
        return [pid for worker in self._workers for pid in tree_of(worker.pid)]

    def thaw(self) -> None:
        thaw(self.pids())

    async def freeze(self) -> None:
        """Stop the workers where they stand, but not inside a transaction of SQLite: nobody could submit."""
        freeze(self.pids())
        while self.contestant.database == SQLITE and not is_writable(
            Path(self.database_url.removeprefix("sqlite:///"))
        ):
            self.thaw()
            await asyncio.sleep(LOOK_SECONDS)
            freeze(self.pids())

    async def run(self, work: str, count: int) -> float:
        """Submit `count` runs to the worker as it is, return when they have ended: when the submit began."""
        goal = await self._goal(work, count)
        submitted = await self.program.ask(do="submit", work=work, count=count)
        await self._reach(goal)
        return float(submitted["started_at"])

    async def drain(self, work: str, count: int, *, first: Callable[[], Awaitable[None]] | None = None) -> Drain:
        """Return a sample: warm up, freeze, submit, go on until the last run has ended, freeze.

        `first` is waited for before the ends are looked at, where looking would disturb.
        """
        self.thaw()
        await self.run(work, WARM_UP_RUNS)
        await self.freeze()
        goal = await self._goal(work, count)
        submitted = await self.program.ask(do="submit", work=work, count=count)
        pids = self.pids()
        reset_peak_memory(pids)
        cpu_before, started_at = cpu_seconds(pids), time.monotonic()
        thaw(pids)
        if first is not None:
            await first()
        ended_at = await self._reach(goal)
        cpu = cpu_seconds(pids) - cpu_before
        await self.freeze()
        return Drain(
            runs=count,
            submit_seconds=submitted["seconds"],
            seconds=ended_at - started_at,
            cpu_seconds=cpu,
            peak_memory_mb=peak_memory_mb(pids),
        )

    async def wait_until_ready(self, work: str) -> None:
        """Return when the workers run what is submitted. Raises: ContestantError."""
        give_up_at = time.monotonic() + READY_SECONDS
        while time.monotonic() < give_up_at:
            for worker in self._workers:
                if worker.returncode is not None:
                    raise ContestantError(f"The worker of {self.contestant.label} ended with {worker.returncode}.")
            goal = await self._goal(work, READY_RUNS)
            await self.program.ask(do="submit", work=work, count=READY_RUNS)
            with suppress(TimeoutError):  # a broker may drop what was sent before its worker was there
                await self._reach(goal, seconds=READY_TRY_SECONDS)
                return
        raise ContestantError(f"The worker of {self.contestant.label} ran nothing in {READY_SECONDS:.0f} s.")

    async def _goal(self, work: str, count: int) -> "_Goal":
        """Return what is there when `count` runs more have ended."""
        answer = await self.program.ask(do="report")
        return _Goal(
            marks=None if work in self.contestant.unmarked else len(self.marks.ends()) + count,
            stored=None if answer["ended"] is None else answer["ended"] + count,
        )

    async def _reach(self, goal: "_Goal", *, seconds: float = DRAIN_SECONDS) -> float:
        """Return when, on the monotonic clock, the last end was marked; where ends are stored, when it was durable.

        Raises: TimeoutError. Never in the middle of a question to the program, whose answer the next one would get.
        """
        give_up_at = time.monotonic() + seconds
        while not await self._is_reached(goal):
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"Its runs have not ended in {seconds:.0f} s.")
            await asyncio.sleep(LOOK_SECONDS)
        return max(self.marks.ends()) if goal.stored is None else time.monotonic()

    async def _is_reached(self, goal: "_Goal") -> bool:
        if goal.marks is not None and len(self.marks.ends()) < goal.marks:
            return False
        return goal.stored is None or (await self.program.ask(do="report"))["ended"] >= goal.stored


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goal:
    """How many ends there are, marked and stored, when a sample is complete; None where they are not counted so."""

    marks: int | None
    stored: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where contestants live while a table is measured."""

    folder: Path
    postgres_url: str
    provider_url: str = ""


@asynccontextmanager
async def opened(contestant: Contestant, place: Place, *, work: str = protocol.THREE_NOOPS) -> AsyncIterator[Running]:
    """Give the contestant, ready and frozen, with databases of its own that are gone afterwards.

    Raises: MissingEnvironmentError; ContestantError, with the end of its log.
    """
    if not contestant.python.exists():
        raise MissingEnvironmentError(f"{contestant.label} has no environment: run `make bench-setup`.")
    folder = place.folder / contestant.key
    folder.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        environment = await _environment_of(contestant, place, folder, stack)
        log = folder / "log"
        program = Program(await _start(contestant, contestant.program, environment, log, is_program=True), log)
        stack.push_async_callback(program.stop)
        described = await program.ask(do="setup")
        marks = MarkFile(Path(environment["BENCH_MARKS"]))
        stack.callback(marks.close)
        arguments = contestant.worker or described["worker"]
        processes = []
        for _ in range(contestant.workers):
            process = await _start(contestant, arguments, environment, log, is_program=False)
            stack.push_async_callback(end_process, process)
            processes.append(process)
        running = Running(contestant, program, processes, marks, environment["BENCH_DATABASE_URL"])
        running.version = described["version"]
        if contestant.has_worker:
            await _wait_until_ready(running, work, log)
        await running.freeze()
        yield running


async def _wait_until_ready(running: Running, work: str, log: Path) -> None:
    try:
        await running.wait_until_ready(work)
    except ContestantError as error:
        raise ContestantError(f"{error} Its log ends with\n{tail_of(log)}") from error


def tail_of(log: Path) -> str:
    """Return the end of a log file."""
    return log.read_text(errors="replace")[-LOG_SHOWN:]


async def end_process(process: asyncio.subprocess.Process) -> None:
    """End a process that may be frozen, with all below it: in good order, or by force when that takes too long."""
    pids = tree_of(process.pid)
    thaw(pids)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()


async def _environment_of(contestant: Contestant, place: Place, folder: Path, stack: AsyncExitStack) -> dict[str, str]:
    """Return the variables of its processes, with what they name made."""
    redis = PrivateRedis()
    await asyncio.to_thread(redis.start)
    stack.callback(redis.stop)
    url = ""
    if contestant.database is not None:
        url = await stack.enter_async_context(private_database(contestant.database, place.postgres_url, folder))
    ours = bench_environment(url, place.folder) if contestant.module == CALLBOARD_POSTGRESQL.module else {}
    return {
        **os.environ,
        **ours,
        "PYTHONPATH": str(PROTOCOL),
        "BENCH_DATABASE_URL": url,
        "BENCH_REDIS_URL": redis.url,
        "BENCH_PROVIDER_URL": place.provider_url,
        "BENCH_FOLDER": str(folder),
        "BENCH_MARKS": str(folder / "marks"),
        "BROKER_URL": redis.url,
        "OPENAI_COMPATIBLE_BASE_URL": f"{place.provider_url}/v1",
        **contestant.environment,
    }


async def _start(
    contestant: Contestant, arguments: Sequence[str], environment: Mapping[str, str], log: Path, *, is_program: bool
) -> asyncio.subprocess.Process:
    with log.open("ab") as file:
        return await asyncio.create_subprocess_exec(
            *(str(contestant.python), *arguments),
            cwd=contestant.folder,
            env=environment,
            stdin=asyncio.subprocess.PIPE if is_program else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if is_program else file,
            stderr=file,
        )
