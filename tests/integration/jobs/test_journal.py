"""The journal: a row counts once, and only while its run owns the job; what was paid is counted always."""

import asyncio
import random
from uuid import UUID

import sqlalchemy as sa

from callboard.core.database import Database
from callboard.core.ids import WorkerId
from callboard.jobs.models import Job
from callboard.jobs.repository.claims import ClaimedJob, claim_jobs
from callboard.jobs.repository.finishes import Finish, write_finishes
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.repository.journal import JournalWrite, load_journal, write_journal
from callboard.jobs.repository.takeovers import take_over_jobs
from callboard.jobs.status import JobStatus
from callboard.workflows.steps.base import Progress
from tests.fixtures.job_rows import (
    add_jobs,
    add_worker,
    change,
    claimed_job,
    events_of,
    holding,
    journal_of,
    journal_write,
    kill_worker,
    read_job,
    usage_of,
)


class TestWriteJournal:
    async def test_keeps_step_usage_and_event_together(self, database: Database) -> None:
        job = await claimed_job(database)

        assert await write_journal(database, [journal_write(job, "a", usage=True, event=True)]) == [True]

        assert await journal_of(database, job.id) == {"a": '"done"'}
        assert await usage_of(database, job.id) == [("a", 1, 1)]
        assert (await events_of(database, job.id))[-1] == "step.completed"

    async def test_moves_the_progress_on(self, database: Database) -> None:
        job = await claimed_job(database)
        progress = Progress(steps_completed=2, current_step="third")

        await write_journal(database, [JournalWrite(job_id=job.id, fence=job.fence, progress=progress)])

        row = await read_job(database, job.id)
        assert (row.steps_completed, row.current_step) == (2, "third")

    async def test_refuses_a_late_row_after_a_take_over_and_keeps_its_usage(self, database: Database) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)
        await kill_worker(database, worker)
        await take_over_jobs(database)

        written = await write_journal(database, [journal_write(job, "a", usage=True, event=True)])

        assert written == [False]
        assert await journal_of(database, job.id) == {}
        assert await usage_of(database, job.id) == [("a", 1, 1)]
        assert "step.completed" not in await events_of(database, job.id)

    async def test_refuses_a_row_whose_fence_changed_while_it_waited_for_the_lock(
        self, database: Database, database_url: str
    ) -> None:
        job = await claimed_job(database)

        async with holding(database_url, [job.id]) as connection:
            late = asyncio.create_task(write_journal(database, [journal_write(job, "a")]))
            await asyncio.sleep(0.1)
            await change(connection, job.id, {"fence": job.fence + 1})

        assert await late == [False]
        assert await journal_of(database, job.id) == {}

    async def test_refuses_a_row_of_a_job_that_has_ended(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_finishes(database, [Finish(job_id=job.id, fence=job.fence, status=JobStatus.COMPLETED)])

        assert await write_journal(database, [journal_write(job, "a")]) == [False]

    async def test_takes_the_same_row_twice_as_success_and_counts_it_once(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", output=1, usage=True)])

        assert await write_journal(database, [journal_write(job, "a", output=2, usage=True)]) == [True]

        assert await journal_of(database, job.id) == {"a": "1"}
        assert await usage_of(database, job.id) == [("a", 1, 1)]

    async def test_takes_a_row_twice_in_one_flush(self, database: Database) -> None:
        job = await claimed_job(database)

        assert await write_journal(database, [journal_write(job, "a", output=n) for n in (1, 2)]) == [True, True]

        assert await journal_of(database, job.id) == {"a": "1"}

    async def test_lets_a_failed_row_give_way_to_a_later_attempt(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", status="failed")])

        await write_journal(database, [journal_write(job, "a", output="better")])

        assert await journal_of(database, job.id) == {"a": '"better"'}

    async def test_counts_the_same_call_of_two_owners_twice(self, database: Database) -> None:
        job = await claimed_job(database)
        later = [journal_write(job, "a", fence=fence, usage=True) for fence in (1, 3)]

        assert await write_journal(database, later) == [True, False]

        assert await usage_of(database, job.id) == [("a", 1, 1), ("a", 3, 1)]

    async def test_writes_the_owned_rows_of_a_flush_that_has_lost_ones(self, database: Database) -> None:
        worker = await add_worker(database)
        await add_jobs(database, 3)
        mine, lost, gone = await claim_jobs(database, worker, 3)
        async with database.transaction() as connection:
            await change(connection, lost.id, {"fence": 7})
            await connection.execute(sa.delete(Job).where(Job.id == gone.id))

        written = await write_journal(database, [journal_write(job, "a", usage=True) for job in (gone, mine, lost)])

        assert written == [False, True, False]
        assert await journal_of(database, mine.id) == {"a": '"done"'}
        assert await journal_of(database, lost.id) == {}


class TestLoadJournal:
    async def test_gives_what_stands_and_leaves_out_what_failed(self, database: Database) -> None:
        job = await claimed_job(database)
        writes = [journal_write(job, path, status=path) for path in ("succeeded", "skipped", "continued", "defaulted")]
        await write_journal(database, [*writes, journal_write(job, "failed", status="failed")])

        journal = await load_journal(database, job.id)

        assert sorted(journal) == ["continued", "defaulted", "skipped", "succeeded"]
        assert journal["succeeded"].output_json == '"done"'


class TestManyWriters:
    async def test_hammer_the_same_jobs_in_any_order_without_a_deadlock(
        self, database: Database, database_url: str
    ) -> None:
        await add_jobs(database, 30)
        worker = await add_worker(database)
        jobs = await claim_jobs(database, worker, 30)
        processes = [Database(database_url) for _ in range(3)]

        await asyncio.gather(*(_hammer(process, jobs, worker, seed) for seed, process in enumerate(processes)))

        statuses = {(await read_job(database, job.id)).status for job in jobs}
        assert statuses <= {"queued", "processing", "cancelled", "completed"}
        for process in processes:
            await process.close()


async def _hammer(database: Database, jobs: list[ClaimedJob], worker: WorkerId, seed: int) -> None:
    """Write, hand back, claim, end and cancel batches of `jobs`, each in an order of its own."""
    moments = random.Random(seed)
    fences: dict[UUID, int] = {job.id: job.fence for job in jobs}
    for turn in range(25):
        some = moments.sample(jobs, 12)
        writes = [journal_write(job, f"s{turn}", fence=fences[job.id], usage=True, event=True) for job in some]
        await write_journal(database, writes)
        ends = [
            Finish(job_id=job.id, fence=fences[job.id], status=moments.choice((JobStatus.QUEUED, JobStatus.COMPLETED)))
            for job in some[:3]
        ]
        await write_finishes(database, ends)
        for job in await claim_jobs(database, worker, 5):
            fences[job.id] = job.fence
        await take_over_jobs(database)
        if turn % 8 == 0:
            await request_cancel(database, [job.id for job in some[:2]])
