"""Taking over from the dead: for good, once, never from the living; and when a job is given up."""

import asyncio
import json
from datetime import timedelta

import pytest

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.ids import JobId, WorkerId
from callboard.jobs.repository.claims import ClaimedJob, claim_jobs, claim_suspect
from callboard.jobs.repository.finishes import Finish, write_finishes
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.repository.journal import write_journal
from callboard.jobs.repository.suspects import absolve
from callboard.jobs.repository.takeovers import take_back_forgotten, take_from_child, take_over_jobs
from callboard.jobs.repository.workers import list_living_workers, mark_dead, mark_stopped, renew_worker
from callboard.jobs.status import JobStatus
from tests.fixtures.job_rows import (
    add_jobs,
    add_worker,
    change,
    claimed_job,
    events_of,
    holding,
    journal_write,
    kill_worker,
    outbox_of,
    read_job,
    usage_of,
)


async def lose_worker(database: Database, *, steps: int = 0, turn: int = 0) -> None:
    """Have a new worker claim the job in the queue, journal `steps` steps, and die."""
    worker = await add_worker(database)
    (job,) = await claim_jobs(database, worker, 10)
    await write_journal(database, [journal_write(job, f"t{turn}s{number}") for number in range(steps)])
    await kill_worker(database, worker)
    await take_over_jobs(database)


class TestMarkDead:
    async def test_is_for_good(self, database: Database) -> None:
        worker = await add_worker(database)

        assert await mark_dead(database, worker, only_if_expired=False)

        async with database.transaction() as connection:
            assert not await renew_worker(connection, worker, lease_seconds=60)
        assert not await mark_dead(database, worker, only_if_expired=False)
        assert await list_living_workers(database) == []

    @pytest.mark.parametrize(("lease_seconds", "is_marked"), [(60, False), (-1, True)], ids=["renewed", "expired"])
    async def test_judges_the_lease_by_the_databases_clock(
        self, database: Database, lease_seconds: float, *, is_marked: bool
    ) -> None:
        worker = await add_worker(database, lease_seconds=lease_seconds)

        assert await mark_dead(database, worker, only_if_expired=True) is is_marked

    async def test_leaves_a_worker_that_stopped_in_good_order(self, database: Database) -> None:
        worker = await add_worker(database)
        await mark_stopped(database, worker)

        assert not await mark_dead(database, worker, only_if_expired=False)


class TestTakeOverJobs:
    async def test_puts_the_jobs_of_a_dead_worker_back_under_a_new_fence(self, database: Database) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)
        await kill_worker(database, worker)

        assert await take_over_jobs(database) == {JobStatus.QUEUED: 1}

        row = await read_job(database, job.id)
        assert (row.status, row.owner, row.fence, row.retry_count) == ("queued", None, job.fence + 1, 1)
        assert (await events_of(database, job.id))[-1] == "job.requeued"

    async def test_takes_what_a_worker_that_left_forgot(self, database: Database) -> None:
        worker = await add_worker(database)
        await claimed_job(database, worker)
        await mark_stopped(database, worker)

        assert await take_over_jobs(database) == {JobStatus.QUEUED: 1}

    async def test_leaves_the_jobs_of_the_living_and_what_has_ended(self, database: Database) -> None:
        dead, living = await add_worker(database), await add_worker(database)
        ended = await claimed_job(database, dead)
        await write_finishes(database, [Finish(job_id=ended.id, fence=1, status=JobStatus.COMPLETED)])
        await claimed_job(database, living)
        await kill_worker(database, dead)

        assert await take_over_jobs(database) == {}

    async def test_leaves_a_job_that_a_living_worker_claimed_while_the_lock_was_awaited(
        self, database: Database, database_url: str
    ) -> None:
        dead, living = await add_worker(database), await add_worker(database)
        job = await claimed_job(database, dead)
        await kill_worker(database, dead)

        async with holding(database_url, [job.id]) as connection:
            taking = asyncio.create_task(take_over_jobs(database))
            await asyncio.sleep(0.1)
            await change(connection, job.id, {"owner": living, "fence": 3})

        assert await taking == {}
        row = await read_job(database, job.id)
        assert (row.status, row.owner, row.fence) == ("processing", living, 3)

    async def test_takes_each_job_once_however_many_sweep(self, database: Database, database_url: str) -> None:
        dead = await add_worker(database)
        await add_jobs(database, 20)
        jobs = await claim_jobs(database, dead, 20)
        await kill_worker(database, dead)
        processes = [Database(database_url) for _ in range(4)]

        taken = await asyncio.gather(*(_take_over_and_claim(process) for process in processes))

        assert sorted(job_id for claimed in taken for job_id in claimed) == sorted(job.id for job in jobs)
        assert {(await read_job(database, job.id)).fence for job in jobs} == {3}  # claim, take-over, claim
        for process in processes:
            await process.close()

    async def test_refuses_what_was_claimed_and_taken_over_before_it_began(self, database: Database) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)  # the claim is committed; the run has not begun
        await kill_worker(database, worker)
        await take_over_jobs(database)
        (again,) = await claim_jobs(database, await add_worker(database), 10)

        assert await write_journal(database, [journal_write(job, "a", usage=True)]) == [False]
        assert await write_journal(database, [journal_write(again, "a", usage=True)]) == [True]

        assert await usage_of(database, job.id) == [("a", job.fence, 1), ("a", again.fence, 1)]

    async def test_cancels_a_job_that_was_to_be_cancelled_when_its_worker_died(self, database: Database) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)
        await request_cancel(database, [job.id])
        await kill_worker(database, worker)

        assert await take_over_jobs(database) == {JobStatus.CANCELLED: 1}

        assert (await read_job(database, job.id)).status == "cancelled"
        assert await outbox_of(database, job.id) == ["workflow.cancelled"]


