"""Erasing a user: what is theirs goes, what runs goes when it has ended; money and messages stay, without a name."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from callboard.accounts.models import ApiKey
from callboard.accounts.service import ApiKeyService
from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.idempotency import IdempotencyKey
from callboard.core.json_values import dumps, loads
from callboard.core.security import KeyHasher
from callboard.jobs.erasure import ErasureReport, ErasureService
from callboard.jobs.models import Job, JobEvent, JobStep
from callboard.jobs.repository.claims import ClaimedJob
from callboard.jobs.repository.erasure import Person
from callboard.jobs.repository.finishes import Finish, write_finishes
from callboard.jobs.repository.journal import write_journal
from callboard.jobs.repository.stale import fail_stale
from callboard.jobs.repository.submissions import insert_jobs
from callboard.jobs.status import JobStatus
from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage
from tests.fixtures.aged_jobs import Told, job_ids_of
from tests.fixtures.job_rows import USAGE_COST, add_jobs, claimed_job, journal_write, new_job, read_job

ADA = Person("default", "ada")
HASHER = KeyHasher("a secret of at least thirty-two characters")


@pytest.fixture
async def keys(database: Database) -> AsyncIterator[ApiKeyService]:
    service = ApiKeyService(database, HASHER)
    yield service
    await service.close()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def erasures(database: Database, keys: ApiKeyService, told: Told) -> ErasureService:
    """The service of a process that runs nothing."""
    return ErasureService(database, api_keys=keys, abort_run=told.aborted.append, announce=told.announced.append)


class TestErase:
    @pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.PROCESSING}))
    async def test_deletes_what_no_worker_holds(
        self, database: Database, erasures: ErasureService, status: JobStatus
    ) -> None:
        await add_jobs(database, 1, user_id="ada", status=status)
        (other,) = await add_jobs(database, 1, user_id="bob", status=status)

        report = await erasures.erase(ADA)

        assert (report.jobs, report.left) == (1, {})
        assert await job_ids_of(database) == {other}

    async def test_takes_steps_events_and_idempotency_answers_along(
        self, database: Database, erasures: ErasureService
    ) -> None:
        job = await adas_job(database)
        await insert_jobs(database, [new_job(key="ada's", user_id="ada"), new_job(key="bob's", user_id="bob")])
        await end(database, job)

        await erasures.erase(ADA)

        async with database.reads() as session:
            assert list(await session.scalars(sa.select(IdempotencyKey.key))) == ["bob's"]
            assert await session.scalar(sa.select(sa.func.count()).select_from(JobStep)) == 0
            assert set(await session.scalars(sa.select(JobEvent.job_id))) == await job_ids_of(database)

    async def test_cancels_what_runs_and_erases_it_once_it_has_ended(
        self, database: Database, erasures: ErasureService, told: Told
    ) -> None:
        job = await adas_job(database)

        first = await erasures.erase(ADA)
        asked = (await read_job(database, job.id)).cancel_requested_at
        again = await erasures.erase(ADA)
        await end(database, job, JobStatus.CANCELLED)
        last = await erasures.erase(ADA)

        assert (first.cancelling, first.jobs, first.left) == (1, 0, {JobStatus.PROCESSING: 1})
        assert (asked is not None, told.aborted) == (True, [job.id])
        assert (again.cancelling, again.left) == (0, {JobStatus.PROCESSING: 1})
        assert (last.jobs, last.left) == (1, {})

    async def test_keeps_numbers_of_what_was_paid_for_without_the_person(
        self, database: Database, erasures: ErasureService
    ) -> None:
        job = await adas_job(database)
        await end(database, job)
        await usage_without_job(database, user_id="ada")  # its job was deleted long ago
        await usage_without_job(database, user_id="bob")

        report = await erasures.erase(ADA)

        rows = await usage_rows(database)
        assert report.usage_rows == 2
        assert [row.cost_usd for row in rows] == [USAGE_COST] * 3
        assert [named_in(row) for row in rows if row.user_id != "bob"] == [[None] * 5] * 2
        assert [row.usage_metadata for row in rows if row.user_id == "bob"] == ['{"place":"Ada\'s"}']

    async def test_leaves_messages_that_nobody_has_heard_of_without_the_person(
        self, database: Database, erasures: ErasureService
    ) -> None:
        heard, unheard = await adas_job(database), await adas_job(database)
        for job in (heard, unheard):
            await end(database, job)
        (waiting,) = await add_jobs(database, 1, user_id="ada", status="waiting")
        async with database.transaction() as connection:
            await connection.execute(
                sa.update(OutboxMessage).where(OutboxMessage.job_id == heard.id).values(consumed_at=now())
            )

        await erasures.erase(ADA)

        async with database.reads() as session:
            rows = list(await session.scalars(sa.select(OutboxMessage).order_by(OutboxMessage.id)))
        assert [(row.job_id, row.event) for row in rows] == [
            (unheard.id, "workflow.failed"),
            (waiting, "workflow.cancelled"),
        ]
        assert all("ada" not in row.payload.lower() for row in rows)
        assert loads(rows[0].payload)["status"] == "failed"

    async def test_revokes_the_keys_that_are_bound_to_the_user(
        self, database: Database, erasures: ErasureService, keys: ApiKeyService
    ) -> None:
        for user_id in ("ada", "bob"):
            await keys.create("app", ["jobs:read"], tenant_id="default", user_id=user_id)

        report = await erasures.erase(ADA)

        async with database.reads() as session:
            revoked = sa.select(ApiKey.user_id).where(ApiKey.revoked_at.is_not(None))
            assert list(await session.scalars(revoked)) == ["ada"]
        assert (report.api_keys, (await erasures.erase(ADA)).api_keys) == (1, 0)

    async def test_stays_within_the_tenant(
        self, database: Database, erasures: ErasureService, keys: ApiKeyService
    ) -> None:
        (job_id,) = await add_jobs(database, 1, user_id="ada", tenant_id="acme")
        await keys.create("app", ["jobs:read"], tenant_id="acme", user_id="ada")

        report = await erasures.erase(ADA)

        assert (report.jobs, report.api_keys) == (0, 0)
        assert await job_ids_of(database) == {job_id}

    async def test_wakes_whoever_waits_for_a_job_that_is_gone(
        self, database: Database, erasures: ErasureService, told: Told
    ) -> None:
        (job_id,) = await add_jobs(database, 1, user_id="ada")

        await erasures.erase(ADA)

        assert told.announced == [job_id]

    async def test_counts_once_and_namelessly_what_a_worker_that_comes_back_late_has_paid_for(
        self, database: Database, erasures: ErasureService
    ) -> None:
        job = await adas_job(database)
        await fail_stale(database, [job.id], older_than=timedelta(0))
        await erasures.erase(ADA)
        late = journal_write(job, "late", usage=True)
        assert late.usage is not None
        late.usage.update(named("ada"))

        kept = [await write_journal(database, [late]) for _ in range(2)]  # the first commit was not heard of

        first, second = await usage_rows(database)
        assert kept == [[False], [False]]
        assert (first.path, second.path) == ("a", "late")
        assert named_in(second) == [None] * 5

    async def test_again_finds_nothing(self, database: Database, erasures: ErasureService) -> None:
        await end(database, await adas_job(database))
        await erasures.erase(ADA)

        assert await erasures.erase(ADA) == ErasureReport(jobs=0, cancelling=0, usage_rows=0, api_keys=0, left={})


class TestPreview:
    async def test_tells_what_would_be_done_and_changes_nothing(
        self, database: Database, erasures: ErasureService, keys: ApiKeyService
    ) -> None:
        await end(database, await adas_job(database))
        running = await adas_job(database)
        await keys.create("app", ["jobs:read"], tenant_id="default", user_id="ada")

        preview = await erasures.preview(ADA)
        there = await job_ids_of(database)
        report = await erasures.erase(ADA)

        assert (preview.jobs, preview.cancelling, preview.usage_rows, preview.api_keys) == (1, 1, 2, 1)
        assert (report.jobs, report.cancelling, report.usage_rows, report.api_keys) == (1, 1, 2, 1)
        assert (len(there), await job_ids_of(database)) == (2, {running.id})


async def adas_job(database: Database) -> ClaimedJob:
    """Return a job of Ada's that a worker holds, with a step and a call that names her."""
    job = await claimed_job(database, user_id="ada", input_data={"name": "Ada"})
    write = journal_write(job, "a", usage=True)
    assert write.usage is not None
    write.usage.update(named("ada"))
    await write_journal(database, [write])
    return job


