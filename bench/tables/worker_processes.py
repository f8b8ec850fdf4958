"""1, 2 and 4 worker processes on PostgreSQL: runs/s, whose CPU it takes, and where a worker spends it. Table 10."""

from contextlib import AsyncExitStack
from dataclasses import replace
from urllib.parse import urlsplit

from bench import contestants as known
from bench.contestants import Running
from bench.measuring import Plan, interleave, open_all
from bench.processes import backends_of, cpu_seconds
from bench.profiles import profile_drain
from bench.protocol import bench_protocol as protocol
from bench.results import Demand, Table

WORKERS = (1, 2, 4)
RUNS, QUICK_RUNS = 4000, 600
RATE = "runs/s"
WORKER_CPU, SERVER_CPU = "workers' CPU s per 1,000 runs", "PostgreSQL's CPU s per 1,000 runs"
ONES = tuple(
    replace(
        known.CALLBOARD_POSTGRESQL,
        key=f"callboard_{workers}_workers",
        label=f"Callboard, {workers} worker process{'es' if workers > 1 else ''}",
        workers=workers,
    )
    for workers in WORKERS
)


async def measure(plan: Plan) -> Table:
    """Return the table, with a profile of one worker while it drains."""
    table = Table(
        key="11_worker_processes",
        title="1, 2 and 4 worker processes, PostgreSQL",
        about=(
            "Three durable no-op steps. The server's CPU is that of the processes that serve the database (not of its "
            "background writers). The cores are full when both, times the rate, come to their number."
        ),
    )
    runs = plan.size(RUNS, QUICK_RUNS)

    async def sample(one: Running) -> None:
        backends = backends_of(urlsplit(one.database_url).path.strip("/"))
        before = cpu_seconds(backends)
        drain = await one.drain(protocol.THREE_NOOPS, runs)
        label = one.contestant.label
        table.add(label, RATE, drain.rate)
        table.add(label, WORKER_CPU, drain.cpu_seconds_per_1000)
        table.add(label, SERVER_CPU, (cpu_seconds(backends) - before) / runs * 1000)

    async with AsyncExitStack() as stack:
        running = await open_all(stack, plan, table, ONES)
        await interleave(plan, table, running, sample)
        for one in running[:1]:
            table.blocks += await profile_drain(one, runs)
    table.demands = [
        Demand(label=f"runs/s, {other.label} / 1", ours=other.label, other=ONES[0].label, figure=RATE, asked=1.0)
        for other in ONES[1:]
    ]
    return table
