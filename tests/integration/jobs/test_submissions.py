"""Submits: durable together, once, whatever was heard of the commit; one job for one Idempotency-Key."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from callboard.core.batch_writer import BatchWriter
from callboard.core.clock import now
from callboard.core.database import Database
from callboard.jobs.models import Job
from callboard.jobs.repository.claims import claim_jobs
from callboard.jobs.repository.submissions import Accepted, NewJob, insert_jobs
from callboard.workflows.bundles import Bundle
from callboard.workflows.repository import find_bundle
from tests.fixtures.job_rows import add_worker, events_of, new_job, read_job

BUNDLE = Bundle(definition={"name": "test", "steps": []})


async def count_jobs(database: Database) -> int:
    async with database.reads() as session:
        return await session.scalar(sa.select(sa.func.count()).select_from(Job)) or 0


class TestInsertJobs:
    async def test_writes_the_jobs_their_bundle_once_and_an_event_each(self, database: Database) -> None:
        jobs = [new_job(bundle=BUNDLE) for _ in range(3)]

        accepted = await insert_jobs(database, jobs)

        assert accepted == [Accepted(job.job_id, is_new=True) for job in jobs]
        assert await find_bundle(database, BUNDLE.content_hash) == BUNDLE.to_json()
        assert [await events_of(database, job.job_id) for job in jobs] == [["job.queued"]] * 3

    async def test_is_success_again_when_the_first_commit_was_not_heard_of(self, database: Database) -> None:
        jobs = [new_job(bundle=BUNDLE), new_job(key="k")]
        await insert_jobs(database, jobs)
        await claim_jobs(database, await add_worker(database), 1)  # and somebody has begun meanwhile

        again = await insert_jobs(database, jobs)

        assert [accepted.job_id for accepted in again] == [job.job_id for job in jobs]
        assert await count_jobs(database) == 2
        assert (await read_job(database, jobs[0].job_id)).status == "processing"
        assert await events_of(database, jobs[0].job_id) == ["job.queued", "job.started"]

    async def test_gives_the_first_job_of_a_key_to_whoever_comes_later(self, database: Database) -> None:
        first = new_job(key="k", body_hash="one")
        await insert_jobs(database, [first])

        (accepted,) = await insert_jobs(database, [new_job(key="k", body_hash="two")])

        assert (accepted.job_id, accepted.is_new, accepted.body_hash) == (first.job_id, False, "one")
        assert accepted.answer == f'{{"job_id":"{first.job_id}"}}'
        assert await count_jobs(database) == 1

    async def test_makes_one_job_of_a_key_that_comes_twice_in_one_flush(self, database: Database) -> None:
        twins = [new_job(key="k"), new_job(key="k"), new_job(key="other")]

        accepted = await insert_jobs(database, twins)

        assert sorted(each.is_new for each in accepted) == [False, True, True]
        assert accepted[0].job_id == accepted[1].job_id
        assert await count_jobs(database) == 2

    async def test_makes_one_job_of_each_key_that_processes_race_for(
        self, database: Database, database_url: str
    ) -> None:
        processes = [Database(database_url) for _ in range(4)]
        keys = [f"k{number}" for number in range(20)]

        accepted = await asyncio.gather(
            *(
                insert_jobs(process, [new_job(key=key) for key in keys[::order]])
                for process in processes
                for order in (1, -1)
            )
        )

        assert await count_jobs(database) == len(keys)
        assert len({each.job_id for batch in accepted for each in batch}) == len(keys)
        for process in processes:
            await process.close()

    async def test_takes_a_key_anew_when_it_is_too_old(self, database: Database) -> None:
        old = new_job(key="k", created_at=now() - timedelta(days=800))
        await insert_jobs(database, [old])

        (accepted,) = await insert_jobs(database, [new_job(key="k")])

        assert accepted.is_new
        assert await count_jobs(database) == 2

    async def test_leaves_nothing_of_a_flush_that_is_refused(self, database: Database) -> None:
        with pytest.raises(IntegrityError):
            await insert_jobs(database, [new_job(bundle=BUNDLE, key="k"), new_job(priority=11)])

        assert await count_jobs(database) == 0
        assert await find_bundle(database, BUNDLE.content_hash) is None

    async def test_fails_the_refused_job_alone_when_it_comes_through_the_writer(self, database: Database) -> None:
        writer: BatchWriter[NewJob, Accepted] = BatchWriter(
            lambda jobs: insert_jobs(database, jobs), name="test", keep_trying=lambda _: True
        )
        jobs = [new_job(priority=priority) for priority in (1, 2, 11, 3, 4)]

        results = await asyncio.gather(*(writer.write(job) for job in jobs), return_exceptions=True)

        assert [isinstance(result, IntegrityError) for result in results] == [False, False, True, False, False]
        assert await count_jobs(database) == 4