def named(user_id: str) -> dict[str, Any]:
    about = {"related_entity_type": "person", "related_entity_id": "Ada", "metadata": dumps({"place": "Ada's"})}
    return {"user_id": user_id, **about}


def named_in(row: ProviderUsage) -> list[Any]:
    return [row.job_id, row.user_id, row.related_entity_type, row.related_entity_id, row.usage_metadata]


async def end(database: Database, job: ClaimedJob, status: JobStatus = JobStatus.FAILED) -> None:
    error = {"type": "test", "category": "input", "message": "Ada is unknown.", "retryable": False, "details": {}}
    given = error if status is JobStatus.FAILED else None
    await write_finishes(database, [Finish(job_id=job.id, fence=job.fence, status=status, error=given)])


async def usage_without_job(database: Database, *, user_id: str) -> None:
    job = await claimed_job(database, user_id=user_id)
    write = journal_write(job, "a", usage=True)
    assert write.usage is not None
    write.usage.update(named(user_id))
    await write_journal(database, [write])
    await delete_job(database, job.id)


async def delete_job(database: Database, job_id: UUID) -> None:
    async with database.transaction() as connection:
        await connection.execute(sa.delete(Job).where(Job.id == job_id))


async def usage_rows(database: Database) -> list[ProviderUsage]:
    async with database.reads() as session:
        return list(await session.scalars(sa.select(ProviderUsage).order_by(ProviderUsage.id)))
