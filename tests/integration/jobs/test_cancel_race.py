"""Cancel against everything else that may happen to a job at the same moment: the first commit wins."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from callboard.core.database import Database
from callboard.jobs.repository.claims import ClaimedJob, claim_jobs
from callboard.jobs.repository.finishes import Finish, Finished, write_finishes
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.repository.takeovers import take_over_jobs
from callboard.jobs.status import JobStatus
from tests.fixtures.job_rows import add_jobs, add_worker, events_of, kill_worker, outbox_of, read_job

ROUNDS = 20
Start = Callable[[], Awaitable[Any]]


async def race(first: Start, second: Start, moments: random.Random) -> Any:
    """Start both within a moment of each other, in any order, and return what each gave."""

    async def later(start: Start) -> Any:
        await asyncio.sleep(moments.choice((0, 0, 0.0005, 0.002)))
        return await start()

    return await asyncio.gather(later(first), later(second))


class TestCancelAgainstFinish:
    async def test_ends_the_job_once_and_as_the_first_of_both_said(self, database: Database, database_url: str) -> None:
        other, moments = Database(database_url), random.Random(7)
        worker = await add_worker(database)
        for _ in range(ROUNDS):
            await add_jobs(database)
            (job,) = await claim_jobs(database, worker, 1)

            before, finished = await race(
                lambda job=job: request_cancel(other, [job.id]),  # type: ignore[misc]
                lambda job=job: write_finishes(database, [_completed(job)]),  # type: ignore[misc]
                moments,
            )

            status = (await read_job(database, job.id)).status
            assert finished == [Finished.WRITTEN]
            assert status == ("completed" if before[job.id].is_final else "cancelled")
            assert await outbox_of(database, job.id) == [f"workflow.{status}"]
        await other.close()


class TestCancelAgainstClaim:
    async def test_ends_a_job_that_was_not_claimed_and_marks_one_that_was(
        self, database: Database, database_url: str
    ) -> None:
        other, moments = Database(database_url), random.Random(8)
        worker = await add_worker(database)
        for _ in range(ROUNDS):
            (job_id,) = await add_jobs(database)

            before, claimed = await race(
                lambda job_id=job_id: request_cancel(other, [job_id]),  # type: ignore[misc]
                lambda: claim_jobs(database, worker, 1),
                moments,
            )

            row = await read_job(database, job_id)
            assert row.status == ("processing" if claimed else "cancelled")
            assert before[job_id] == ("processing" if claimed else "queued")
            assert (row.cancel_requested_at is not None) is bool(claimed)
            await write_finishes(database, [_completed(job) for job in claimed])
            assert await outbox_of(database, job_id) == ["workflow.cancelled"]
        await other.close()


class TestCancelAgainstTakeOver:
    async def test_never_runs_again_what_was_cancelled(self, database: Database, database_url: str) -> None:
        other, moments = Database(database_url), random.Random(9)
        for _ in range(ROUNDS // 2):
            worker = await add_worker(database)
            (job_id,) = await add_jobs(database)
            await claim_jobs(database, worker, 1)
            await kill_worker(database, worker)

            await race(
                lambda job_id=job_id: request_cancel(other, [job_id]),  # type: ignore[misc]
                lambda: take_over_jobs(database),
                moments,
            )
            await take_over_jobs(database)

            assert (await read_job(database, job_id)).status == "cancelled"
            assert await outbox_of(database, job_id) == ["workflow.cancelled"]
        await other.close()


class TestCancelTwice:
    async def test_ends_a_job_once(self, database: Database, database_url: str) -> None:
        other = Database(database_url)
        ids = await add_jobs(database, 5)

        first, second = await asyncio.gather(request_cancel(database, ids), request_cancel(other, [*reversed(ids)]))

        for job_id in ids:
            assert {first[job_id], second[job_id]} == {JobStatus.QUEUED, JobStatus.CANCELLED}
            assert (await events_of(database, job_id)) == ["job.queued", "job.cancelled"]
        await other.close()


def _completed(job: ClaimedJob) -> Finish:
    return Finish(job_id=job.id, fence=job.fence, status=JobStatus.COMPLETED)
