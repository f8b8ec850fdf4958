"""A clean-up that is killed with SIGKILL leaves whole batches done and others not begun; the next one does the rest."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.jobs.housekeeping import BATCH_ROWS
from callboard.jobs.models import Job, JobEvent
from callboard.webhooks.models import OutboxMessage
from tests.fixtures.aged_jobs import aged_jobs, housekeeping_of
from tests.fixtures.job_rows import add_jobs
from tests.fixtures.processes import ROOT, STOP_SECONDS

JOBS = 4 * BATCH_ROWS
PATIENCE_SECONDS = 60
MONTH, STALE = timedelta(days=30), timedelta(hours=72)
PROGRAM = """
import asyncio, sys
from datetime import timedelta
from callboard.core.database import Database
from tests.fixtures.aged_jobs import housekeeping_of

async def clean_up():
    service = housekeeping_of(Database(sys.argv[1]))
    if sys.argv[2] == "retention":
        await service.delete_old(timedelta(days=30))
    else:
        await service.clean_up_stale(timedelta(hours=72))

asyncio.run(clean_up())
"""


class TestKilled:
    async def test_retention_leaves_no_batch_half_deleted(self, database: Database, database_url: str) -> None:
        await add_jobs(database, JOBS, status="completed", completed_at=now() - timedelta(days=31))

        async with killed_in_the_middle(database_url, "retention", lambda: count(database, sa.select(Job.id))):
            jobs = await count(database, sa.select(Job.id))
            events = await count(database, sa.select(JobEvent.job_id))

        assert (events, jobs % BATCH_ROWS) == (jobs, 0)
        assert (await housekeeping_of(database).delete_old(MONTH)).jobs == jobs

    async def test_a_clean_up_of_stale_jobs_leaves_no_end_half_written(
        self, database: Database, database_url: str
    ) -> None:
        await aged_jobs(database, JOBS)
        queued = sa.select(Job.id).where(Job.status == "queued")

        async with killed_in_the_middle(database_url, "stale", lambda: count(database, queued)):
            ended = [
                await ids(database, sa.select(Job.id).where(Job.status == "failed")),
                await ids(database, sa.select(Job.id).where(Job.is_stale)),
                await ids(database, sa.select(OutboxMessage.job_id)),
                await ids(database, sa.select(JobEvent.job_id).where(JobEvent.event == "job.failed")),
            ]
        report = await housekeeping_of(database).clean_up_stale(STALE)

        assert ended == [ended[0]] * 4
        assert sum(report.by_status.values()) == JOBS - len(ended[0])


@asynccontextmanager
async def killed_in_the_middle(database_url: str, what: str, left: Callable[[], Awaitable[int]]) -> AsyncIterator[None]:
    """Kill a process that cleans up once it has done some of it, wherever it is then."""
    program = await asyncio.to_thread(subprocess.Popen, [sys.executable, "-c", PROGRAM, database_url, what], cwd=ROOT)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await left() == JOBS:
            assert program.poll() is None
    program.send_signal(signal.SIGKILL)
    assert await asyncio.to_thread(program.wait, STOP_SECONDS) == -signal.SIGKILL, "it was done before the kill"
    yield


async def count(database: Database, query: sa.Select[Any]) -> int:
    async with database.reads() as session:
        return await session.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0


async def ids(database: Database, query: sa.Select[Any]) -> list[object]:
    async with database.reads() as session:
        return sorted(await session.scalars(query), key=str)
