"""Stale jobs: those without progress fail, once, whole, and whoever held them is out; waiting ones are left."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.json_values import loads
from callboard.core.repository import TenantScope
from callboard.jobs.housekeeping import BATCH_ROWS
from callboard.jobs.models import JobEvent
from callboard.jobs.repository.finishes import Finish, Finished, write_finishes
from callboard.jobs.repository.housekeeping import housekeeping_turn
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.repository.journal import write_journal
from callboard.jobs.repository.stale import fail_stale
from callboard.jobs.status import JobStatus
from tests.fixtures.aged_jobs import Told, age, aged_jobs, housekeeping_of, times
from tests.fixtures.job_rows import (
    add_jobs,
    change,
    claimed_job,
    events_of,
    holding,
    journal_of,
    journal_write,
    outbox_of,
    read_job,
    usage_of,
)
from tests.fixtures.scripted_steps import call
from tests.fixtures.scripted_worker import END_SECONDS, GatedWorld, ScriptedWorker, scripted_worker

STALE = timedelta(hours=72)
EVERYWHERE = TenantScope.every_tenant()


class TestCleanUpStale:
    @pytest.mark.parametrize("status", ["pending", "queued", "processing"])
    async def test_fails_what_made_no_progress(self, database: Database, status: str) -> None:
        (job_id,) = await aged_jobs(database, status=status)

        report = await housekeeping_of(database).clean_up_stale(STALE)

        row = await read_job(database, job_id)
        assert (report.by_status, report.job_ids, report.is_complete) == ({status: 1}, [job_id], True)
        assert (row.status, row.is_stale, row.stale_reason) == ("failed", True, "no progress for 72 hours")
        assert row.completed_at is not None

    async def test_ends_each_with_its_error_its_outbox_row_and_its_last_event(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", usage=True)])
        await age(database, job.id, hours=80)

        await housekeeping_of(database).clean_up_stale(STALE)

        row = await read_job(database, job.id)
        error = loads(row.error or "null")
        assert (error["type"], error["retryable"], error["details"]["status"]) == ("stale", True, "processing")
        assert "72 hours" in error["message"]
        assert row.input_tokens == 3  # what was paid for is counted
        assert await outbox_of(database, job.id) == ["workflow.failed"]
        assert (await events_of(database, job.id))[-1] == "job.failed"

    @pytest.mark.parametrize("status", ["waiting", "completed", "failed", "cancelled"])
    async def test_leaves_what_waits_and_what_has_ended(self, database: Database, status: str) -> None:
        (job_id,) = await aged_jobs(database, hours=10_000, status=status)

        report = await housekeeping_of(database).clean_up_stale(STALE)

        row = await read_job(database, job_id)
        assert (report.by_status, row.status, row.is_stale) == ({}, status, False)

    async def test_leaves_an_old_job_that_made_progress(self, database: Database) -> None:
        job = await claimed_job(database, created_at=now() - timedelta(days=30))
        await age(database, job.id, hours=80)

        await write_journal(database, [journal_write(job, "a")])
        await housekeeping_of(database).clean_up_stale(STALE)

        assert (await read_job(database, job.id)).status == "processing"

    async def test_ends_as_cancelled_what_was_to_be_cancelled(self, database: Database) -> None:
        job = await claimed_job(database)
        await request_cancel(database, [job.id])
        await age(database, job.id, hours=80)

        await housekeeping_of(database).clean_up_stale(STALE)

        row = await read_job(database, job.id)
        assert (row.status, row.is_stale) == ("cancelled", True)

    async def test_reaches_one_tenant_alone_where_it_is_told(self, database: Database) -> None:
        (mine,) = await aged_jobs(database, tenant_id="acme")
        (other,) = await aged_jobs(database)

        report = await housekeeping_of(database).clean_up_stale(STALE, scope=TenantScope("acme"))

        assert report.job_ids == [mine]
        assert (await read_job(database, other)).status == "queued"

    async def test_goes_on_over_many_batches_and_shows_the_first_hundred(self, database: Database) -> None:
        ids = await aged_jobs(database, BATCH_ROWS + 20)

        report = await housekeeping_of(database).clean_up_stale(STALE)

        assert sum(report.by_status.values()) == len(ids)
        assert report.job_ids == ids[:100]

    async def test_stops_after_a_whole_batch_when_time_is_up(self, database: Database) -> None:
        await aged_jobs(database, BATCH_ROWS + 20)
        once = times(1)

        first = await housekeeping_of(database).clean_up_stale(STALE, goes_on=lambda: next(once))
        rest = await housekeeping_of(database).clean_up_stale(STALE)

        assert (first.by_status, first.is_complete) == ({"queued": BATCH_ROWS}, False)
        assert (rest.by_status, rest.is_complete) == ({"queued": 20}, True)

    async def test_tells_waiters_and_the_runner_of_this_process(self, database: Database) -> None:
        told = Told()
        job = await claimed_job(database)
        await age(database, job.id, hours=80)
        (queued,) = await aged_jobs(database)

        await housekeeping_of(database, told=told).clean_up_stale(STALE)

        assert (told.aborted, set(told.announced)) == ([job.id], {job.id, queued})

    async def test_at_once_in_two_processes_ends_each_job_once(self, database: Database) -> None:
        ids = await aged_jobs(database, 30)

        reports = await asyncio.gather(*(housekeeping_of(database).clean_up_stale(STALE) for _ in range(2)))

        assert sum(sum(report.by_status.values()) for report in reports) == len(ids)
        assert [await outbox_of(database, job_id) for job_id in ids] == [["workflow.failed"]] * len(ids)


class TestPreviewStale:
    async def test_tells_the_same_and_changes_nothing(self, database: Database) -> None:
        queued = await aged_jobs(database, 3)
        (pending,) = await aged_jobs(database, status="pending")
        await add_jobs(database, 1)
        service = housekeeping_of(database)

        preview = await service.preview_stale(STALE, scope=EVERYWHERE)
        statuses = [(await read_job(database, job_id)).status for job_id in (*queued, pending)]
        report = await service.clean_up_stale(STALE)

        assert (preview.by_status, preview.job_ids) == (report.by_status, report.job_ids)
        assert preview.by_status == {"queued": 3, "pending": 1}
        assert statuses == ["queued"] * 3 + ["pending"]


class TestFailStale:
    async def test_leaves_one_that_made_progress_while_it_waited_for_the_lock(
        self, database: Database, database_url: str
    ) -> None:
        (job_id,) = await aged_jobs(database)

        async with holding(database_url, [job_id]) as connection:
            failing = asyncio.create_task(fail_stale(database, [job_id], older_than=STALE))
            await asyncio.sleep(0.2)
            await change(connection, job_id, {"updated_at": now()})

        assert await failing == []
        assert (await read_job(database, job_id)).status == "queued"

    async def test_leaves_nothing_half_done_when_it_breaks_in_the_middle(
        self, database: Database, database_url: str
    ) -> None:
        ids = await aged_jobs(database, 2)
        async with database.transaction() as connection:  # the second one cannot get its last event
            await connection.execute(_event_in_the_way(ids[1]))

        with pytest.raises(IntegrityError):
            await fail_stale(database, ids, older_than=STALE)

        assert [(await read_job(database, job_id)).status for job_id in ids] == ["queued"] * 2
        assert [await outbox_of(database, job_id) for job_id in ids] == [[], []]


class TestWorkerThatComesBack:
    async def test_writes_nothing_but_usage(self, database: Database) -> None:
        job = await claimed_job(database)
        await age(database, job.id, hours=80)
        await housekeeping_of(database).clean_up_stale(STALE)
        before = await read_job(database, job.id)

        kept = await write_journal(database, [journal_write(job, "late", usage=True, event=True)])
        end = Finish(job_id=job.id, fence=job.fence, status=JobStatus.COMPLETED)
        finished = await write_finishes(database, [end])

        row = await read_job(database, job.id)
        assert (kept, finished) == ([False], [Finished.LOST])
        assert (row.status, row.last_event_id, row.updated_at) == ("failed", before.last_event_id, before.updated_at)
        assert await journal_of(database, job.id) == {}
        assert await usage_of(database, job.id) == [("late", job.fence, 1)]
        assert await outbox_of(database, job.id) == ["workflow.failed"]

    async def test_has_its_calls_counted_and_stops(self, database: Database) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([call("slow"), call("next")])
            await _until_shown(database, job_id, "step.started")  # that was its last progress
            await age(database, job_id, hours=80)
            await fail_stale(database, [job_id], older_than=STALE)

            world.gate.set()
            await _until_let_go(worker, job_id)

        assert (await read_job(database, job_id)).status == "failed"
        assert await journal_of(database, job_id) == {}
        assert world.finished.total() <= 1
        assert len(await usage_of(database, job_id)) == world.finished.total()


class TestSchedule:
    @pytest.mark.parametrize(
        ("hours", "status"), [pytest.param(72, "failed", id="on"), pytest.param(0, "queued", id="off")]
    )
    async def test_fails_stale_jobs_in_every_worker_unless_it_is_off(
        self, database: Database, hours: int, status: str
    ) -> None:
        (job_id,) = await aged_jobs(database)

        await housekeeping_of(database, stale_after_hours=hours, retention_days=0).run_due()

        assert (await read_job(database, job_id)).status == status

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_leaves_it_to_another_process_that_is_at_it(self, database: Database) -> None:
        (job_id,) = await aged_jobs(database)

        async with housekeeping_turn(database) as is_ours:
            await housekeeping_of(database).run_due()
            status = (await read_job(database, job_id)).status
        await housekeeping_of(database).run_due()

        assert (is_ours, status) == (True, "queued")
        assert (await read_job(database, job_id)).status == "failed"


async def _until_shown(database: Database, job_id: UUID, event: str) -> None:
    async with asyncio.timeout(END_SECONDS):
        while event not in await events_of(database, job_id):  # noqa: ASYNC110 - the rows tell, no event
            await asyncio.sleep(0.01)


async def _until_let_go(worker: ScriptedWorker, job_id: UUID) -> None:
    async with asyncio.timeout(END_SECONDS):
        while worker.runner.holds(job_id):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


def _event_in_the_way(job_id: UUID) -> sa.Insert:
    """Take the event id that the job's end will want."""
    return sa.insert(JobEvent).values(job_id=job_id, event_id=2, event="test", data="{}", created_at=now())
