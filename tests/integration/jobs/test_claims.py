"""Claiming: the most urgent first, each to one worker, none to a dead one."""

import asyncio
from itertools import chain

import pytest

from callboard.core.database import Database
from callboard.core.ids import JobId, WorkerId, new_uuid
from callboard.jobs.repository.claims import claim_jobs, claim_suspect
from callboard.jobs.repository.finishes import Finish, write_finishes
from callboard.jobs.repository.lanes import LOOK_AHEAD
from callboard.jobs.repository.workers import mark_stopped
from callboard.jobs.running_limits import RunningLimits
from callboard.jobs.status import JobStatus
from tests.fixtures.job_rows import add_jobs, add_worker, events_of, holding, kill_worker, read_job

ONE_PER_USER = RunningLimits(per_user=1)


class TestClaimJobs:
    async def test_takes_the_most_urgent_first_and_the_oldest_of_these(self, database: Database) -> None:
        old_low, new_low = await add_jobs(database, 2, priority=1)
        (high,) = await add_jobs(database, priority=9)
        worker = await add_worker(database)

        jobs = await claim_jobs(database, worker, 3)

        assert [job.id for job in jobs] == [high, old_low, new_low]

    async def test_takes_no_more_than_the_limit(self, database: Database) -> None:
        first, *_ = await add_jobs(database, 5)
        worker = await add_worker(database)

        jobs = await claim_jobs(database, worker, 1)

        assert [job.id for job in jobs] == [first]

    async def test_makes_the_job_the_workers_own_under_a_new_fence(self, database: Database) -> None:
        (job_id,) = await add_jobs(database)
        worker = await add_worker(database)

        (job,) = await claim_jobs(database, worker, 10)

        row = await read_job(database, job_id)
        assert (row.status, row.owner, row.fence) == ("processing", worker, 1)
        assert (job.fence, job.was_claimed_before) == (1, False)
        assert await events_of(database, job_id) == ["job.queued", "job.started"]

    async def test_gives_a_job_that_came_back_a_higher_fence_and_the_start_of_its_first_claim(
        self, database: Database
    ) -> None:
        await add_jobs(database)
        worker = await add_worker(database)
        (first,) = await claim_jobs(database, worker, 10)
        await write_finishes(database, [Finish(job_id=first.id, fence=first.fence, status=JobStatus.QUEUED)])

        (second,) = await claim_jobs(database, worker, 10)

        assert second.fence > first.fence
        assert second.was_claimed_before
        assert second.started_at == first.started_at

    async def test_gives_nothing_where_nothing_is_ready(self, database: Database) -> None:
        assert await claim_jobs(database, await add_worker(database), 10) == []

    async def test_gives_a_dead_worker_nothing(self, database: Database) -> None:
        (job_id,) = await add_jobs(database)
        worker = await add_worker(database)
        await kill_worker(database, worker)

        assert await claim_jobs(database, worker, 10) == []
        assert (await read_job(database, job_id)).status == "queued"

    async def test_gives_a_stopped_worker_nothing(self, database: Database) -> None:
        await add_jobs(database)
        worker = await add_worker(database)
        await mark_stopped(database, worker)

        assert await claim_jobs(database, worker, 10) == []

    async def test_gives_a_worker_that_never_registered_nothing(self, database: Database) -> None:
        await add_jobs(database)

        assert await claim_jobs(database, WorkerId(new_uuid()), 10) == []

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_skips_jobs_that_somebody_holds_at_the_moment(self, database: Database, database_url: str) -> None:
        held, free = await add_jobs(database, 2)
        worker = await add_worker(database)

        async with holding(database_url, [held]):
            jobs = await claim_jobs(database, worker, 10)

        assert [job.id for job in jobs] == [free]

    async def test_never_gives_a_job_to_two_claimers(self, database: Database, database_url: str) -> None:
        jobs = await add_jobs(database, 120)
        processes = [Database(database_url) for _ in range(4)]

        claims = await asyncio.gather(*(_claim_until_empty(process) for process in processes))

        assert sorted(chain.from_iterable(claims)) == sorted(jobs)
        for process in processes:
            await process.close()


