"""A Celery worker with 200 calls in flight: Callboard's runs on it, and bare calls in its own threads pool. Table 8."""

from contextlib import AsyncExitStack
from dataclasses import replace

from bench import contestants as known
from bench.contestants import Running
from bench.measuring import Plan, interleave, open_all
from bench.protocol import bench_protocol as protocol
from bench.provider import started_provider
from bench.results import Demand, Table

THREADS = "200"
CALL_SECONDS = 1.0
CALLS, QUICK_CALLS = 1000, 400
RATE, CPU = "calls/s", "worker CPU s per 1,000 calls"
BARE = known.CELERY.with_environment("celery_calls", "Celery's threads pool, bare calls", BENCH_THREADS=THREADS)
OURS = replace(
    known.CALLBOARD_POSTGRESQL.with_environment(
        "callboard_celery", "Callboard on Celery, PostgreSQL", QUEUE_BACKEND="celery", MAX_RUNNING_JOBS=THREADS
    ),
    worker=(
        *("-m", "celery", "-A", "callboard.worker:celery_app", "worker", "--pool=threads", "-c", THREADS),
        "--loglevel=WARNING",
    ),
)


async def measure(plan: Plan) -> Table:
    """Return the table; a Callboard without the Celery queue is left out with what it said."""
    table = Table(
        key="09_celery_pool",
        title="Celery worker, 200 in flight",
        about=(
            "Calls of 1.0 s, drained by one Celery worker with 200 threads, on Redis: as Callboard's runs of one `llm` "
            "step each, and as tasks that make the bare call with http.client."
        ),
    )
    async with started_provider(CALL_SECONDS) as provider, AsyncExitStack() as stack:
        here = replace(plan, place=replace(plan.place, provider_url=provider.url))

        async def sample(one: Running) -> None:
            drain = await one.drain(protocol.ONE_CALL, plan.size(CALLS, QUICK_CALLS))
            table.add(one.contestant.label, RATE, drain.rate)
            table.add(one.contestant.label, CPU, drain.cpu_seconds_per_1000)

        running = await open_all(stack, here, table, (OURS, BARE), work=protocol.ONE_CALL)
        await interleave(here, table, running, sample)
    table.demands = [
        Demand(label="calls/s / bare calls", ours=OURS.label, other=BARE.label, figure=RATE, asked=0.8, aim=None)
    ]
    return table
