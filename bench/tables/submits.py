"""POST /workflow: how many a second, and how long one takes while 1,000 jobs run. Tables 6 and 7."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

from bench import contestants as known
from bench.contestants import ContestantError, opened
from bench.databases import POSTGRESQL, SQLITE
from bench.figures import percentile
from bench.http_load import prepare_post, send_at_pace, send_in_turn
from bench.measuring import Plan, summary_of
from bench.product import API_KEY, HOLD
from bench.protocol import bench_protocol as protocol
from bench.results import Bound, Demand, Table
from bench.submit_latency import FLOOR_PATH, SUBMIT_PATH, Target, settle, started_target

CLIENTS, CALLS, QUICK_CALLS = 50, 4000, 600
CELERY_SUBMITS, QUICK_CELERY_SUBMITS = 1000, 200
WARM_UP_CALLS = 200
PER_SECOND, HOLD_SECONDS, PACED_CONNECTIONS = 200, 5.0, 100
RAMP_SECONDS, SECONDS, QUICK_SECONDS = 6.0, 10.0, 4.0
IDLE_CALLS, QUICK_IDLE_CALLS = 300, 100
RATE, MEDIAN, WORST, RUNNING = "requests/s", "p50, ms", "p99, ms", "jobs running at the end"
LABELS = {POSTGRESQL: "PostgreSQL", SQLITE: "SQLite FULL"}


async def measure_rate(plan: Plan) -> Table:
    """Return table 6: 50 clients, with no worker, so that nothing but submits is measured."""
    table = Table(
        key="07_submits",
        title="POST /workflow, 50 clients",
        about=(
            "A server process without a worker; 50 connections send one request after the other. The floor is a route "
            "with the same key check, body schema and input schema, and the same answer, which stores nothing. The "
            "Celery client calls `apply_async` of one task in a loop, with Redis as its broker."
        ),
    )
    celery = replace(known.CELERY, workers=0)
    async with AsyncExitStack() as stack:
        targets = await _start_targets(stack, plan, {"EMBEDDED_WORKER": "false"})
        try:
            client = await stack.enter_async_context(opened(celery, plan.place))
        except ContestantError as error:
            client = None
            table.drop("a Celery client", summary_of(error))
        for target in targets:
            await _rate(target, SUBMIT_PATH, 1.0, WARM_UP_CALLS)
        for _ in range(plan.rounds):
            for target in targets:
                name, calls = LABELS[target.kind], plan.size(CALLS, QUICK_CALLS)
                table.add(f"the same, nothing stored, {name}", RATE, await _rate(target, FLOOR_PATH, 1.0, calls))
                table.add(f"Callboard, {name}", RATE, await _rate(target, SUBMIT_PATH, 1.0, calls))
            if client is not None:
                count = plan.size(CELERY_SUBMITS, QUICK_CELERY_SUBMITS)
                submitted = await client.program.ask(do="submit", work=protocol.ONE_CALL, count=count)
                table.add("a Celery client", RATE, count / submitted["seconds"])
    table.rounds = plan.rounds
    for target in targets:
        name = LABELS[target.kind]
        ours, floor = f"Callboard, {name}", f"the same, nothing stored, {name}"
        table.demands += [
            Demand(label=f"{ours} / nothing stored", ours=ours, other=floor, figure=RATE, asked=0.4, aim=0.6),
            Demand(
                label=f"{ours} / Celery client", ours=ours, other="a Celery client", figure=RATE, asked=2.0, aim=4.0
            ),
        ]
    return table


async def measure_under_load(plan: Plan) -> Table:
    """Return table 7: 200 submits a second whose jobs take 5 s each, so that 1,000 run once they come and go."""
    table = Table(
        key="08_submits_under_load",
        title="Submit over HTTP at 200/s while 1,000 jobs run",
        about=(
            "A server process with its worker. Idle: one submit after the other, nothing else runs. Under load: a "
            "submit is due every 5 ms, whatever the answers do, and is timed from when it was due; each job holds for "
            "5 s, so that 1,000 run, 200 start and 200 end in every second. MAX_RUNNING_JOBS is 2,000."
        ),
    )
    async with AsyncExitStack() as stack:
        targets = await _start_targets(stack, plan, {"MAX_RUNNING_JOBS": "2000"})
        for target in targets:
            await _rate(target, SUBMIT_PATH, 0.0, WARM_UP_CALLS)
        for _ in range(plan.rounds):
            for target in targets:
                await _sample_load(plan, table, target)
    table.rounds = plan.rounds
    table.demands = [
        Demand(
            label=f"p99, {LABELS[target.kind]}: under load / idle",
            ours=_loaded(target),
            other=_idle(target),
            figure=WORST,
            bound=Bound.AT_MOST,
            asked=3.0,
        )
        for target in targets
    ]
    return table


async def _sample_load(plan: Plan, table: Table, target: Target) -> None:
    await settle(target, 0)
    calls = plan.size(IDLE_CALLS, QUICK_IDLE_CALLS)
    idle, _ = await send_in_turn(target.base_url, _submit(target, 0.0), clients=1, calls=calls)
    await settle(target, 0)
    seconds = RAMP_SECONDS + plan.size(int(SECONDS), int(QUICK_SECONDS))
    answers = await send_at_pace(
        target.base_url,
        _submit(target, HOLD_SECONDS),
        per_second=PER_SECOND,
        seconds=seconds,
        connections=PACED_CONNECTIONS,
    )
    async with target.http.get("/bench/running") as answer:
        running = await answer.json()
    loaded = [taken for due, taken in answers if due >= RAMP_SECONDS]
    for who, times in ((_idle(target), idle), (_loaded(target), loaded)):
        table.add(who, MEDIAN, percentile(times, 0.5) * 1000)
        table.add(who, WORST, percentile(times, 0.99) * 1000)
    table.add(_loaded(target), RUNNING, running)


async def _start_targets(stack: AsyncExitStack, plan: Plan, settings: dict[str, str]) -> Sequence[Target]:
    kinds = [POSTGRESQL, SQLITE] if plan.has_postgresql else [SQLITE]
    place = plan.place
    return [
        await stack.enter_async_context(started_target(kind, place.postgres_url, place.folder, settings))
        for kind in kinds
    ]


async def _rate(target: Target, path: str, hold_seconds: float, calls: int) -> float:
    _, seconds = await send_in_turn(target.base_url, _submit(target, hold_seconds, path), clients=CLIENTS, calls=calls)
    return calls / seconds


def _submit(target: Target, hold_seconds: float, path: str = SUBMIT_PATH) -> bytes:
    body: dict[str, Any] = {"workflow_name": HOLD, "input_data": {"seconds": hold_seconds}}
    return prepare_post(target.base_url, path, body, {"X-API-Key": API_KEY})


def _idle(target: Target) -> str:
    return f"Callboard, {LABELS[target.kind]}, idle"


def _loaded(target: Target) -> str:
    return f"Callboard, {LABELS[target.kind]}, 200/s and 1,000 jobs running"
