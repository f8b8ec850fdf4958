"""Repositories: bound to a tenant, paged newest first; and units of work: all of it or nothing."""

from collections.abc import AsyncIterator

import pytest

from callboard.core.database import Database
from callboard.core.ids import new_uuid
from callboard.core.pagination import PageRequest, decode_cursor
from callboard.core.repository import TenantScope
from callboard.core.unit_of_work import unit_of_work
from callboard.jobs.errors import JobNotFoundError
from callboard.jobs.models import Job
from callboard.jobs.repository.jobs import JobRepository
from tests.fixtures.job_rows import add_jobs

MINE, EVERY = TenantScope("default"), TenantScope.every_tenant()


@pytest.fixture
async def repository(database: Database) -> AsyncIterator[JobRepository]:
    async with database.reads() as session:
        yield JobRepository(session, MINE)


class TestBaseRepository:
    async def test_finds_the_rows_of_its_tenant_alone(self, database: Database) -> None:
        (mine,), (theirs,) = await add_jobs(database), await add_jobs(database, tenant_id="other")
        async with database.reads() as session:
            repository, operators = JobRepository(session, MINE), JobRepository(session, EVERY)

            assert (await repository.get(mine)).id == mine
            assert await repository.find(theirs) is None
            assert (await operators.get(theirs)).id == theirs

    async def test_says_which_row_is_not_there(self, repository: JobRepository) -> None:
        missing = new_uuid()

        with pytest.raises(JobNotFoundError, match=str(missing)):
            await repository.get(missing)

    async def test_gives_every_row_once_over_its_pages_newest_first(
        self, database: Database, repository: JobRepository
    ) -> None:
        ids = await add_jobs(database, 7)
        await add_jobs(database, 2, tenant_id="other")
        seen, page = [], PageRequest(limit=3)

        while True:
            found = await repository.list_page(page)
            seen.append([job.id for job in found.items])
            if found.next_cursor is None:
                break
            page = PageRequest(limit=3, after=decode_cursor(found.next_cursor))

        newest = ids[::-1]
        assert seen == [newest[:3], newest[3:6], newest[6:]]


class TestUnitOfWork:
    async def test_commits_what_several_repositories_did_together(self, database: Database) -> None:
        first, second = await add_jobs(database, 2)
        async with unit_of_work(database) as work:
            repository = work.repository(JobRepository, MINE)
            (await repository.get(first)).run_name = "named"
            await work.repository(JobRepository, EVERY).remove(await repository.get(second))

        async with database.reads() as session:
            assert [job.run_name for job in (await JobRepository(session, EVERY).list_page(PageRequest())).items] == [
                "named"
            ]

    async def test_leaves_nothing_behind_when_it_raises(self, database: Database) -> None:
        (job_id,) = await add_jobs(database)

        async def remove_and_fail() -> None:
            async with unit_of_work(database) as work:
                repository = work.repository(JobRepository, MINE)
                await repository.remove(await repository.get(job_id))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await remove_and_fail()

        async with database.reads() as session:
            found: Job = await JobRepository(session, MINE).get(job_id)
        assert found.id == job_id
