"""Three durable no-op steps: runs/s, the worker's CPU, and what group commit is worth. Tables 1, 2 and 3."""

from contextlib import AsyncExitStack

from bench import contestants as known
from bench.contestants import Contestant, Running
from bench.measuring import Plan, interleave, open_all
from bench.protocol import bench_protocol as protocol
from bench.results import Bound, Demand, Table

RATE, CPU = "runs/s", "worker CPU s per 1,000 runs"
RUNS, QUICK_RUNS = 2000, 400
MIN_RUNS = 30
SINGLE = known.CALLBOARD_POSTGRESQL.with_environment(
    "callboard_single_commits", "Callboard, PostgreSQL, one commit per checkpoint, 20 at once", BENCH_COMMITS="single"
)
SERIAL = known.CALLBOARD_POSTGRESQL.with_environment(
    "callboard_serial_commits",
    "Callboard, PostgreSQL, one commit per checkpoint, one after the other",
    BENCH_COMMITS="serial",
)
POSTGRESQL_ONES = (
    known.CALLBOARD_POSTGRESQL,
    known.FLOOR_POSTGRESQL,
    known.CELERY,
    known.DBOS_POSTGRESQL,
    known.LANGGRAPH_POSTGRESQL,
    known.PGQUEUER,
    known.ARQ,
    known.TASKIQ,
)
SQLITE_ONES = (known.CALLBOARD_SQLITE, known.FLOOR_SQLITE, known.LANGGRAPH_SQLITE, known.DBOS_SQLITE)
_ABOUT = (
    "One worker process drains runs that were submitted while it was frozen; the time ends with the last run. "
    "Callboard's and the prototype's runs end when their last row is durable, the others' when their last step returns."
)


async def measure_postgresql(plan: Plan) -> Table:
    """Return tables 1 and 2 on PostgreSQL, beside the queues on Redis."""
    ours = known.CALLBOARD_POSTGRESQL.label
    table = Table(key="01_steps_postgresql", title="Three durable no-op steps, PostgreSQL", about=_ABOUT)
    await _measure(plan, table, POSTGRESQL_ONES)
    wanted = (
        (known.FLOOR_POSTGRESQL, 0.2, None),
        (known.CELERY, 10.0, 20.0),
        (known.DBOS_POSTGRESQL, 25.0, 60.0),
        (known.LANGGRAPH_POSTGRESQL, 12.0, 30.0),
        (known.PGQUEUER, None, 8.0),
        (known.ARQ, None, None),
        (known.TASKIQ, None, None),
    )
    table.demands = [_rate(ours, other, asked, aim) for other, asked, aim in wanted]
    table.demands.append(
        Demand(
            label=f"worker CPU per run / {known.CELERY.label}",
            ours=ours,
            other=known.CELERY.label,
            figure=CPU,
            bound=Bound.AT_MOST,
            asked=1 / 8,
            aim=1 / 20,
        )
    )
    return table


async def measure_sqlite(plan: Plan) -> Table:
    """Return table 1 on SQLite with synchronous=FULL; peers keep the settings of their own savers."""
    table = Table(key="02_steps_sqlite", title="Three durable no-op steps, SQLite", about=_ABOUT)
    await _measure(plan, table, SQLITE_ONES)
    wanted = (
        (known.FLOOR_SQLITE, 0.2, None),
        (known.LANGGRAPH_SQLITE, 12.0, 30.0),
        (known.DBOS_SQLITE, None, None),
    )
    table.demands = [_rate(known.CALLBOARD_SQLITE.label, other, asked, aim) for other, asked, aim in wanted]
    return table


async def measure_group_commit(plan: Plan) -> Table:
    """Return table 3: Callboard's own code, with a batch limit of one."""
    table = Table(
        key="03_group_commit",
        title="Group commit",
        about=_ABOUT
        + " The same code with batches of at most one row: on 20 connections at once, or one after the other.",
    )
    await _measure(plan, table, (known.CALLBOARD_POSTGRESQL, SINGLE, SERIAL))
    ours = known.CALLBOARD_POSTGRESQL.label
    table.demands = [_rate(ours, SINGLE, 5.0, 10.0), _rate(ours, SERIAL, None, None)]
    return table


async def _measure(plan: Plan, table: Table, ones: tuple[Contestant, ...]) -> None:
    async def sample(one: Running) -> None:
        runs = max(MIN_RUNS, int(plan.size(RUNS, QUICK_RUNS) * one.contestant.share))
        drain = await one.drain(protocol.THREE_NOOPS, runs)
        table.add(one.contestant.label, RATE, drain.rate)
        table.add(one.contestant.label, CPU, drain.cpu_seconds_per_1000)

    async with AsyncExitStack() as stack:
        await interleave(plan, table, await open_all(stack, plan, table, ones), sample)


def _rate(ours: str, other: Contestant, asked: float | None, aim: float | None) -> Demand:
    return Demand(label=f"runs/s / {other.label}", ours=ours, other=other.label, figure=RATE, asked=asked, aim=aim)
