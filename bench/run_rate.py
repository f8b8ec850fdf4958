"""How many runs of three durable no-op steps one process does in a second, on SQLite and on PostgreSQL.

    python -m bench.run_rate
    python -m bench.run_rate --runs 500 --rounds 5 --json

Jobs are submitted while nothing runs them, then a worker drains them: two figures. Each sample has a new
database, and beside it what that database does at that moment without Callboard. `README.md` says what the
figures mean.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bench.databases import POSTGRESQL, BareDatabase, bare, postgres_version, private_database
from bench.figures import Spread, describe_machine, print_machine, print_table
from bench.options import add_common_options, databases_of
from bench.product import (
    CALLER,
    STEPS_PER_RUN,
    THREE_NOOPS,
    bench_settings,
    bench_steps,
    write_workflows,
)
from callboard.core.event_loop import run_on_fast_loop
from callboard.core.logging import configure_logging
from callboard.jobs.schemas import JobCreate
from callboard.wiring import Services, build_services, working

SUBMITS_IN_FLIGHT = 200
WARM_UP_RUNS = 50
LOOK_SECONDS = 0.01
DRAIN_LIMIT_SECONDS = 120.0
FLOOR_COMMITS, FLOOR_COMMIT_SECONDS = 300, 2.0
ROWS_OF_A_DRAIN = ("llm_job_steps", "job_events", "outbox")
FLUSH_ROWS = "callboard_checkpoint_flush_rows"


class IncompleteDrainError(Exception):
    """Not every job ended well, so that the figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One round on one database. Rates are runs a second; CPU is of our process, seconds per 1,000 runs."""

    submit_rate: float
    drain_rate: float
    submit_cpu: float
    drain_cpu: float
    rows_per_run: float
    rows_per_journal_flush: float
    rows_per_finish_flush: float
    rows_per_submit_flush: float
    floor_batched_rate: float
    floor_commit_rate: float
    bare_commits_per_second: float
    drain_of_batched_floor: float
    drain_of_commit_floor: float


@dataclass(frozen=True, slots=True)
class Timed:
    """How long something took: wall time and the CPU time of this process with all its threads."""

    seconds: float
    cpu_seconds: float


def main() -> None:
    """Measure as the command line says, and print."""
    parser = argparse.ArgumentParser(description="Runs of three durable no-op steps a second.")
    add_common_options(parser)
    parser.add_argument("--runs", type=int, default=1000, help="runs in a sample (default: 1000)")
    given = parser.parse_args()
    report = run_on_fast_loop(_measure(given))
    if given.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)


async def _measure(given: argparse.Namespace) -> dict[str, Any]:
    kinds = await databases_of(given)
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="callboard-bench-") as name:
        folder = Path(name)
        write_workflows(folder)
        machine = describe_machine(folder)
        if POSTGRESQL in kinds:
            machine["postgresql"] = await postgres_version(given.postgres)
        with (folder / "log").open("w") as log, contextlib.redirect_stderr(log):
            configure_logging("INFO", json=True)
            samples = await _sample_rounds(given, kinds, folder)
    return {
        "bench": "run_rate",
        "machine": machine,
        "runs": given.runs,
        "rounds": len(samples[kinds[0]]),
        "databases": {kind: _spreads(samples[kind]) for kind in kinds},
        "samples": {kind: [asdict(sample) for sample in samples[kind]] for kind in kinds},
    }


async def _sample_rounds(given: argparse.Namespace, kinds: Sequence[str], folder: Path) -> dict[str, list[Sample]]:
    """Return the samples of each database, taken in turn until the rounds or the time are used up."""
    for kind in kinds:
        await _sample(kind, given.postgres, folder, WARM_UP_RUNS)
    samples: dict[str, list[Sample]] = {kind: [] for kind in kinds}
    started = time.perf_counter()
    for number in range(given.rounds):
        if number > 0 and time.perf_counter() - started > given.limit_seconds:
            break
        for kind in kinds:
            samples[kind].append(await _sample(kind, given.postgres, folder, given.runs))
            print(f"round {number + 1} {kind}: {samples[kind][-1].drain_rate:,.0f} runs/s", file=sys.__stderr__)
    return samples


async def _sample(kind: str, postgres_url: str, folder: Path, runs: int) -> Sample:
    async with private_database(kind, postgres_url, folder) as url:
        async with build_services(bench_settings(url, folder), extra_steps=bench_steps()) as services:
            submitted = await _submit(services, runs)
            drained = await _drain(services, runs)
            telemetry = services.telemetry.registry
            flushed = {
                writer: (telemetry.get_sample_value(f"{FLUSH_ROWS}_sum", {"writer": writer}) or 0.0)
                / (telemetry.get_sample_value(f"{FLUSH_ROWS}_count", {"writer": writer}) or 1.0)
                for writer in ("submits", "journal", "finishes")
            }
        async with bare(url) as database:
            rows = await _count_rows(database, runs)
            floor = await database.measure_floor(rows, max_commits=FLOOR_COMMITS, max_seconds=FLOOR_COMMIT_SECONDS)
    drain_rate = runs / drained.seconds
    batched_rate = floor.batched_rows_per_second / (rows / runs)
    commit_rate = floor.commits_per_second / STEPS_PER_RUN
    return Sample(
        submit_rate=runs / submitted.seconds,
        drain_rate=drain_rate,
        submit_cpu=submitted.cpu_seconds / runs * 1000,
        drain_cpu=drained.cpu_seconds / runs * 1000,
        rows_per_run=rows / runs,
        rows_per_journal_flush=flushed["journal"],
        rows_per_finish_flush=flushed["finishes"],
        rows_per_submit_flush=flushed["submits"],
        floor_batched_rate=batched_rate,
        floor_commit_rate=commit_rate,
        bare_commits_per_second=floor.commits_per_second,
        drain_of_batched_floor=drain_rate / batched_rate,
        drain_of_commit_floor=drain_rate / commit_rate,
    )


async def _submit(services: Services, runs: int) -> Timed:
    """Submit `runs` jobs, as an API process with as many requests in flight would."""
    room = asyncio.Semaphore(SUBMITS_IN_FLIGHT)

    async def submit() -> None:
        async with room:
            request = JobCreate(workflow_name=THREE_NOOPS, input_data={})
            await services.jobs.submit(CALLER, request, idempotency_key=None)

    async with _clock() as clock:
        await asyncio.gather(*(submit() for _ in range(runs)))
    return clock.read()


async def _drain(services: Services, runs: int) -> Timed:
    """Run everything that was submitted; the time ends when the last end is durable."""
    registry = services.telemetry.registry
    async with _clock() as clock, working(services):
        deadline = time.perf_counter() + DRAIN_LIMIT_SECONDS
        while (registry.get_sample_value(f"{FLUSH_ROWS}_sum", {"writer": "finishes"}) or 0) < runs:
            if time.perf_counter() > deadline:
                raise IncompleteDrainError(f"The jobs have not ended in {DRAIN_LIMIT_SECONDS:.0f} s.")
            await asyncio.sleep(LOOK_SECONDS)
        clock.stop()
    return clock.read()


async def _count_rows(database: BareDatabase, runs: int) -> int:
    """Return how many rows the drain has inserted. Raises: IncompleteDrainError."""
    ended = await database.count("llm_workflow_jobs", "status = 'completed'")
    steps = await database.count("llm_job_steps", "status = 'succeeded'")
    if (ended, steps) != (runs, runs * STEPS_PER_RUN):
        raise IncompleteDrainError(f"Of {runs} jobs {ended} are completed, with {steps} journaled steps.")
    queued = await database.count("job_events", "event = 'job.queued'")  # these belong to the submit
    return sum([await database.count(table) for table in ROWS_OF_A_DRAIN]) - queued


class _Clock:
    def __init__(self) -> None:
        self._start = self._now()
        self._end: tuple[float, float] | None = None

    def stop(self) -> None:
        if self._end is None:
            self._end = self._now()

    def read(self) -> Timed:
        self.stop()
        assert self._end is not None
        return Timed(self._end[0] - self._start[0], self._end[1] - self._start[1])

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()


@asynccontextmanager
async def _clock() -> AsyncIterator[_Clock]:
    """Give a clock that runs from here to the end of the block, or to its `stop`. Old garbage is not ours to pay."""
    gc.collect()
    clock = _Clock()
    yield clock
    clock.stop()


def _spreads(samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        field.name: asdict(Spread.of([getattr(sample, field.name) for sample in samples])) for field in fields(Sample)
    }


_ROWS = (
    ("submit, runs/s", "submit_rate"),
    ("submit, CPU s per 1,000 runs", "submit_cpu"),
    ("drain, runs/s", "drain_rate"),
    ("drain, CPU s per 1,000 runs", "drain_cpu"),
    ("rows inserted per run by the drain", "rows_per_run"),
    ("rows per submit flush", "rows_per_submit_flush"),
    ("rows per journal flush", "rows_per_journal_flush"),
    ("rows per finish flush", "rows_per_finish_flush"),
    ("floor: the same rows, batches of 500, runs/s", "floor_batched_rate"),
    ("floor: a commit per checkpoint, runs/s", "floor_commit_rate"),
    ("bare single-row commits/s", "bare_commits_per_second"),
    ("drain / batched floor", "drain_of_batched_floor"),
    ("drain / a commit per checkpoint", "drain_of_commit_floor"),
)


def _print(report: dict[str, Any]) -> None:
    kinds = list(report["databases"])
    print_machine(report["machine"])
    print(f"{report['rounds']} interleaved rounds of {report['runs']:,} runs; median (lowest-highest)\n")
    rows = [[label, *(Spread(**report["databases"][kind][name]).shown() for kind in kinds)] for label, name in _ROWS]
    print_table(["", *kinds], rows)


if __name__ == "__main__":
    main()
