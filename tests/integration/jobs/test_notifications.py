"""News between processes on PostgreSQL: a submit rings, a cancel stops, and a lost connection loses neither."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from callboard.core import notifications
from callboard.core.database import Database
from callboard.core.notifications import NotificationListener
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.repository.submissions import WORK_CHANNEL, insert_jobs
from tests.fixtures.broken_connections import breaks_connections
from tests.fixtures.job_rows import claimed_job, new_job
from tests.fixtures.postgres_server import PostgresServer

SOON_SECONDS = 10.0


class Heard:
    """What a listener was told, to be awaited."""

    def __init__(self) -> None:
        self.news: asyncio.Queue[str] = asyncio.Queue()

    async def next(self) -> str:
        return await asyncio.wait_for(self.news.get(), SOON_SECONDS)


@pytest.fixture
async def heard(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Heard]:
    """What a listener on the test's database hears."""
    monkeypatch.setattr(notifications, "RECONNECT_SECONDS", 0.05)
    heard = Heard()
    listener = NotificationListener(postgres_url, channel=f"{WORK_CHANNEL}_callboard", on_notify=heard.news.put_nowait)
    await listener.start()
    yield heard
    await listener.stop()


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    database = Database(postgres_url)
    yield database
    await database.close()


async def ring_until_heard(database: Database, heard: Heard) -> None:
    """Submit until the listener listens: it connects in its own time."""
    async with asyncio.timeout(SOON_SECONDS):
        while heard.news.empty():
            await insert_jobs(database, [new_job()])
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.1)  # for those that are still on their way
    while not heard.news.empty():
        heard.news.get_nowait()


class TestNotificationListener:
    async def test_hears_one_ring_of_a_flush_of_submits(self, database: Database, heard: Heard) -> None:
        await ring_until_heard(database, heard)

        await insert_jobs(database, [new_job() for _ in range(5)])

        assert await heard.next() == ""
        await asyncio.sleep(0.1)
        assert heard.news.empty()

    async def test_hears_which_running_job_is_to_be_stopped(self, database: Database, heard: Heard) -> None:
        job = await claimed_job(database)
        await ring_until_heard(database, heard)

        await request_cancel(database, [job.id])

        assert await heard.next() == f"cancel {job.id}"

    async def test_hears_nothing_of_what_was_rolled_back(self, database: Database, heard: Heard) -> None:
        await ring_until_heard(database, heard)

        with pytest.raises(Exception, match="ck_llm_workflow_jobs_priority"):
            await insert_jobs(database, [new_job(), new_job(priority=99)])

        await asyncio.sleep(0.1)
        assert heard.news.empty()

    @breaks_connections
    async def test_rings_for_what_it_missed_when_it_comes_back_after_a_loss(
        self, database: Database, heard: Heard, postgres_server: PostgresServer, postgres_url: str
    ) -> None:
        await ring_until_heard(database, heard)
        await database.close()
        name = postgres_url.rpartition("/")[2]

        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        await asyncio.to_thread(postgres_server.execute, query)

        assert await heard.next() == ""
        await ring_until_heard(database, heard)

    async def test_goes_on_trying_where_nobody_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(notifications, "RECONNECT_SECONDS", 0.01)
        heard = Heard()
        listener = NotificationListener(
            "postgresql+asyncpg://nobody@127.0.0.1:1/none", channel="c", on_notify=heard.news.put_nowait
        )

        await listener.start()

        assert [await heard.next() for _ in range(3)] == ["", "", ""]
        await listener.stop()
