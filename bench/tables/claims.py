"""What a claim costs with more and more finished jobs in the table, on PostgreSQL. Table 9."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import sqlalchemy as sa

from bench.databases import POSTGRESQL, SCHEMA, private_database
from bench.measuring import Plan
from bench.product import CALLER, THREE_NOOPS, bench_settings, bench_steps
from bench.results import Bound, Demand, Table
from callboard.jobs.repository.claims import claim_jobs
from callboard.jobs.schemas import JobCreate
from callboard.wiring import Services, build_services

FINISHED, QUICK_FINISHED = (10, 10_000, 1_000_000), (10, 10_000, 100_000)
QUEUED, CLAIMED = 1000, 100
CLAIM = f"claim of {CLAIMED}, ms"
JOBS = f"{SCHEMA}.llm_workflow_jobs"
BUILD_SECONDS = 300.0
# As UUIDv7 would be, the ids of finished jobs are older than those of queued ones.
COPIED = {
    "id": "(lpad(to_hex(number), 8, '0') || '-0000-7000-8000-000000000000')::uuid",
    "celery_task_id": "'finished-' || number",
    "status": "'completed'",
    "completed_at": "queued_at",
}


@dataclass(frozen=True, slots=True)
class Filled:
    """A database with so many finished jobs and 1,000 queued ones."""

    finished: int
    services: Services
    connection: Any

    @property
    def label(self) -> str:
        return f"Callboard, {self.finished:,} finished jobs"


async def measure(plan: Plan) -> Table:
    """Return the table, with what PostgreSQL says of the statements of a claim in the largest and smallest database."""
    table = Table(
        key="10_claims",
        title="Claim beside finished jobs",
        about=(
            f"`claim_jobs` of {CLAIMED} of {QUEUED:,} queued jobs, its commit included, until all are claimed; the "
            "median of a round. Each database has as many finished jobs as its name says."
        ),
    )
    if not plan.has_postgresql:
        table.notes.append("SKIPPED: no PostgreSQL.")
        return table
    async with AsyncExitStack() as stack:
        sizes = QUICK_FINISHED if plan.is_quick else FINISHED
        databases = [await stack.enter_async_context(_filled(plan, finished)) for finished in sizes]
        for _ in range(plan.rounds):
            for database in databases:
                table.add(database.label, CLAIM, await _time_claims(database))
        for database in (databases[0], databases[-1]):
            table.blocks += await _explain(database)
    table.rounds = plan.rounds
    table.demands = [
        Demand(
            label=f"{database.finished:,} finished jobs / {databases[0].finished:,}",
            ours=database.label,
            other=databases[0].label,
            figure=CLAIM,
            bound=Bound.AT_MOST,
            asked=1.5,
        )
        for database in databases[1:]
    ]
    return table


@asynccontextmanager
async def _filled(plan: Plan, finished: int) -> AsyncIterator[Filled]:
    async with private_database(POSTGRESQL, plan.place.postgres_url, plan.place.folder) as url:
        settings = bench_settings(url, plan.place.folder)
        async with build_services(settings, extra_steps=bench_steps()) as services:
            connection = await asyncpg.connect(url, command_timeout=BUILD_SECONDS)
            try:
                await _submit(services, 1)
                await _copy_as_finished(connection, finished)
                await _submit(services, QUEUED)
                await connection.execute(f"VACUUM ANALYZE {JOBS}")
                await services.lease.register()
                yield Filled(finished, services, connection)
                await services.lease.stop()
            finally:
                await connection.close()


async def _submit(services: Services, count: int) -> None:
    request = JobCreate(workflow_name=THREE_NOOPS, input_data={})
    await asyncio.gather(*(services.jobs.submit(CALLER, request, idempotency_key=None) for _ in range(count)))


async def _copy_as_finished(connection: Any, count: int) -> None:
    """Make `count` finished jobs of the one that was submitted, which becomes the first of them."""
    columns = [
        row["column_name"]
        for row in await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2",
            *JOBS.split("."),
        )
    ]
    values = ", ".join(COPIED.get(name, f'"{name}"') for name in columns)
    names = ", ".join(f'"{name}"' for name in columns)
    await connection.execute(
        f"INSERT INTO {JOBS} ({names}) SELECT {values} FROM {JOBS}, generate_series(1, {count - 1}) number"
    )
    await connection.execute(
        f"UPDATE {JOBS} SET status = 'completed', completed_at = queued_at WHERE status = 'queued'"
    )


async def _time_claims(database: Filled) -> float:
    """Return the median of ten claims, in ms, and queue the jobs again."""
    times = []
    for _ in range(QUEUED // CLAIMED):
        started = time.perf_counter()
        jobs = await claim_jobs(database.services.database, database.services.lease.worker_id, CLAIMED)
        times.append((time.perf_counter() - started) * 1000)
        assert len(jobs) == CLAIMED, len(jobs)
    await _queue_again(database)
    return statistics.median(times)


async def _queue_again(database: Filled) -> None:
    await database.connection.execute(f"UPDATE {JOBS} SET status = 'queued', owner = NULL WHERE status = 'processing'")


async def _explain(database: Filled) -> list[tuple[str, str]]:
    """Return the plan of each statement of a claim, as PostgreSQL ran it, with its buffers."""
    with _recorded_statements() as statements:
        await claim_jobs(database.services.database, database.services.lease.worker_id, CLAIMED)
    await _queue_again(database)
    blocks = []
    for number, (statement, parameters) in enumerate(statements, start=1):
        transaction = database.connection.transaction()
        await transaction.start()
        try:
            plan = await database.connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", *parameters)
        finally:
            await transaction.rollback()
        verb = " ".join(statement.split()[:2])
        blocks.append((f"{database.finished:,} finished jobs: statement {number} of a claim, {verb}", _text_of(plan)))
    return blocks


@contextmanager
def _recorded_statements() -> Iterator[list[tuple[str, Any]]]:
    """Give what is sent to a database meanwhile, with its parameters."""
    statements: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, is_many: bool) -> None:  # noqa: FBT001
        if not is_many:
            statements.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", record)


def _text_of(plan: list[Any]) -> str:
    return "\n".join(row[0] for row in plan)
