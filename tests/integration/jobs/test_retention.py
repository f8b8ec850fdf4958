"""Retention: what ended long ago goes with all that hangs on it, batch by batch; money, and what is in use, stays."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.ids import new_uuid
from callboard.core.repository import TenantScope
from callboard.jobs.errors import RetentionOffError
from callboard.jobs.housekeeping import BATCH_ROWS
from callboard.jobs.models import Job, JobEvent, JobStep
from callboard.jobs.repository.journal import write_journal
from callboard.jobs.repository.retention import delete_ended, delete_unused_bundles
from callboard.jobs.repository.submissions import insert_jobs
from callboard.jobs.status import JobStatus
from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage, WebhookAttempt
from callboard.workflows.bundles import Bundle
from callboard.workflows.models import WorkflowBundle
from callboard.workflows.repository import find_bundle
from tests.fixtures.aged_jobs import ended_job, housekeeping_of, job_ids_of, times, until_blocked
from tests.fixtures.job_rows import (
    USAGE_COST,
    add_jobs,
    claimed_job,
    holding,
    journal_write,
    new_job,
    outbox_of,
    read_job,
)

MONTH = timedelta(days=30)
EVERYWHERE = TenantScope.every_tenant()
BUNDLE = Bundle(definition={"name": "test", "steps": []})


class TestDeleteOld:
    @pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
    async def test_deletes_what_ended_long_ago_and_nothing_younger(self, database: Database, status: JobStatus) -> None:
        await ended_job(database, days=31, status=status)
        young = await ended_job(database, days=29, status=status)

        report = await housekeeping_of(database).delete_old(MONTH)

        assert (report.jobs, report.is_complete) == (1, True)
        assert await job_ids_of(database) == {young.id}

    @pytest.mark.parametrize("status", ["pending", "queued", "processing", "waiting"])
    async def test_never_deletes_what_has_not_ended(self, database: Database, status: str) -> None:
        long_ago = now() - timedelta(days=1000)
        times_of_job = dict.fromkeys(("created_at", "updated_at", "queued_at", "completed_at"), long_ago)
        (job_id,) = await add_jobs(database, 1, status=status, **times_of_job)

        await housekeeping_of(database).delete_old(MONTH)

        assert await job_ids_of(database) == {job_id}

    async def test_takes_steps_events_and_webhook_attempts_along(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", event=True)])
        await _webhook_attempt(database, job.id)
        await _end(database, job.id, now() - timedelta(days=31))

        await housekeeping_of(database).delete_old(MONTH)

        assert await _counts(database, Job, JobStep, JobEvent, WebhookAttempt) == [0, 0, 0, 0]

    async def test_keeps_what_was_paid_for_without_the_job(self, database: Database) -> None:
        job = await claimed_job(database)
        await write_journal(database, [journal_write(job, "a", usage=True)])
        await _end(database, job.id, now() - timedelta(days=31))

        await housekeeping_of(database).delete_old(MONTH)

        async with database.reads() as session:
            (row,) = await session.scalars(sa.select(ProviderUsage))
        assert (row.job_id, row.cost_usd, row.workflow_name) == (None, USAGE_COST, "test")

    async def test_deletes_consumed_outbox_rows_and_keeps_those_that_somebody_has_to_hear_of(
        self, database: Database
    ) -> None:
        heard, unheard, young = [await ended_job(database, days=31) for _ in range(3)]
        await _consume(database, heard.id, now() - timedelta(days=31))
        await _consume(database, young.id, now() - timedelta(days=29))

        report = await housekeeping_of(database).delete_old(MONTH)

        kept = [await outbox_of(database, job.id) for job in (heard, unheard, young)]
        assert (report.jobs, report.outbox_rows) == (3, 1)
        assert kept == [[], ["workflow.completed"], ["workflow.completed"]]

    async def test_goes_on_batch_by_batch_and_stops_between_two(self, database: Database) -> None:
        await _ended_jobs(database, BATCH_ROWS + 20)
        once = times(1)

        first = await housekeeping_of(database).delete_old(MONTH, goes_on=lambda: next(once))
        left = len(await job_ids_of(database))
        rest = await housekeeping_of(database).delete_old(MONTH)

        assert (first.jobs, first.is_complete, left) == (BATCH_ROWS, False, 20)
        assert (rest.jobs, rest.is_complete) == (20, True)

    async def test_at_once_in_two_processes_deletes_each_job_once(self, database: Database) -> None:
        await _ended_jobs(database, 2 * BATCH_ROWS)

        reports = await asyncio.gather(*(housekeeping_of(database).delete_old(MONTH) for _ in range(2)))

        assert sum(report.jobs for report in reports) == 2 * BATCH_ROWS
        assert await job_ids_of(database) == set()

    async def test_reaches_one_tenant_alone_where_it_is_told(self, database: Database) -> None:
        await ended_job(database, days=31, tenant_id="acme")
        other = await ended_job(database, days=31)

        report = await housekeeping_of(database).delete_old(MONTH, scope=TenantScope("acme"))

        assert report.jobs == 1
        assert await job_ids_of(database) == {other.id}


class TestPreviewOld:
    async def test_tells_the_same_and_changes_nothing(self, database: Database) -> None:
        old = await ended_job(database, days=31, bundle=BUNDLE)
        await _make_old(database, BUNDLE.content_hash)
        await _consume(database, old.id, now() - timedelta(days=31))
        await ended_job(database, days=29)
        service = housekeeping_of(database)

        preview = await service.preview_old(MONTH, scope=EVERYWHERE)
        there = len(await job_ids_of(database))
        report = await service.delete_old(MONTH)

        assert (preview.jobs, preview.bundles, preview.outbox_rows, preview.job_ids) == (1, 1, 1, [old.id])
        assert (report.jobs, report.bundles, report.outbox_rows) == (1, 1, 1)
        assert there == 2


class TestRetention:
    async def test_takes_what_is_asked_for_else_the_setting(self, database: Database) -> None:
        service = housekeeping_of(database, retention_days=30)

        assert (service.retention(None), service.retention(7)) == (timedelta(days=30), timedelta(days=7))

    async def test_is_refused_where_neither_says_a_number(self, database: Database) -> None:
        with pytest.raises(RetentionOffError):
            housekeeping_of(database, retention_days=0).retention(None)


class TestSchedule:
    @pytest.mark.parametrize(("days", "left"), [pytest.param(30, 0, id="on"), pytest.param(0, 1, id="off")])
    async def test_deletes_in_every_worker_unless_it_is_off(self, database: Database, days: int, left: int) -> None:
        await ended_job(database, days=31)

        await housekeeping_of(database, stale_after_hours=0, retention_days=days).run_due()

        assert len(await job_ids_of(database)) == left


class TestDeleteEnded:
    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_waits_for_nobody(self, database: Database, database_url: str) -> None:
        held, other = await ended_job(database, days=40), await ended_job(database, days=31)

        async with holding(database_url, [held.id]):
            deleted = await delete_ended(database, EVERYWHERE, before=now() - MONTH, limit=10)

        assert deleted == 1
        assert await job_ids_of(database) == {held.id}
        assert other.id not in await job_ids_of(database)

    async def test_judges_a_job_that_is_retried_by_its_status(self, database: Database) -> None:
        job = await ended_job(database, days=31, status=JobStatus.FAILED)
        await _end(database, job.id, now() - timedelta(days=31), status="queued")

        assert await delete_ended(database, EVERYWHERE, before=now() - MONTH, limit=10) == 0

        assert (await read_job(database, job.id)).status == "queued"


class TestDeleteUnusedBundles:
    async def test_deletes_old_bundles_that_no_job_names(self, database: Database) -> None:
        await insert_jobs(database, [new_job(bundle=BUNDLE)])
        await _make_old(database, BUNDLE.content_hash)
        old, young = [await _bundle(database, days=days) for days in (2, 0)]

        deleted = await _delete_bundles(database)

        there = [await find_bundle(database, each) is not None for each in (BUNDLE.content_hash, old, young)]
        assert (deleted, there) == (1, [True, False, True])

    async def test_lets_a_later_submit_write_the_bundle_anew(self, database: Database) -> None:
        job = new_job(bundle=BUNDLE)
        await insert_jobs(database, [job])
        async with database.transaction() as connection:
            await connection.execute(sa.delete(Job))
        await _make_old(database, BUNDLE.content_hash)
        assert await _delete_bundles(database) == 1

        await insert_jobs(database, [new_job(bundle=BUNDLE)])

        assert await find_bundle(database, BUNDLE.content_hash) == BUNDLE.to_json()

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_leaves_one_that_a_submit_is_about_to_name(self, database: Database) -> None:
        bundle_hash = await _bundle(database, days=2)
        job = new_job(definition_hash=bundle_hash)

        async with database.transaction() as submit:
            await submit.execute(
                sa.select(WorkflowBundle.hash)
                .where(WorkflowBundle.hash == bundle_hash)
                .with_for_update(read=True, key_share=True)
            )
            deleted = await _delete_bundles(database)
            await submit.execute(database.insert(Job), [job.values])

        assert (deleted, await _delete_bundles(database)) == (0, 0)
        assert await find_bundle(database, bundle_hash) is not None

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_a_submit_waits_for_a_deletion_and_writes_the_bundle_anew(self, database: Database) -> None:
        await insert_jobs(database, [new_job(bundle=BUNDLE)])

        async with database.transaction() as cleaner:
            await cleaner.execute(sa.delete(WorkflowBundle))
            submitting = asyncio.create_task(insert_jobs(database, [new_job(bundle=BUNDLE)]))
            await until_blocked(database, submitting)
        await submitting

        assert await find_bundle(database, BUNDLE.content_hash) == BUNDLE.to_json()

    async def test_under_submits_from_all_sides_no_job_is_left_without_its_bundle(
        self, database: Database, database_url: str
    ) -> None:
        bundles = [Bundle(definition={"name": "test", "steps": [], "number": number}) for number in range(3)]

        async def submit(bundle: Bundle) -> None:
            other = Database(database_url)
            for _ in range(25):
                await insert_jobs(other, [new_job(bundle=bundle)])
            await other.close()

        submits = [asyncio.create_task(submit(bundle)) for bundle in (*bundles, *bundles)]
        while not all(task.done() for task in submits):
            async with database.transaction() as connection:  # what kept the bundles is gone, and they are old
                await connection.execute(sa.delete(Job).where(Job.id.in_(await _some_jobs(database))))
                await connection.execute(sa.update(WorkflowBundle).values(created_at=now() - timedelta(days=2)))
            await _delete_bundles(database)
        await asyncio.gather(*submits)

        orphans = sa.select(sa.func.count(Job.id)).where(Job.definition_hash.not_in(sa.select(WorkflowBundle.hash)))
        async with database.reads() as session:
            assert await session.scalar(orphans) == 0


async def _end(database: Database, job_id: UUID, moment: datetime, *, status: str = "completed") -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.update(Job).where(Job.id == job_id).values(status=status, completed_at=moment))


async def _ended_jobs(database: Database, count: int) -> None:
    await add_jobs(database, count, status="completed", completed_at=now() - timedelta(days=31))


async def _consume(database: Database, job_id: UUID, moment: datetime) -> None:
    async with database.transaction() as connection:
        await connection.execute(
            sa.update(OutboxMessage).where(OutboxMessage.job_id == job_id).values(consumed_at=moment)
        )


async def _webhook_attempt(database: Database, job_id: UUID) -> None:
    values = {
        "id": new_uuid(),
        "job_id": job_id,
        "attempt_number": 1,
        "webhook_url": "https://example.org",
        "payload": "{}",
        "attempted_at": now(),
        "created_at": now(),
    }
    async with database.transaction() as connection:
        await connection.execute(sa.insert(WebhookAttempt).values(**values))


async def _bundle(database: Database, *, days: float) -> str:
    """Write a bundle of so many days ago that no job names, and return its hash."""
    bundle_hash = new_uuid().hex * 2
    values = {
        "hash": bundle_hash,
        "workflow_name": "test",
        "workflow_version": "1.0",
        "content": "{}",
        "created_at": now() - timedelta(days=days),
    }
    async with database.transaction() as connection:
        await connection.execute(sa.insert(WorkflowBundle).values(**values))
    return bundle_hash


async def _make_old(database: Database, bundle_hash: str) -> None:
    long_ago = now() - timedelta(days=31)
    async with database.transaction() as connection:
        await connection.execute(
            sa.update(WorkflowBundle).where(WorkflowBundle.hash == bundle_hash).values(created_at=long_ago)
        )


async def _delete_bundles(database: Database) -> int:
    return await delete_unused_bundles(database, written_before=now() - timedelta(days=1), limit=10)


async def _some_jobs(database: Database) -> list[UUID]:
    async with database.reads() as session:
        return list(await session.scalars(sa.select(Job.id)))


async def _counts(database: Database, *tables: Any) -> list[int]:
    async with database.reads() as session:
        return [await session.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables]
