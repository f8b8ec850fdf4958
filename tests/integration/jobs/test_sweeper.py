"""The sweeper: buries the dead and nobody else, gives back what was forgotten, comes back when it was buried itself."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from callboard.core.cache import KeptAnswer
from callboard.core.cache_table import DatabaseAnswerStore
from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.idempotency import IdempotencyKey
from callboard.core.json_values import loads
from callboard.jobs.models import Worker
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.repository.submissions import insert_jobs
from tests.fixtures.aged_jobs import aged_jobs, job_ids_of
from tests.fixtures.job_rows import (
    HERE,
    add_jobs,
    add_worker,
    change,
    claimed_job,
    events_of,
    journal_of,
    kill_worker,
    new_job,
    read_job,
    read_worker,
    usage_of,
)
from tests.fixtures.scripted_steps import call
from tests.fixtures.scripted_worker import END_SECONDS, GatedWorld, ScriptedWorker, build_worker, scripted_worker

LEASE_SECONDS = 1.0


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[ScriptedWorker]:
    """A worker that has registered; nothing of it runs by itself."""
    worker = build_worker(database, GatedWorld(), lease_seconds=LEASE_SECONDS)
    await worker.lease.register()
    yield worker
    await worker.lease.stop()


async def is_dead(database: Database, worker_id: Any) -> bool:
    return (await read_worker(database, worker_id)).dead_at is not None


class TestSweep:
    async def test_takes_over_at_once_from_a_process_of_this_host_that_is_gone(
        self, database: Database, worker: ScriptedWorker
    ) -> None:
        ended = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
        )
        gone = await add_worker(database, identity=replace(HERE, pid=int(ended.stdout)))
        job = await claimed_job(database, gone)

        await worker.sweeper.sweep()

        assert await is_dead(database, gone)
        assert (await read_job(database, job.id)).status == "queued"

    async def test_tells_a_process_from_an_earlier_one_with_its_pid(
        self, database: Database, worker: ScriptedWorker
    ) -> None:
        earlier = await add_worker(database, identity=replace(HERE, started_at="1"))

        await worker.sweeper.sweep()

        assert await is_dead(database, earlier)

    async def test_leaves_the_living(self, database: Database, worker: ScriptedWorker) -> None:
        here, elsewhere = await add_worker(database, identity=HERE), await add_worker(database)

        await worker.sweeper.sweep()

        assert not await is_dead(database, here)
        assert not await is_dead(database, elsewhere)
        assert not await is_dead(database, worker.lease.worker_id)

    async def test_judges_an_expired_lease_only_after_it_has_watched_for_a_whole_one(
        self, database: Database, worker: ScriptedWorker
    ) -> None:
        silent = await add_worker(database, lease_seconds=-1)

        await worker.sweeper.sweep()
        assert not await is_dead(database, silent)
        await _sweep_until(worker, worker.sweeper._has_watched_a_lease)

        assert await is_dead(database, silent)

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_gives_everybody_a_whole_lease_after_the_database_hung(
        self, database: Database, worker: ScriptedWorker
    ) -> None:
        await _sweep_until(worker, worker.sweeper._has_watched_a_lease)
        neighbour = await add_worker(database, lease_seconds=LEASE_SECONDS)

        await asyncio.sleep(LEASE_SECONDS + 0.2)  # as long as no query was answered; no error was raised
        await worker.sweeper.sweep()

        assert not await is_dead(database, neighbour)

    async def test_hands_back_what_was_claimed_and_never_heard_of(
        self, database: Database, worker: ScriptedWorker
    ) -> None:
        job = await claimed_job(database, worker.lease.worker_id)
        young = await claimed_job(database, worker.lease.worker_id)
        async with database.transaction() as connection:
            await change(connection, job.id, {"claimed_at": now() - timedelta(seconds=30)})

        await worker.sweeper.sweep()

        row = await read_job(database, job.id)
        assert (row.status, row.fence) == ("queued", job.fence + 1)
        assert (await read_job(database, young.id)).status == "processing"

    async def test_ends_what_breaks_its_runner_again_and_again(
        self, database: Database, worker: ScriptedWorker
    ) -> None:
        job = await claimed_job(database, worker.lease.worker_id)
        async with database.transaction() as connection:
            values = {"claimed_at": now() - timedelta(seconds=30), "retry_count": 3}
            await change(connection, job.id, values)

        await worker.sweeper.sweep()

        row = await read_job(database, job.id)
        assert (row.status, loads(row.error or "null")["type"]) == ("failed", "worker_lost")


class TestHeedCancels:
    async def test_stops_a_run_that_somebody_elsewhere_cancelled(self, database: Database) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([call("slow")])
            await world.is_reached()

            await request_cancel(database, [job_id])

            assert (await worker.ended(job_id)).status == "cancelled"


class TestCleanUp:
    async def test_deletes_old_keys_and_workers_that_left_long_ago(
        self, database: Database, worker: ScriptedWorker
    ) -> None:
        old = now() - timedelta(days=8)
        left, holder = await add_worker(database), await add_worker(database)
        await claimed_job(database, holder)
        await insert_jobs(database, [new_job(key="old", created_at=old), new_job(key="new")])
        async with database.transaction() as connection:
            await connection.execute(sa.update(Worker).where(Worker.id.in_([left, holder])).values(dead_at=old))

        await worker.sweeper.clean_up()

        async with database.reads() as session:
            assert list(await session.scalars(sa.select(IdempotencyKey.key))) == ["new"]
            workers = set(await session.scalars(sa.select(Worker.id)))
        assert workers == {holder, worker.lease.worker_id}  # what still names a job is kept

    async def test_deletes_kept_answers_that_have_expired(self, database: Database, worker: ScriptedWorker) -> None:
        moment = now()
        store = DatabaseAnswerStore(database)
        for key, expires_at in (("old", moment), ("new", moment + timedelta(hours=1))):
            store.keep_soon(
                KeptAnswer(tenant_id="a", key=key, value_json="1", created_at=moment, expires_at=expires_at)
            )
        await store.close()

        await worker.sweeper.clean_up()

        assert [await store.find("a", key) is not None for key in ("old", "new")] == [False, True]

    async def test_fails_what_is_stale_and_deletes_what_is_old_in_a_worker_that_runs_nothing(
        self, database: Database
    ) -> None:
        (stale,) = await aged_jobs(database)
        await add_jobs(database, 1, status="completed", completed_at=now() - timedelta(days=31))
        worker = build_worker(database, GatedWorld(), stale_after_hours=72, retention_days=30)

        await worker.sweeper.clean_up()

        assert (await read_job(database, stale)).status == "failed"
        assert await job_ids_of(database) == {stale}

    async def test_is_left_between_two_batches_when_the_worker_stops(self, database: Database) -> None:
        (stale,) = await aged_jobs(database)
        worker = build_worker(database, GatedWorld())

        await worker.sweeper.stop()
        await worker.sweeper.clean_up()

        assert (await read_job(database, stale)).status == "queued"


class TestMarkedDead:
    async def test_lets_go_of_its_runs_and_comes_back_as_a_new_worker(self, database: Database) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world, lease_seconds=LEASE_SECONDS) as worker:
            job_id = await worker.submit([call("slow"), call("next")])
            await world.is_reached()
            dead = worker.lease.worker_id

            await kill_worker(database, dead)
            await _until(lambda: worker.lease.worker_id != dead)
            world.gate.set()
            job = await worker.ended(job_id)

        assert (job.status, job.retry_count) == ("completed", 1)
        assert "job.requeued" in await events_of(database, job_id)
        assert sorted(await journal_of(database, job_id)) == ["next", "next#1", "slow", "slow#1"]
        assert {fence for _, fence, _ in await usage_of(database, job_id)} == {3}  # claim, take-over, claim

    async def test_counts_the_call_of_a_run_that_did_not_know_yet_and_writes_nothing_else(
        self, database: Database
    ) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world, lease_seconds=60) as worker:  # its next renewal is far away
            job_id = await worker.submit([call("slow"), call("next")])
            await world.is_reached()
            await kill_worker(database, worker.lease.worker_id)
            await _take_over(database)

            world.gate.set()
            await _until(lambda: not worker.runner.holds(job_id))

        assert await journal_of(database, job_id) == {}
        assert [path for path, _, _ in await usage_of(database, job_id)] == ["slow"]
        assert world.finished.total() == 1


class TestClaimOfADeadWorker:
    async def test_is_not_begun_when_the_lease_was_lost_meanwhile(self, database: Database) -> None:
        world = GatedWorld()
        worker = build_worker(database, world, lease_seconds=LEASE_SECONDS)
        await worker.lease.register()
        job_id = await worker.submit([call("a")])

        async with database.transaction() as connection:  # on both databases this holds the claim up
            if database.is_postgresql:
                await connection.exec_driver_sql("LOCK TABLE callboard.job_events")
            claiming = asyncio.create_task(worker.runner.run_next())
            await asyncio.sleep(0.2)
            worker.lease._is_lost = True
        await claiming

        assert not worker.runner.holds(job_id)
        assert world.begun == []
        worker.lease._is_lost = False
        await worker.stop()


class TestDatabaseAway:
    async def test_is_survived_by_every_task(self, database: Database, database_url: str) -> None:
        async with scripted_worker(database, GatedWorld(), lease_seconds=LEASE_SECONDS) as worker:
            other = Database(database_url)
            async with other.transaction() as connection:
                await connection.execute(sa.text(_rename(database, "workers", "away")))
            await asyncio.sleep(0.8)
            async with other.transaction() as connection:
                await connection.execute(sa.text(_rename(database, "away", "workers")))
            await other.close()

            job_id = await worker.submit([call("a")])

            assert (await worker.ended(job_id)).status == "completed"


def _rename(database: Database, table: str, to: str) -> str:
    prefix = "callboard." if database.is_postgresql else ""
    return f"ALTER TABLE {prefix}{table} RENAME TO {to}"


async def _sweep_until(worker: ScriptedWorker, is_so: Callable[[], bool]) -> None:
    """Sweep as often as a worker does until `is_so`, and once more."""
    async with asyncio.timeout(END_SECONDS):
        while not is_so():
            await worker.sweeper.sweep()
            await asyncio.sleep(LEASE_SECONDS / 10)
    await worker.sweeper.sweep()


async def _take_over(database: Database) -> None:
    other = build_worker(database, GatedWorld())
    await other.sweeper.sweep()


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(END_SECONDS):
        while not is_so():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
