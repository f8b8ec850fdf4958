"""Tokens: each claims one job and waits for it; those that come together are claimed for together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa

from callboard.core.database import Database
from callboard.jobs.models import Job
from callboard.jobs.tokens import TokenClaimer
from callboard.workflows.bundles import Bundle
from tests.fixtures.broken_connections import breaks_connections
from tests.fixtures.job_rows import add_jobs, read_job
from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.scripted_steps import call
from tests.fixtures.scripted_worker import GatedWorld, ScriptedWorker, build_worker

ONE_CALL = Bundle(definition={"name": "test", "steps": [call("first")]})
SOON_SECONDS = 20.0


class Rings:
    """A doorbell's `ring` that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, count: int = 1, *, priority: int = 0) -> None:
        self.count += count


class TokenWorker:
    """A worker whose jobs are claimed by tokens alone."""

    def __init__(self, worker: ScriptedWorker, rings: Rings, patience_seconds: float) -> None:
        self.worker = worker
        self.rings = rings
        self.tokens = TokenClaimer(worker.runner, ring=rings, patience_seconds=patience_seconds)

    async def take(self, count: int) -> list[dict[str, Any]]:
        return await asyncio.wait_for(asyncio.gather(*(self.tokens.take() for _ in range(count))), SOON_SECONDS)


@asynccontextmanager
async def token_worker(
    database: Database, world: GatedWorld, *, patience_seconds: float = 60, slots: int = 100
) -> AsyncIterator[TokenWorker]:
    worker = build_worker(database, world)
    worker.runner._max_running = slots
    await worker.lease.register()
    await worker.sweeper._limits.refresh()  # as a sweeper that runs does: no call is made before limits are known
    given = TokenWorker(worker, Rings(), patience_seconds)
    try:
        yield given
    finally:
        world.gate.set()
        await given.tokens.stop()
        await worker.stop()


class TestTake:
    async def test_says_which_job_it_ran_and_how_that_ended(self, database: Database) -> None:
        (job_id,) = await add_jobs(database, bundle=ONE_CALL)
        async with token_worker(database, GatedWorld()) as worker:
            (result,) = await worker.take(1)

        assert result == {"workflow": "test", "job_id": str(job_id), "status": "completed"}

    async def test_says_so_when_there_is_nothing_to_do(self, database: Database) -> None:
        async with token_worker(database, GatedWorld()) as worker:
            assert await worker.take(1) == [{"status": "nothing to do"}]

    async def test_claims_one_job_for_one_token(self, database: Database) -> None:
        ids = await add_jobs(database, 3, bundle=ONE_CALL)
        async with token_worker(database, GatedWorld()) as worker:
            await worker.take(1)

        assert sorted([(await read_job(database, job_id)).status for job_id in ids]) == [
            "completed",
            "queued",
            "queued",
        ]

    async def test_gives_as_many_jobs_as_there_are_to_more_tokens(self, database: Database) -> None:
        await add_jobs(database, 3, bundle=ONE_CALL)
        async with token_worker(database, GatedWorld()) as worker:
            results = await worker.take(8)

        assert [result["status"] for result in results].count("completed") == 3
        assert [result["status"] for result in results].count("nothing to do") == 5

    async def test_claims_for_many_tokens_in_few_statements(self, database: Database) -> None:
        await add_jobs(database, 60, bundle=ONE_CALL)
        async with token_worker(database, GatedWorld()) as worker:
            results = await worker.take(60)

        assert {result["status"] for result in results} == {"completed"}
        async with database.reads() as session:  # one claim gives its jobs one moment
            claims = (await session.scalars(sa.select(Job.started_at).distinct())).all()
        assert len(claims) <= 6

    async def test_takes_the_most_urgent_first(self, database: Database) -> None:
        await add_jobs(database, 5, bundle=ONE_CALL)
        (urgent,) = await add_jobs(database, bundle=ONE_CALL, priority=10)
        async with token_worker(database, GatedWorld()) as worker:
            (result,) = await worker.take(1)

        assert result["job_id"] == str(urgent)

    async def test_lets_a_long_run_go_on_without_its_token(self, database: Database) -> None:
        (job_id,) = await add_jobs(database, bundle=ONE_CALL)
        world = GatedWorld(is_open=False)
        async with token_worker(database, world, patience_seconds=0.3) as worker:
            (result,) = await worker.take(1)
            world.gate.set()
            job = await worker.worker.ended(job_id)

        assert result == {"workflow": "test", "job_id": str(job_id), "status": "running"}
        assert job.status == "completed"

    async def test_waits_for_room(self, database: Database) -> None:
        await add_jobs(database, 4, bundle=ONE_CALL)
        async with token_worker(database, GatedWorld(), slots=1) as worker:
            results = await worker.take(4)

        assert {result["status"] for result in results} == {"completed"}

    async def test_gives_up_when_there_is_no_room_for_long(self, database: Database) -> None:
        await add_jobs(database, 2, bundle=ONE_CALL)
        world = GatedWorld(is_open=False)
        async with token_worker(database, world, slots=1, patience_seconds=0.3) as worker:
            results = await worker.take(2)

        assert sorted(result["status"] for result in results) == ["nothing to do", "running"]

    @breaks_connections
    async def test_outlives_connections_that_are_cut(self, postgres_url: str, postgres_server: PostgresServer) -> None:
        database, name = Database(postgres_url), postgres_url.rpartition("/")[2]
        (job_id,) = await add_jobs(database, bundle=ONE_CALL)
        async with token_worker(database, GatedWorld()) as worker:
            cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            await asyncio.to_thread(postgres_server.execute, cut)
            (result,) = await worker.take(1)
        await database.close()

        assert (result["job_id"], result["status"]) == (str(job_id), "completed")


class TestStop:
    async def test_rings_again_for_tokens_that_waited(self, database: Database) -> None:
        await add_jobs(database, 3, bundle=ONE_CALL)
        world = GatedWorld(is_open=False)
        async with token_worker(database, world, slots=1) as worker:
            taking = asyncio.create_task(worker.take(3))
            await world.is_reached()

            await worker.tokens.stop()
            world.gate.set()
            results = await taking

        assert sorted(result["status"] for result in results) == ["completed", "nothing to do", "nothing to do"]
        assert worker.rings.count == 2

    async def test_rings_again_for_a_token_that_comes_too_late(self, database: Database) -> None:
        await add_jobs(database, bundle=ONE_CALL)
        async with token_worker(database, GatedWorld()) as worker:
            await worker.tokens.stop()

            assert await worker.take(1) == [{"status": "nothing to do"}]
            assert worker.rings.count == 1
