"""A worker's row: renewed by a thread of its own, lost for good, and left in good order."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from callboard.core.database import Database
from callboard.jobs import leases
from callboard.jobs.leases import WorkerLease
from callboard.jobs.repository.workers import list_living_workers
from tests.fixtures.job_rows import kill_worker, read_worker

LOST_SECONDS = 10.0


@pytest.fixture
async def lease(database: Database) -> AsyncIterator[WorkerLease]:
    """A registered worker with a short lease."""
    lease = WorkerLease(database, lease_seconds=1.5, slots=7)
    await lease.register()
    yield lease
    await lease.stop()


class TestWorkerLease:
    async def test_shows_this_process_to_others(self, database: Database, lease: WorkerLease) -> None:
        (worker,) = await list_living_workers(database)

        assert (worker.id, worker.identity, worker.is_expired) == (lease.worker_id, lease.identity, False)
        assert lease.is_current
        assert (await read_worker(database, lease.worker_id)).slots == 7

    async def test_is_renewed_while_the_loop_is_busy_for_longer_than_a_lease(
        self, database: Database, lease: WorkerLease
    ) -> None:
        time.sleep(2.2)  # noqa: ASYNC251 - the loop is to be held

        (worker,) = await list_living_workers(database)
        assert not worker.is_expired
        assert lease.is_current

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_is_not_renewed_when_the_loop_does_not_answer_at_all(
        self, database: Database, lease: WorkerLease, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leases, "MAX_LOOP_SILENCE_SECONDS", 0.3)

        time.sleep(2.2)  # noqa: ASYNC251 - the loop is to be held

        assert not lease.is_current
        (worker,) = await list_living_workers(database)
        assert worker.is_expired

    async def test_is_lost_when_somebody_marks_the_worker_dead(self, database: Database, lease: WorkerLease) -> None:
        await kill_worker(database, lease.worker_id)

        await _is_lost(lease)

        assert lease.is_lost
        assert not lease.is_current
        assert lease.keeps_trying(0)  # what it paid is counted, if the database comes back soon
        assert not lease.keeps_trying(60)

    async def test_comes_back_as_another_worker(self, database: Database, lease: WorkerLease) -> None:
        dead = lease.worker_id
        await kill_worker(database, dead)
        await _is_lost(lease)

        await lease.register_again()

        assert lease.worker_id != dead
        assert lease.is_current
        assert (await read_worker(database, dead)).dead_at is not None
        assert [worker.id for worker in await list_living_workers(database)] == [lease.worker_id]

    async def test_leaves_in_good_order(self, database: Database, lease: WorkerLease) -> None:
        await lease.stop()

        assert (await read_worker(database, lease.worker_id)).stopped_at is not None
        assert not lease.keeps_trying(60)

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_starts_nothing_past_a_lease_that_could_not_be_renewed(
        self, database: Database, database_url: str, lease: WorkerLease
    ) -> None:
        other = Database(database_url)
        async with other.transaction() as connection:
            await connection.exec_driver_sql("LOCK TABLE callboard.workers")
            await asyncio.sleep(2)

            assert not lease.is_current
            assert not lease.is_lost
            assert lease.keeps_trying(1000)  # what is under way may be committed: the fence stands
        await other.close()

        async with asyncio.timeout(LOST_SECONDS):
            while not lease.is_current:  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.05)


class TestKeepsTrying:
    def test_goes_on_for_as_long_as_the_database_is_away(self, sqlite_url: str) -> None:
        lease = WorkerLease(Database(sqlite_url), lease_seconds=2, slots=1)

        assert lease.keeps_trying(86_400)

    @pytest.mark.parametrize(("waited_seconds", "goes_on"), [(1.0, True), (60.0, False)])
    def test_ends_soon_when_the_process_leaves(self, sqlite_url: str, waited_seconds: float, *, goes_on: bool) -> None:
        lease = WorkerLease(Database(sqlite_url), lease_seconds=2, slots=1)

        lease.leave()

        assert lease.keeps_trying(waited_seconds) is goes_on


async def _is_lost(lease: WorkerLease) -> None:
    """Return when the lease has found out; its renewals look a few times a second."""
    async with asyncio.timeout(LOST_SECONDS):
        while not lease.is_lost:  # noqa: ASYNC110 - the thread that renews tells nobody
            await asyncio.sleep(0.02)