class TestRunningLimits:
    @pytest.mark.parametrize(
        "limits",
        [
            pytest.param(RunningLimits(per_user=2), id="user"),
            pytest.param(RunningLimits(per_workflow=2), id="workflow"),
            pytest.param(RunningLimits(per_tenant=2), id="tenant"),
        ],
    )
    async def test_claims_no_more_than_may_run_and_then_what_stands_behind(
        self, database: Database, limits: RunningLimits
    ) -> None:
        first, second, *_ = await add_jobs(database, 5, user_id="ann", workflow_name="long", tenant_id="acme")
        (other,) = await add_jobs(database, user_id="bob", workflow_name="short", tenant_id="other")
        worker = await add_worker(database)

        jobs = await claim_jobs(database, worker, 10, limits=limits)

        assert [job.id for job in jobs] == [first, second, other]
        assert await claim_jobs(database, worker, 10, limits=limits) == []

    async def test_reaches_behind_any_number_of_jobs_of_a_full_lane(self, database: Database) -> None:
        await add_jobs(database, LOOK_AHEAD + 2, user_id="ann", priority=5)
        bobs = await add_jobs(database, 3, user_id="bob")
        (urgent,) = await add_jobs(database, user_id="cyd", priority=1)
        worker = await add_worker(database)
        await claim_jobs(database, worker, 2, limits=RunningLimits(per_user=2))

        jobs = await claim_jobs(database, worker, 3, limits=RunningLimits(per_user=2))

        assert [job.id for job in jobs] == [urgent, *bobs[:2]]

    async def test_lets_the_next_one_start_when_one_has_ended(self, database: Database) -> None:
        await add_jobs(database, 2, user_id="ann")
        worker = await add_worker(database)
        (job,) = await claim_jobs(database, worker, 10, limits=ONE_PER_USER)

        await write_finishes(database, [Finish(job_id=job.id, fence=job.fence, status=JobStatus.COMPLETED)])

        assert len(await claim_jobs(database, worker, 10, limits=ONE_PER_USER)) == 1

    async def test_tells_users_of_two_tenants_apart_and_counts_no_user_as_nobody(self, database: Database) -> None:
        await add_jobs(database, 2, user_id=None)
        for tenant in ("acme", "other"):
            await add_jobs(database, 2, user_id="ann", tenant_id=tenant)

        jobs = await claim_jobs(database, await add_worker(database), 10, limits=ONE_PER_USER)

        assert sorted(job.user_id or "" for job in jobs) == ["", "", "ann", "ann"]

    async def test_holds_over_all_claimers_together(self, database: Database, database_url: str) -> None:
        await add_jobs(database, 60, user_id="ann")
        processes = [Database(database_url) for _ in range(4)]

        claims = await asyncio.gather(*(_claim_once(process, RunningLimits(per_user=7)) for process in processes))

        assert sum(claims) == 7
        for process in processes:
            await process.close()


class TestClaimSuspect:
    async def test_takes_what_normal_claims_leave_one_at_a_time(self, database: Database) -> None:
        first, second = await add_jobs(database, 2, retry_count=2)
        worker = await add_worker(database)

        assert await claim_jobs(database, worker, 10) == []
        job = await claim_suspect(database, worker)

        assert job is not None
        assert job.id == first
        assert (await read_job(database, second)).status == "queued"

    async def test_leaves_the_innocent_and_what_may_not_start(self, database: Database) -> None:
        await add_jobs(database, user_id="ann")
        await add_jobs(database, user_id="ann", retry_count=2)
        worker = await add_worker(database)
        await claim_jobs(database, worker, 10)

        assert await claim_suspect(database, worker, limits=ONE_PER_USER) is None
        assert await claim_suspect(database, worker) is not None
        assert await claim_suspect(database, worker) is None


async def _claim_once(database: Database, limits: RunningLimits) -> int:
    return len(await claim_jobs(database, await add_worker(database), 5, limits=limits))


async def _claim_until_empty(database: Database) -> list[JobId]:
    worker = await add_worker(database)
    mine: list[JobId] = []
    while claimed := await claim_jobs(database, worker, 7):
        mine += [job.id for job in claimed]
    return mine