class TestTakeBackForgotten:
    async def test_leaves_a_job_that_came_back_to_its_worker_while_the_lock_was_awaited(
        self, database: Database, database_url: str
    ) -> None:
        worker = await add_worker(database)
        job = await claimed_job(database, worker)
        async with database.transaction() as connection:
            await change(connection, job.id, {"claimed_at": now() - timedelta(seconds=60)})

        async with holding(database_url, [job.id]) as connection:
            taking = asyncio.create_task(take_back_forgotten(database, worker, lambda _: False))
            await asyncio.sleep(0.1)
            await change(connection, job.id, {"fence": 3})  # handed back, and claimed once more

        assert await taking == {}
        assert (await read_job(database, job.id)).status == "processing"


class TestPoison:
    async def test_makes_a_job_a_suspect_when_two_workers_died_without_a_step(self, database: Database) -> None:
        (job_id,) = await add_jobs(database)

        for _ in range(2):
            await lose_worker(database)

        assert (await read_job(database, job_id)).status == "queued"
        assert await claim_jobs(database, await add_worker(database), 10) == []

    async def test_gives_a_suspect_up_that_kills_the_worker_it_is_alone_with(self, database: Database) -> None:
        (job_id,) = await add_jobs(database, retry_count=2)
        child = await add_worker(database)
        await claim_suspect(database, child)

        assert await take_from_child(database, child) == {JobStatus.FAILED: 1}

        row = await read_job(database, job_id)
        error = json.loads(row.error or "")
        assert (row.status, error["type"], error["details"]) == ("failed", "worker_lost", {"take_overs": 3})
        assert await outbox_of(database, job_id) == ["workflow.failed"]

    async def test_does_not_blame_a_suspect_whose_worker_nobody_saw_die(self, database: Database) -> None:
        (job_id,) = await add_jobs(database, retry_count=2)

        for status in ("queued", "queued", "queued", "failed"):  # 6 take-overs: twice as many as have been seen
            child = await add_worker(database)
            await claim_suspect(database, child)
            await kill_worker(database, child)
            await take_over_jobs(database)
            assert (await read_job(database, job_id)).status == status

    async def test_lets_a_suspect_go_that_got_a_step_further(self, database: Database) -> None:
        (job_id,) = await add_jobs(database, retry_count=2)
        job = await claim_suspect(database, await add_worker(database))
        assert job is not None
        assert not await absolve(database, job.id, job.fence)

        await write_journal(database, [journal_write(job, "first")])

        assert await absolve(database, job.id, job.fence)
        await _hand_back(database, job)
        assert [again.id for again in await claim_jobs(database, await add_worker(database), 10)] == [job_id]

    async def test_does_not_count_workers_that_got_a_step_further(self, database: Database) -> None:
        (job_id,) = await add_jobs(database)

        for turn in range(6):
            await lose_worker(database, steps=1, turn=turn)

        row = await read_job(database, job_id)
        assert (row.status, row.retry_count) == ("queued", 0)

    async def test_counts_again_when_progress_ends(self, database: Database) -> None:
        (job_id,) = await add_jobs(database)
        await lose_worker(database, steps=2)

        for _ in range(2):
            await lose_worker(database)

        assert (await read_job(database, job_id)).retry_count == 2

    async def test_does_not_count_jobs_that_were_handed_back(self, database: Database) -> None:
        (job_id,) = await add_jobs(database)
        worker = await add_worker(database)

        for _ in range(5):
            (job,) = await claim_jobs(database, worker, 1)
            await _hand_back(database, job)

        row = await read_job(database, job_id)
        assert (row.status, row.retry_count) == ("queued", 0)


async def _hand_back(database: Database, job: ClaimedJob) -> None:
    await write_finishes(database, [Finish(job_id=job.id, fence=job.fence, status=JobStatus.QUEUED)])


async def _take_over_and_claim(database: Database) -> list[JobId]:
    worker: WorkerId = await add_worker(database)
    claimed: list[JobId] = []
    for _ in range(6):
        await take_over_jobs(database)
        claimed += [job.id for job in await claim_jobs(database, worker, 4)]
    return claimed
