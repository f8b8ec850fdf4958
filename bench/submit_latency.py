"""How long a submit takes while 500 jobs run, over HTTP and in the service layer, on SQLite and PostgreSQL.

    python -m bench.submit_latency
    python -m bench.submit_latency --running 500 --clients 1,50 --json

Each database has a server process of its own for the whole bench; samples are taken in turn. Beside the
submits stands, from the same moment, the same route with nothing stored, and a bare commit. `README.md` says
what the figures mean.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.databases import POSTGRESQL, bare, postgres_version, private_database
from bench.figures import Spread, describe_machine, percentile, print_machine, print_table
from bench.options import add_common_options, databases_of
from bench.product import API_KEY, HOLD, HOLD_LIMIT_SECONDS, bench_environment, write_workflows

SUBMIT_PATH, FLOOR_PATH = "/api/v1/workflow", "/bench/validate"
HOLD_SECONDS = 1.0  # how long the jobs run that are submitted while the clock runs
START_SECONDS, STOP_SECONDS, SETTLE_SECONDS = 60.0, 30.0, 60.0
LOOK_SECONDS = 0.05
FILL_CLIENTS = 10
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
FLOOR_COMMITS, FLOOR_COMMIT_SECONDS = 200, 1.0


class ServerError(Exception):
    """The server under measurement did not do what it was asked for."""


@dataclass(frozen=True, slots=True)
class Target:
    """One database's server, and how to reach both."""

    kind: str
    database_url: str
    base_url: str
    http: aiohttp.ClientSession


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One series of calls: percentiles in milliseconds, and how many were answered a second."""

    p50: float
    p95: float
    p99: float
    per_second: float

    @classmethod
    def of(cls, seconds: Sequence[float], wall_seconds: float) -> "Sample":
        parts = {name: percentile(seconds, share) * 1000 for name, share in SHARES.items()}
        return cls(**parts, per_second=len(seconds) / wall_seconds)


def main() -> None:
    """Measure as the command line says, and print."""
    parser = argparse.ArgumentParser(description="Submit latency with many jobs running.")
    add_common_options(parser)
    parser.add_argument("--running", type=int, default=500, help="jobs held in a step meanwhile (default: 500)")
    parser.add_argument("--calls", type=int, default=300, help="calls in a series (default: 300)")
    parser.add_argument("--clients", default="1,50", help="how many call at once, each a series (default: 1,50)")
    given = parser.parse_args()
    report = asyncio.run(_measure(given))
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
        async with AsyncExitStack() as stack:
            targets = [await stack.enter_async_context(started_target(kind, given.postgres, folder)) for kind in kinds]
            for target in targets:
                await _fill(target, given.running)
            samples = await _sample_rounds(given, targets)
    series = {name: {key: _spreads(taken) for key, taken in by_key.items()} for name, by_key in samples.items()}
    return {
        "bench": "submit_latency",
        "machine": machine,
        "running": given.running,
        "calls": given.calls,
        "rounds": len(next(iter(samples[kinds[0]].values()))),
        "databases": series,
        "samples": {
            name: {key: [asdict(sample) for sample in taken] for key, taken in by_key.items()}
            for name, by_key in samples.items()
        },
    }


@asynccontextmanager
async def started_target(
    kind: str, postgres_url: str, folder: Path, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Target]:
    """Give a server on a new database, with these settings besides; both are gone afterwards."""
    log_path = folder / f"{kind}.log"
    async with private_database(kind, postgres_url, folder) as url:
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.server"),
                env=os.environ | bench_environment(url, folder) | dict(settings or {}),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        try:
            base_url = await _address_of(process, log_path)
            connector = aiohttp.TCPConnector(limit=0)
            headers = {"X-API-Key": API_KEY}
            timeout = aiohttp.ClientTimeout(total=SETTLE_SECONDS)
            async with aiohttp.ClientSession(base_url, connector=connector, headers=headers, timeout=timeout) as http:
                yield Target(kind, url, base_url, http)
        finally:
            await _stop(process)


async def _address_of(process: asyncio.subprocess.Process, log_path: Path) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS):
        line = await process.stdout.readline()
    if not line:
        text = await asyncio.to_thread(log_path.read_text)
        raise ServerError(f"The server did not start. Its log ends with\n{text[-2000:]}")
    return str(json.loads(line)["url"])


async def _stop(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _fill(target: Target, running: int) -> None:
    """Have `running` jobs held in their step for as long as the bench lasts."""
    body = {"workflow_name": HOLD, "input_data": {"seconds": HOLD_LIMIT_SECONDS}}
    await _call_repeatedly(target, SUBMIT_PATH, body, clients=FILL_CLIENTS, calls=running)
    await settle(target, running)


async def _sample_rounds(given: argparse.Namespace, targets: Sequence[Target]) -> dict[str, dict[str, list[Sample]]]:
    """Return the samples by database and series, taken in turn until the rounds or the time are used up."""
    widths = [int(text) for text in given.clients.split(",")]
    samples: dict[str, dict[str, list[Sample]]] = {target.kind: {} for target in targets}
    for target in targets:
        await _sample(target, 1, given.calls // 5, given.running)  # warms both paths up
    started = time.perf_counter()
    for number in range(given.rounds):
        if number > 0 and time.perf_counter() - started > given.limit_seconds:
            break
        for target in targets:
            for clients in widths:
                for name, sample in (await _sample(target, clients, given.calls, given.running)).items():
                    samples[target.kind].setdefault(f"{clients} {name}", []).append(sample)
            commits = await _time_commits(target.database_url)
            samples[target.kind].setdefault("1 bare_commit", []).append(commits)
            print(f"round {number + 1} {target.kind}", file=sys.stderr)
    return samples


async def _sample(target: Target, clients: int, calls: int, running: int) -> dict[str, Sample]:
    """Return one series each: the floor, submits over HTTP, submits in the service layer."""
    body = {"workflow_name": HOLD, "input_data": {"seconds": HOLD_SECONDS}}
    floor = await _call_repeatedly(target, FLOOR_PATH, body, clients=clients, calls=calls)
    over_http = await _call_repeatedly(target, SUBMIT_PATH, body, clients=clients, calls=calls)
    await settle(target, running)
    service = await _time_service(target, clients=clients, calls=calls)
    await settle(target, running)
    return {"http_floor": floor, "http_submit": over_http, "service_submit": service}


async def _call_repeatedly(target: Target, path: str, body: dict[str, Any], *, clients: int, calls: int) -> Sample:
    """Have `clients` send one request after the other, `calls` in all."""
    times: list[float] = []

    async def client(share: int) -> None:
        for _ in range(share):
            started = time.perf_counter()
            await _post(target.http, path, body)
            times.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(client((calls + number) // clients) for number in range(clients)))
    return Sample.of(times, time.perf_counter() - started)


async def _time_service(target: Target, *, clients: int, calls: int) -> Sample:
    query = {"count": str(calls), "clients": str(clients), "hold_seconds": str(HOLD_SECONDS)}
    started = time.perf_counter()
    async with target.http.post("/bench/submits", params=query) as answer:
        times = await answer.json()
    return Sample.of(times, time.perf_counter() - started)


async def _time_commits(database_url: str) -> Sample:
    """Return how long the driver alone takes for one row and its commit, while the server holds its jobs."""
    async with bare(database_url) as database:
        floor = await database.measure_floor(1, max_commits=FLOOR_COMMITS, max_seconds=FLOOR_COMMIT_SECONDS)
    return Sample.of(floor.commit_seconds, sum(floor.commit_seconds))


async def settle(target: Target, running: int) -> None:
    """Return when the server runs exactly the jobs that are held for the whole bench. Raises: ServerError."""
    deadline = time.perf_counter() + SETTLE_SECONDS
    seen = -1
    while time.perf_counter() < deadline:
        async with target.http.get("/bench/running") as answer:
            before, seen = seen, await answer.json()
        if before == seen == running:
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise ServerError(f"{seen} jobs are running instead of {running} after {SETTLE_SECONDS:.0f} s.")


async def _post(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> None:
    async with http.post(path, json=body) as answer:
        text = await answer.text()
    if answer.status != 202:
        raise ServerError(f"POST {path} was answered {answer.status}: {text[:500]}")


def _spreads(samples: Sequence[Sample]) -> dict[str, Any]:
    return {name: asdict(Spread.of([getattr(sample, name) for sample in samples])) for name in Sample.__slots__}


_LABELS = {
    "http_floor": "HTTP, same auth and schema check, nothing stored",
    "http_submit": "HTTP submit",
    "service_submit": "service layer submit",
    "bare_commit": "bare INSERT and commit",
}


def _print(report: dict[str, Any]) -> None:
    print_machine(report["machine"])
    print(
        f"{report['running']} jobs running, {report['rounds']} interleaved rounds of {report['calls']} calls a series; "
        "milliseconds, median over the rounds (lowest-highest)"
    )
    for kind, series in report["databases"].items():
        print(f"\n{kind}")
        rows = []
        for key, spreads in series.items():
            clients, _, name = key.partition(" ")
            cells = [Spread(**spreads[part]).shown() for part in (*SHARES, "per_second")]
            rows.append([f"{_LABELS[name]}, {clients} at once", *cells])
        print_table(["", *SHARES, "calls/s"], rows)
        for clients in sorted({key.partition(" ")[0] for key in series if "http_submit" in key}, key=int):
            print(f"{clients} at once: {_compare(series, clients)}")


def _compare(series: dict[str, Any], clients: str) -> str:
    submit, floor = series[f"{clients} http_submit"], series[f"{clients} http_floor"]
    latency = submit["p50"]["median"] / floor["p50"]["median"]
    rate = submit["per_second"]["median"] / floor["per_second"]["median"]
    return f"a submit takes {latency:.2f} of the floor's p50 and reaches {rate:.2f} of its calls/s"


if __name__ == "__main__":
    main()
