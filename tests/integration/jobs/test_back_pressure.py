"""A database that is slower than the work: what waits to be written stays bounded, and nothing of it is lost.

Another session holds a lock on a table, so that whoever writes there waits, as with a server that hangs.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from callboard.core.batch_writer import MAX_BYTES, MAX_ROWS, MAX_WAITING_FLUSHES
from callboard.core.database import Database
from callboard.core.telemetry import Telemetry
from callboard.jobs.budgets import BudgetDesk
from callboard.jobs.checkpoints import Journal, RunCheckpointer
from callboard.jobs.leases import WorkerLease
from callboard.jobs.models import Job, JobOutput
from callboard.jobs.parking import WaitDesk
from callboard.jobs.spending_limits import DefaultLimits, SpendingLimits
from callboard.jobs.status import JobStatus
from tests.fixtures.job_rows import claimed_job
from tests.fixtures.server import Server, eventually, running_app, say, workflow

TEXT = "x" * 30_000
TIMES = 20
OUTPUT_BYTES = len(TEXT) * TIMES + len('""')
BOUND_BYTES = MAX_BYTES * MAX_WAITING_FLUSHES
IN_FLIGHT = BOUND_BYTES // OUTPUT_BYTES + 20  # enough to have the journal full
COME_LATER = 150
HELD_SECONDS = 1.5  # in which they would be claimed if nothing stopped it


@asynccontextmanager
async def locked(postgres_url: str, table: str) -> AsyncIterator[None]:
    """Let nobody write to `table` within the block. It can be read."""
    database = Database(postgres_url)
    async with database.transaction() as connection:
        await connection.execute(sa.text(f"LOCK TABLE callboard.{table} IN EXCLUSIVE MODE"))
        yield
    await database.close()


@pytest.fixture
async def server(postgres_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with running_app(postgres_url, tmp_path, poll_seconds=0.1) as server:
        server.files.write(workflow("bulky", [say("first", "${input.text}" * TIMES), say("last", "seen")]))
        server.files.write(workflow("echo", [say("show", "seen")]))
        yield server


class TestAHangingJournal:
    async def test_stops_claims_so_that_no_more_waits_than_was_in_flight(
        self, server: Server, postgres_url: str
    ) -> None:
        journal = server.services.journal
        async with locked(postgres_url, "llm_job_steps"):
            first = await submit_many(server, IN_FLIGHT)
            await until(lambda: journal.is_behind)
            later = await submit_many(server, COME_LATER)
            await asyncio.sleep(HELD_SECONDS)
            waiting_bytes, queued = journal.waiting[1], await count_queued(server)
        jobs = await asyncio.gather(*(server.ended(job_id) for job_id in [*first, *later]))

        assert BOUND_BYTES < waiting_bytes <= IN_FLIGHT * OUTPUT_BYTES
        assert queued >= COME_LATER
        assert {job["status"] for job in jobs} == {"completed"}
        async with server.services.database.reads() as session:
            stored = await session.scalar(sa.select(sa.func.count()).select_from(JobOutput))
        assert stored == IN_FLIGHT + COME_LATER
        assert journal.waiting == (0, 0)

    async def test_drops_events_that_nobody_waits_for_and_counts_them(self, postgres_url: str) -> None:
        database, telemetry = Database(postgres_url), Telemetry()
        lease = WorkerLease(database, lease_seconds=60, slots=1)
        journal = Journal(database, max_output_bytes=1024, telemetry=telemetry, lease=lease)
        run = RunCheckpointer(
            await claimed_job(database),
            journal,
            desk=WaitDesk(database, telemetry=telemetry, lease=lease),
            budgets=BudgetDesk(
                database, limits=SpendingLimits(database, DefaultLimits()), telemetry=telemetry, lease=lease
            ),
            recorded={},
            tries={},
            may_go_on=lambda: True,
            telemetry=telemetry,
        )
        most_rows, more = MAX_ROWS * MAX_WAITING_FLUSHES + 1, 50

        async with locked(postgres_url, "job_events"):
            for number in range(most_rows + more):
                run.note_retrying("a", attempt=number, delay_seconds=1, error={"message": "m"})
            begins = asyncio.create_task(run.may_begin())
            await asyncio.sleep(0.1)
            rows, _ = journal.waiting
            has_begun = begins.done()
        await begins
        await journal.close()
        await database.close()

        assert (rows, has_begun) == (most_rows, False)
        assert f"callboard_events_dropped_total {more}.0" in telemetry.render(None).decode()


class TestAHangingQueue:
    async def test_refuses_submits_beyond_the_bound_and_takes_them_when_it_is_back(
        self, server: Server, postgres_url: str
    ) -> None:
        large = {"text": "x" * 1_000_000}
        async with locked(postgres_url, "job_events"):
            taken = [asyncio.create_task(server.post_job("echo", large)) for _ in range(BOUND_BYTES // 1_000_000 + 1)]
            await until(lambda: waiting_submit_bytes(server) > BOUND_BYTES)
            refused = await server.post_job("echo", large, idempotency_key="k")

        accepted = await asyncio.gather(*taken)
        again = await server.post_job("echo", large, idempotency_key="k")

        assert (refused.status_code, refused.json()["error"]) == (503, "database_unavailable")
        assert int(refused.headers["retry-after"]) > 0
        assert {response.status_code for response in [*accepted, again]} == {202}


async def submit_many(server: Server, count: int) -> list[str]:
    return list(await asyncio.gather(*(server.submit("bulky", {"text": TEXT}) for _ in range(count))))


async def count_queued(server: Server) -> int:
    async with server.services.database.reads() as session:
        query = sa.select(sa.func.count()).select_from(Job).where(Job.status == JobStatus.QUEUED)
        return int(await session.scalar(query) or 0)


async def until(is_so: Callable[[], bool]) -> None:
    """Return when `is_so`."""

    async def look() -> bool:
        return is_so()

    await eventually(look, until=bool)


def waiting_submit_bytes(server: Server) -> float:
    """Return how many bytes of submits wait to be written, as the metrics show it."""
    text = server.services.telemetry.render(None).decode()
    return float(text.split('callboard_checkpoint_waiting_bytes{writer="submits"} ')[1].split()[0])
