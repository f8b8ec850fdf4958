"""Waiting for ends: told at once by this process, seen soon when another one ended the job, and by one query."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from callboard.core.database import Database
from callboard.core.ids import new_uuid
from callboard.jobs.endings import Endings
from callboard.jobs.repository.finishes import Finish, write_finishes
from callboard.jobs.repository.jobs import find_ended, request_cancel
from callboard.jobs.status import JobStatus
from tests.fixtures.job_rows import add_jobs, claimed_job

SOON_SECONDS = 5.0  # what is promised is far less; the machine may be busy


class Table:
    """What has ended, as a query sees it. `failures` are raised first."""

    def __init__(self, *failures: Exception) -> None:
        self.ended: set[UUID] = set()
        self.asked: list[list[UUID]] = []
        self.failures = list(failures)

    async def find(self, ids: Sequence[UUID]) -> list[UUID]:
        self.asked.append(list(ids))
        if self.failures:
            raise self.failures.pop(0)
        return [job_id for job_id in ids if job_id in self.ended]


class TestWait:
    async def test_returns_when_the_end_is_announced(self) -> None:
        endings, job_id = Endings(Table().find), new_uuid()
        waiting = [asyncio.create_task(endings.wait(job_id, seconds=60)) for _ in range(3)]
        await asyncio.sleep(0)

        endings.announce(job_id)

        await asyncio.wait_for(asyncio.gather(*waiting), SOON_SECONDS)
        await endings.close()

    async def test_returns_when_another_process_has_ended_the_job(self, database: Database) -> None:
        job = await claimed_job(database)
        endings = Endings(lambda ids: find_ended(database, ids))
        waiting = asyncio.create_task(endings.wait(job.id, seconds=60))
        await asyncio.sleep(0.05)

        await write_finishes(database, [Finish(job_id=job.id, fence=job.fence, status=JobStatus.COMPLETED)])

        await asyncio.wait_for(waiting, SOON_SECONDS)
        await endings.close()

    async def test_returns_when_the_time_is_up(self) -> None:
        endings = Endings(Table().find)

        await asyncio.wait_for(endings.wait(new_uuid(), seconds=0.05), SOON_SECONDS)

        await endings.close()

    async def test_asks_for_all_who_wait_by_one_query(self) -> None:
        table, ids = Table(), [new_uuid() for _ in range(20)]
        endings = Endings(table.find)
        waiting = [asyncio.create_task(endings.wait(job_id, seconds=60)) for job_id in ids]
        await asyncio.sleep(0.02)
        table.ended = set(ids)

        await asyncio.wait_for(asyncio.gather(*waiting), SOON_SECONDS)

        assert len(table.asked) <= 2
        assert sorted(table.asked[-1]) == sorted(ids)
        await endings.close()

    async def test_goes_on_when_the_database_was_away(self) -> None:
        table, job_id = Table(ConnectionRefusedError()), new_uuid()
        table.ended = {job_id}
        endings = Endings(table.find)

        await asyncio.wait_for(endings.wait(job_id, seconds=60), SOON_SECONDS)

        await endings.close()

    async def test_stops_asking_when_nobody_waits(self) -> None:
        table = Table()
        endings = Endings(table.find)
        await endings.wait(new_uuid(), seconds=0.01)
        await asyncio.sleep(0.4)
        asked = len(table.asked)

        await asyncio.sleep(0.6)

        assert len(table.asked) == asked
        await endings.close()

    async def test_forgets_a_waiter_that_was_cancelled_and_serves_the_others(self) -> None:
        endings, job_id = Endings(Table().find), new_uuid()
        gone = asyncio.create_task(endings.wait(job_id, seconds=60))
        stays = asyncio.create_task(endings.wait(job_id, seconds=60))
        await asyncio.sleep(0)

        gone.cancel()
        await asyncio.sleep(0)
        endings.announce(job_id)

        await asyncio.wait_for(stays, SOON_SECONDS)
        await endings.close()


class TestClose:
    async def test_lets_everybody_go(self) -> None:
        endings = Endings(Table().find)
        waiting = asyncio.create_task(endings.wait(new_uuid(), seconds=60))
        await asyncio.sleep(0)

        await endings.close()

        await asyncio.wait_for(waiting, SOON_SECONDS)


class TestFindEnded:
    async def test_gives_those_that_have_ended(self, database: Database) -> None:
        ended, running = await add_jobs(database, 2)
        await request_cancel(database, [ended])

        assert await find_ended(database, [ended, running, new_uuid()]) == [ended]
