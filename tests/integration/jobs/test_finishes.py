"""Ends: once, with outbox row and costs, by the owner alone; a cancel that was accepted first stands."""

import asyncio
import json
from decimal import Decimal

import pytest

from callboard.core.database import Database
from callboard.core.telemetry import Telemetry
from callboard.jobs.finishes import Finishes
from callboard.jobs.leases import WorkerLease
from callboard.jobs.repository.claims import ClaimedJob, claim_jobs
from callboard.jobs.repository.finishes import Finish, Finished, write_finishes
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.repository.journal import write_journal
from callboard.jobs.repository.takeovers import take_over_jobs
from callboard.jobs.status import JobStatus
from tests.fixtures.job_rows import (
    USAGE_COST,
    add_jobs,
    add_worker,
    change,
    claimed_job,
    events_of,
    holding,
    journal_of,
    journal_write,
    kill_worker,
    outbox_of,
    read_job,
)

ERROR = {"type": "test", "category": "internal", "message": "It broke.", "retryable": False, "details": {}}


def finish(job: ClaimedJob, status: JobStatus = JobStatus.COMPLETED, **more: object) -> Finish:
    return Finish(job_id=job.id, fence=job.fence, status=status, **more)  # type: ignore[arg-type]


class TestWriteFinishes:
    async def test_ends_a_job_with_its_result_its_costs_and_one_outbox_row(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, path, usage=True) for path in ("a", "b")])

        assert await write_finishes(database, [finish(job, outputs_json='{"x":1}')]) == [Finished.WRITTEN]

        row = await read_job(database, job.id)
        result = json.loads(row.result_data or "")
        assert (row.status, row.owner, row.steps_completed) == ("completed", None, row.total_steps)
        assert (result["x"], result["cost_data"]["total_tokens"]) == (1, 10)  # 2 x (3 + 2)
        assert (row.cost_usd, row.input_tokens, row.output_tokens) == (2 * USAGE_COST, 6, 4)
        assert await outbox_of(database, job.id) == ["workflow.completed"]
        assert (await events_of(database, job.id))[-1] == "job.completed"

    async def test_keeps_the_error_of_a_failure(self, database: Database) -> None:
        job = await claimed_job(database)

        await write_finishes(database, [finish(job, JobStatus.FAILED, error=ERROR)])

        row = await read_job(database, job.id)
        assert (row.status, row.error_message, row.result_data) == ("failed", "It broke.", None)
        assert json.loads(row.error or "") == ERROR

    async def test_tells_an_end_that_was_written_but_not_heard_of(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_finishes(database, [finish(job)])

        assert await write_finishes(database, [finish(job)]) == [Finished.ALREADY]

        assert await outbox_of(database, job.id) == ["workflow.completed"]
        assert (await events_of(database, job.id)).count("job.completed") == 1

    async def test_refuses_the_end_of_a_worker_that_lost_the_job(self, database: Database) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)
        await kill_worker(database, worker)
        await take_over_jobs(database)

        assert await write_finishes(database, [finish(job)]) == [Finished.LOST]

        assert (await read_job(database, job.id)).status == "queued"
        assert await outbox_of(database, job.id) == []

    async def test_refuses_an_end_whose_fence_changed_while_it_waited_for_the_lock(
        self, database: Database, database_url: str
    ) -> None:
        job = await claimed_job(database)

        async with holding(database_url, [job.id]) as connection:
            late = asyncio.create_task(write_finishes(database, [finish(job)]))
            await asyncio.sleep(0.1)
            await change(connection, job.id, {"fence": job.fence + 1})

        assert await late == [Finished.LOST]

    async def test_locks_the_old_owner_out_of_a_job_that_was_handed_back(self, database: Database) -> None:
        job = await claimed_job(database)

        await write_finishes(database, [finish(job, JobStatus.QUEUED)])

        row = await read_job(database, job.id)
        assert (row.status, row.owner, row.fence) == ("queued", None, job.fence + 1)
        assert await write_journal(database, [journal_write(job, "late")]) == [False]
        assert await write_finishes(database, [finish(job)]) == [Finished.LOST]
        assert await outbox_of(database, job.id) == []

    @pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.QUEUED])
    async def test_ends_as_cancelled_what_was_to_be_cancelled_before(
        self, database: Database, status: JobStatus
    ) -> None:
        job = await claimed_job(database)
        await request_cancel(database, [job.id])

        assert await write_finishes(database, [finish(job, status)]) == [Finished.WRITTEN]

        row = await read_job(database, job.id)
        assert (row.status, row.result_data) == ("cancelled", None)
        assert await outbox_of(database, job.id) == ["workflow.cancelled"]

    async def test_ends_many_in_every_way_at_once(self, database: Database) -> None:
        worker = await add_worker(database)
        await add_jobs(database, 4)
        done, broken, back, lost = await claim_jobs(database, worker, 4)
        async with database.transaction() as connection:
            await change(connection, lost.id, {"fence": 5})

        outcomes = await write_finishes(
            database,
            [
                finish(lost),
                finish(back, JobStatus.QUEUED),
                finish(broken, JobStatus.FAILED, error=ERROR),
                finish(done),
            ],
        )

        assert outcomes == [Finished.LOST, Finished.WRITTEN, Finished.WRITTEN, Finished.WRITTEN]
        statuses = [(await read_job(database, job.id)).status for job in (done, broken, back, lost)]
        assert statuses == ["completed", "failed", "queued", "processing"]

    async def test_counts_only_the_time_in_which_a_worker_held_the_job(self, database: Database) -> None:
        job = await claimed_job(database)
        async with database.transaction() as connection:
            await change(connection, job.id, {"active_ms": 5000})

        await write_finishes(database, [finish(job, JobStatus.QUEUED)])

        assert 5000 <= (await read_job(database, job.id)).active_ms < 65_000


class TestFinishes:
    async def test_fails_alone_what_cannot_be_stored(self, database: Database) -> None:
        worker = await add_worker(database)
        await add_jobs(database, 3)
        jobs = await claim_jobs(database, worker, 3)
        lease = WorkerLease(database, lease_seconds=60, slots=1)
        finishes = Finishes(database, telemetry=Telemetry(), lease=lease)
        bad = finish(jobs[1], JobStatus.FAILED, error={**ERROR, "message": "\x00"})

        outcomes = await asyncio.gather(
            *(finishes.write(each) for each in (finish(jobs[0]), bad, finish(jobs[2]))), return_exceptions=True
        )

        assert [outcome is Finished.WRITTEN for outcome in outcomes] == [True, False, True]
        statuses = [(await read_job(database, job.id)).status for job in jobs]
        assert statuses == ["completed", "processing", "completed"]

    async def test_leaves_nothing_of_an_end_that_breaks_in_the_middle(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", usage=True)])

        with pytest.raises(Exception, match="message"):
            await write_finishes(database, [finish(job, JobStatus.FAILED, error={})])

        row = await read_job(database, job.id)
        assert (row.status, row.cost_usd) == ("processing", Decimal(0))
        assert await outbox_of(database, job.id) == []
        assert await journal_of(database, job.id) == {"a": '"done"'}
