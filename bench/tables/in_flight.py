"""1,000 and 10,000 runs of one HTTP call of 1.0 s in flight: wall time and memory. Table 4."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from bench import contestants as known
from bench.contestants import WARM_UP_RUNS, Contestant, Running
from bench.measuring import Plan, interleave, open_all
from bench.protocol import bench_protocol as protocol
from bench.provider import started_provider
from bench.results import Bound, Demand, Table

CALL_SECONDS = 1.0
CALLS, MANY_CALLS = 1000, 10_000
QUICK_CALLS, QUICK_MANY_CALLS = 200, 2000
WALL, MEMORY, PEAK = "wall s", "memory high water, MB", "peak in flight"
CELERY_THREADS = "200"
PEERS = (
    known.CELERY.with_environment("celery_calls", "Celery, 200 threads", BENCH_THREADS=CELERY_THREADS),
    known.DBOS_POSTGRESQL,
    known.LANGGRAPH_POSTGRESQL,
    known.PGQUEUER,
    known.ARQ,
    known.TASKIQ,
)
_ABOUT = (
    "Runs of one call each, submitted while the worker was frozen; the provider answers every call after 1.0 s and "
    "counts how many are open. Callboard's call is an `llm` step on its default HTTP client, journaled with its usage "
    "row; the others post the same body with aiohttp (Celery: with http.client). "
)


async def measure(plan: Plan) -> Table:
    """Return the table of 1,000 calls, beside the peers; settings are the defaults."""
    table = Table(key="04_in_flight", title="1,000 calls of 1.0 s in flight", about=_ABOUT)
    ones = (known.CALLBOARD_POSTGRESQL, known.CALLBOARD_SQLITE, known.BARE_AIOHTTP, *PEERS)
    await _measure(plan, table, ones, plan.size(CALLS, QUICK_CALLS))
    return table


async def measure_many(plan: Plan) -> Table:
    """Return the table of 10,000 calls, beside bare aiohttp."""
    table = Table(
        key="05_in_flight_10000",
        title="10,000 calls of 1.0 s in flight",
        about=_ABOUT + "MAX_RUNNING_JOBS is 10,000.",
    )
    ours = [
        one.with_environment(one.key, one.label, MAX_RUNNING_JOBS=str(MANY_CALLS))
        for one in (known.CALLBOARD_POSTGRESQL, known.CALLBOARD_SQLITE)
    ]
    await _measure(plan, table, (*ours, known.BARE_AIOHTTP), plan.size(MANY_CALLS, QUICK_MANY_CALLS))
    return table


async def _measure(plan: Plan, table: Table, ones: Sequence[Contestant], calls: int) -> None:
    async with started_provider(CALL_SECONDS) as provider, AsyncExitStack() as stack:
        here = replace(plan, place=replace(plan.place, provider_url=provider.url))

        async def answered() -> None:
            await provider.wait_answered(calls + WARM_UP_RUNS)

        async def sample(one: Running) -> None:
            await provider.reset()
            drain = await one.drain(protocol.ONE_CALL, calls, first=answered)
            table.add(one.contestant.label, WALL, drain.seconds)
            table.add(one.contestant.label, MEMORY, drain.peak_memory_mb)
            table.add(one.contestant.label, PEAK, await provider.peak())

        table.notes.append(f"Calls in a round: {calls:,}.")
        running = await open_all(stack, here, table, ones, work=protocol.ONE_CALL)
        await interleave(here, table, running, sample)
    table.demands = [
        Demand(
            label=f"{figure}, {ours.label} / bare aiohttp",
            ours=ours.label,
            other=known.BARE_AIOHTTP.label,
            figure=figure,
            bound=Bound.AT_MOST,
            asked=asked,
            aim=aim,
        )
        for ours in (known.CALLBOARD_POSTGRESQL, known.CALLBOARD_SQLITE)
        for figure, asked, aim in ((WALL, 1.25, 1.1), (MEMORY, 2.0, 1.5))
    ]
