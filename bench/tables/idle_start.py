"""How long an idle worker takes to begin a run: from the submit call to the first line of the first step. Table 5."""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import replace

from bench import contestants as known
from bench.contestants import WARM_UP_RUNS, Running
from bench.figures import percentile
from bench.measuring import Plan, interleave, open_all
from bench.protocol import bench_protocol as protocol
from bench.results import Bound, Demand, Table

STARTS, QUICK_STARTS = 60, 20
STARTS_OF_POLLERS, QUICK_STARTS_OF_POLLERS = 10, 4
PAUSE_SECONDS, PAUSE_OF_POLLERS_SECONDS = 0.05, 1.0
MEDIAN, WORST = "p50, ms", "p99, ms"
EMBEDDED = tuple(
    replace(
        one.with_environment(f"{one.key}_embedded", f"{one.label}, worker in the same process", BENCH_EMBEDDED="1"),
        workers=0,
    )
    for one in (known.CALLBOARD_POSTGRESQL, known.CALLBOARD_SQLITE)
)
POLLERS = {known.DBOS_POSTGRESQL.key}


async def measure(plan: Plan) -> Table:
    """Return the table; each start finds the worker idle, after a random pause."""
    table = Table(
        key="06_idle_start",
        title="Idle start",
        about=(
            "From just before the submit call (Callboard: `JobService.submit`; Celery: `apply_async` of a chain; DBOS: "
            "`enqueue`) to the first line of the first step, one run at a time, after a random pause. Client and "
            "worker are two processes, but where it says otherwise. DBOS keeps its default polling interval of 1 s."
        ),
    )

    async def sample(one: Running) -> None:
        is_poller = one.contestant.key in POLLERS
        count = plan.size(STARTS_OF_POLLERS, QUICK_STARTS_OF_POLLERS) if is_poller else plan.size(STARTS, QUICK_STARTS)
        one.thaw()
        await one.run(protocol.THREE_NOOPS, WARM_UP_RUNS)
        waits = []
        for _ in range(count):
            await asyncio.sleep(random.uniform(0, PAUSE_OF_POLLERS_SECONDS if is_poller else PAUSE_SECONDS))
            submitted_at = await one.run(protocol.THREE_NOOPS, 1)
            waits.append((one.marks.starts()[-1] - submitted_at) * 1000)
        await one.freeze()
        table.add(one.contestant.label, MEDIAN, percentile(waits, 0.5))
        table.add(one.contestant.label, WORST, percentile(waits, 0.99))

    ones = (known.CALLBOARD_POSTGRESQL, *EMBEDDED, known.CELERY, known.DBOS_POSTGRESQL)
    async with AsyncExitStack() as stack:
        await interleave(plan, table, await open_all(stack, plan, table, ones), sample)
    ours = known.CALLBOARD_POSTGRESQL.label
    table.demands = [
        _demand(ours, known.CELERY.label, 1.5, 1.0),
        *(_demand(one.label, known.CELERY.label, 1.5, 1.0) for one in EMBEDDED),
        _demand(ours, known.DBOS_POSTGRESQL.label, None, 1 / 200),
    ]
    return table


def _demand(ours: str, other: str, asked: float | None, aim: float) -> Demand:
    return Demand(
        label=f"p50, {ours} / {other}",
        ours=ours,
        other=other,
        figure=MEDIAN,
        bound=Bound.AT_MOST,
        asked=asked,
        aim=aim,
    )
