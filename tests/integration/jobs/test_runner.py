"""Runs: what stands in the journal is not done again, what is paid is kept, and every end is told clearly."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.errors import TemporaryError
from callboard.core.telemetry import Telemetry
from callboard.jobs.checkpoints import RunCheckpointer
from callboard.jobs.errors import JournalRefusedError
from callboard.jobs.models import Job
from callboard.jobs.repository.claims import claim_jobs
from callboard.jobs.repository.journal import write_journal
from callboard.workflows.bundles import Bundle
from callboard.workflows.steps.base import StepOutcome, StepRecord
from tests.fixtures.broken_connections import breaks_connections
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.job_rows import (
    add_jobs,
    add_worker,
    claimed_job,
    holding,
    journal_of,
    journal_write,
    kill_worker,
    outbox_of,
    read_job,
    usage_of,
)
from tests.fixtures.postgres_server import PostgresServer
from tests.fixtures.scripted_steps import call, echo, subrun
from tests.fixtures.scripted_worker import (
    END_SECONDS,
    MAX_OUTPUT_BYTES,
    GatedWorld,
    ScriptedWorker,
    build_worker,
    scripted_worker,
)
from tests.fixtures.server import ask, running_app, workflow

THREE_CALLS = [call("first", 1), call("second", 2), call("third", 3)]


class TestRun:
    async def test_goes_from_submit_to_result(self, database: Database) -> None:
        world = GatedWorld()
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(THREE_CALLS, outputs={"sum": ["${steps.first}", "${steps.third}"]})
            job = await worker.ended(job_id)

        assert (job.status, job.steps_completed) == ("completed", 3)
        assert json.loads(job.result_data or "")["sum"] == [1, 3]
        assert await outbox_of(database, job_id) == ["workflow.completed"]
        assert world.finished.total() == len(await usage_of(database, job_id)) == 3

    async def test_pays_nothing_again_that_an_earlier_worker_journaled(self, database: Database) -> None:
        bundle = Bundle(definition={"name": "test", "steps": THREE_CALLS})
        await add_jobs(database, bundle=bundle)
        dead = await add_worker(database)
        (job,) = await claim_jobs(database, dead, 1)
        await write_journal(database, [journal_write(job, "first", output="old"), journal_write(job, "second#1")])
        await kill_worker(database, dead)

        world = GatedWorld()
        async with scripted_worker(database, world) as worker:
            ended = await worker.ended(job.id)

        assert ended.status == "completed"
        assert world.begun == ["third"]
        assert (await journal_of(database, job.id))["first"] == '"old"'

    async def test_pays_nothing_again_inside_another_workflow(self, database: Database) -> None:
        inner = Bundle(definition={"name": "inner", "steps": THREE_CALLS})
        steps = [subrun("sub", "inner"), call("end", "${steps.sub.output}")]
        await add_jobs(database, bundle=Bundle(definition={"name": "test", "steps": steps}, workflows={"inner": inner}))
        dead = await add_worker(database)
        (job,) = await claim_jobs(database, dead, 1)
        await write_journal(database, [journal_write(job, "sub/first"), journal_write(job, "sub/second#1")])
        await kill_worker(database, dead)

        world = GatedWorld()
        async with scripted_worker(database, world) as worker:
            ended = await worker.ended(job.id)

        assert ended.status == "completed"
        assert world.begun == ["sub/third", "end"]
        assert json.loads((await journal_of(database, job.id))["end"] or "") == {"value": 3}

    async def test_runs_many_at_once(self, database: Database) -> None:
        world = GatedWorld()
        async with scripted_worker(database, world) as worker:
            ids = [await worker.submit(THREE_CALLS) for _ in range(40)]
            statuses = [(await worker.ended(job_id)).status for job_id in ids]

        assert statuses == ["completed"] * 40
        assert world.finished.total() == 120


class TestEnds:
    async def test_fails_clearly_when_the_bundle_is_gone(self, database: Database) -> None:
        async with scripted_worker(database, GatedWorld()) as worker:
            (job_id,) = await add_jobs(database)
            worker.doorbell.ring()
            error = json.loads((await worker.ended(job_id)).error or "")

        assert (error["type"], error["retryable"]) == ("bundle_missing", False)
        assert "is gone" in error["message"]

    async def test_fails_clearly_when_this_version_cannot_run_the_bundle(self, database: Database) -> None:
        async with scripted_worker(database, GatedWorld()) as worker:
            job_id = await worker.submit([{"id": "a", "type": "of another version"}])
            error = json.loads((await worker.ended(job_id)).error or "")

        assert (error["type"], error["category"]) == ("invalid_workflow", "workflow")
        assert "of another version" in error["message"]

    async def test_fails_as_internal_and_goes_on_with_others_when_our_own_code_breaks(self, database: Database) -> None:
        world = GatedWorld(failures={"broken": [ZeroDivisionError("a bug")]})
        async with scripted_worker(database, world) as worker:
            broken, fine = await worker.submit([call("broken")]), await worker.submit([call("fine")])
            error = json.loads((await worker.ended(broken)).error or "")

            assert error["type"] == "internal_error"
            assert "a bug" not in error["message"]
            assert (await worker.ended(fine)).status == "completed"

    async def test_fails_only_the_step_whose_row_the_database_refuses(self, postgres_url: str) -> None:
        database = Database(postgres_url)
        job = await claimed_job(database)
        worker = build_worker(database, GatedWorld())
        checkpointer = RunCheckpointer(
            job,
            worker.journal,
            desk=worker.desk,
            budgets=worker.budgets,
            recorded={},
            tries={},
            may_go_on=lambda: True,
            telemetry=Telemetry(),
        )
        too_long = secrets.token_hex(3000)  # PostgreSQL indexes no more than 2704 bytes

        fine, refused = await asyncio.gather(
            checkpointer.save(_ended_step("fine")), checkpointer.save(_ended_step(too_long)), return_exceptions=True
        )

        assert fine is None
        assert isinstance(refused, JournalRefusedError)
        assert too_long not in refused.message
        assert list(await journal_of(database, job.id)) == ["fine"]
        await database.close()

    async def test_fails_a_run_that_takes_too_long(self, database: Database) -> None:
        async with scripted_worker(database, GatedWorld(is_open=False)) as worker:
            job_id = await worker.submit([call("slow")], columns={"timeout_seconds": 1, "active_ms": 900})
            error = json.loads((await worker.ended(job_id)).error or "")

        assert (error["type"], error["category"]) == ("run_timeout", "timeout")

    async def test_fails_only_the_run_whose_outputs_cannot_be_stored(self, database: Database) -> None:
        deep: Any = "leaf"
        for _ in range(200):
            deep = [deep]
        world = GatedWorld(values={"deep": deep})
        async with scripted_worker(database, world) as worker:
            ids = [await worker.submit([call("fine")]) for _ in range(5)]
            bad = await worker.submit([call("deep")], outputs={"one": {"level": "${steps.deep}"}})
            error = json.loads((await worker.ended(bad)).error or "")
            statuses = {(await worker.ended(job_id)).status for job_id in ids}

        assert error["type"] == "value_not_storable"
        assert statuses == {"completed"}


UNSTORABLE = {
    "NUL": "a\x00b",
    "lone surrogate": "\ud800",
    "NaN": float("nan"),
    "infinity": [float("-inf")],
    "too large": "x" * (MAX_OUTPUT_BYTES + 1),
    "64 bit": 2**64,
}


class TestValuesThatCannotBeStored:
    @pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE.keys())
    async def test_fail_at_their_step_with_their_usage_kept(self, sqlite_url: str, value: Any) -> None:
        database = Database(sqlite_url)
        async with scripted_worker(database, GatedWorld(values={"bad": value})) as worker:
            job_id = await worker.submit([call("bad"), call("never")])
            job = await worker.ended(job_id)

        error = json.loads(job.error or "")
        assert (job.status, error["type"], error["step_id"]) == ("failed", "value_not_storable", "bad")
        assert await usage_of(database, job_id) == [("bad", 1, 1)]
        await database.close()

    async def test_leave_it_to_the_error_mode_whether_the_run_goes_on(self, database: Database) -> None:
        world = GatedWorld(values={"skipped": "\x00", "replaced": float("nan")})
        steps = [
            call("skipped", error_mode="continue"),
            call("replaced", error_mode="default", default_value="instead"),
            echo("last", ["${steps.skipped}", "${steps.replaced}"]),
        ]
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(steps, outputs={"seen": "${steps.last}"})
            job = await worker.ended(job_id)

        assert json.loads(job.result_data or "")["seen"] == [None, "instead"]
        assert len(await usage_of(database, job_id)) == 2


class TestStop:
    async def test_lets_calls_in_flight_finish_and_hands_the_rest_back(self, database: Database) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(THREE_CALLS)
            await world.is_reached()

            stopping = asyncio.create_task(worker.stop(grace_seconds=END_SECONDS))
            await asyncio.sleep(0.05)
            world.gate.set()
            await stopping

        job = await read_job(database, job_id)
        assert (job.status, job.owner, job.retry_count) == ("queued", None, 0)
        assert "first#1" in await journal_of(database, job_id)
        assert world.begun == ["first"]

    async def test_aborts_what_does_not_finish_in_time(self, database: Database) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(THREE_CALLS)
            await world.is_reached()

            await worker.stop()

        assert (await read_job(database, job_id)).status == "queued"

    async def test_hands_nothing_back_before_what_was_paid_is_journaled(
        self, database: Database, database_url: str
    ) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(THREE_CALLS)
            await world.is_reached()
            async with holding(database_url, [job_id]):
                world.gate.set()
                await asyncio.sleep(0.1)  # paid for, and its row waits for the lock
                stopping = asyncio.create_task(worker.stop())
                await asyncio.sleep(0.1)
            await stopping

        assert "first#1" in await journal_of(database, job_id)
        assert (await read_job(database, job_id)).status == "queued"
        async with scripted_worker(database, world) as worker:
            await worker.ended(job_id)
        assert world.begun == ["first", "second", "third"]

    async def test_ends_nothing_before_what_was_paid_is_journaled_and_counted(
        self, database: Database, database_url: str
    ) -> None:
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            held, stopped = [await worker.submit([call("a"), call("never")]) for _ in range(2)]
            await _until(lambda: worker.runner.holds(stopped))
            await world.is_reached()
            async with holding(database_url, [held]):
                world.gate.set()
                await asyncio.sleep(0.1)  # both are paid; their rows wait for the lock of the first job
                worker.runner.cancel(stopped)
                await asyncio.sleep(0.1)
            job = await worker.ended(stopped)
            await worker.ended(held)

        assert job.status == "cancelled"
        assert "a#1" in await journal_of(database, stopped)
        assert job.cost_usd == Decimal("0.01")

    @breaks_connections
    async def test_ends_while_the_database_is_away(
        self, postgres_server: PostgresServer, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("callboard.jobs.leases.LEAVING_PATIENCE_SECONDS", 0.5)
        database = Database(postgres_url)
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(THREE_CALLS)
            await world.is_reached()

            async with _away(postgres_server, postgres_url):
                world.gate.set()
                await asyncio.wait_for(worker.stop(grace_seconds=0.2), END_SECONDS)

        assert (await read_job(database, job_id)).status == "processing"  # a sweeper finds it
        await database.close()


class TestContainersThatTryAgain:
    async def test_do_not_pay_again_for_a_call_whose_branch_was_cancelled_while_its_row_was_written(
        self, database: Database, database_url: str
    ) -> None:
        world = GatedWorld(failures={"fails": [TemporaryError("once"), None]}, slow={"paid": 2000})
        branches = {"a": [call("paid")], "b": [call("fails")]}
        both = {
            "id": "both",
            "type": "parallel",
            "config": {"branches": branches},
            "retry": {"max_attempts": 2, "delay_seconds": 0.01},
        }
        async with scripted_worker(database, world) as worker:
            world.gate.clear()
            job_id = await worker.submit([both])
            await world.is_reached()
            async with holding(database_url, [job_id]):
                world.gate.set()
                await asyncio.sleep(0.3)  # the failure is being written; what was paid waits for the next flush
            job = await worker.ended(job_id)

        assert job.status == "completed"
        assert world.finished["both/a/paid"] == 1
        assert len(await usage_of(database, job_id)) == 2


class TestBusyDatabase:
    @breaks_connections
    async def test_connections_that_are_lost_again_and_again_lose_and_double_nothing(
        self, postgres_server: PostgresServer, postgres_url: str
    ) -> None:
        database = Database(postgres_url)
        world = GatedWorld(slow={"first": 50, "second": 50, "third": 50})
        async with scripted_worker(database, world) as worker:
            ids = [await worker.submit(THREE_CALLS) for _ in range(30)]
            for _ in range(8):
                await asyncio.sleep(0.05)
                await asyncio.to_thread(_terminate, postgres_server, postgres_url)
            statuses = [(await _ended(database, worker, job_id)).status for job_id in ids]

        assert statuses == ["completed"] * 30
        assert world.finished.total() == 90
        for job_id in ids:
            assert len(await usage_of(database, job_id)) == 3
            assert await outbox_of(database, job_id) == ["workflow.completed"]
        await database.close()

    @breaks_connections
    async def test_keeps_what_a_worker_paid_that_was_marked_dead_while_the_database_was_away(
        self, postgres_server: PostgresServer, postgres_url: str
    ) -> None:
        database = Database(postgres_url)
        world = GatedWorld(is_open=False)
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(THREE_CALLS)
            await world.is_reached()
            await kill_worker(database, worker.lease.worker_id)
            worker.lease._is_lost = True  # as its renewal finds, some seconds from now

            async with _away(postgres_server, postgres_url):
                world.gate.set()
                await asyncio.sleep(0.3)
            await _until(lambda: not worker.runner.holds(job_id))

        assert [path for path, _, _ in await usage_of(database, job_id)] == ["first"]
        await database.close()


class TestWhatARunKeeps:
    async def test_is_what_its_files_said_when_it_was_submitted(self, database_url: str, tmp_path: Path) -> None:
        async with FakeLLM() as fake, running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
            server.files.write_prompt("say.md", "[[say:old prompt]]")
            first = {"id": "a", "type": "llm", "config": {"prompt_text": "[[delay:0.4]] wait"}}
            second = {"id": "b", "type": "llm", "config": {"prompt_template": "say.md"}}
            server.files.write(workflow("w", [first, second], outputs={"said": "old ${steps.b.content}"}))
            job_id = await server.submit("w")
            await server.until(job_id, "processing")

            server.files.write_prompt("say.md", "[[say:new prompt]]")
            server.files.write(workflow("w", [ask("b", "[[say:x]]")], outputs={"said": "new ${steps.b.content}"}))

            assert (await server.ended(job_id))["result"]["said"] == "old old prompt"
            await _until_said(server, "new x")

    async def test_survives_files_that_are_deleted(self, database_url: str, tmp_path: Path) -> None:
        async with FakeLLM() as fake, running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
            path = server.files.write(workflow("w", [ask("a", "[[delay:0.3]] a"), ask("b", "[[say:end]]")]))
            job_id = await server.submit("w")
            path.unlink()

            assert (await server.ended(job_id))["status"] == "completed"


def _ended_step(path: str) -> StepRecord:
    moment = now()
    return StepRecord(
        path=path,
        step_id="a",
        step_type="test",
        outcome=StepOutcome.SUCCEEDED,
        started_at=moment,
        completed_at=moment,
        output_json="1",
    )


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(END_SECONDS):
        while not is_so():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)


async def _until_said(server: Any, text: str) -> None:
    """Submit until the new file is seen: it is looked at now and then."""
    async with asyncio.timeout(END_SECONDS):
        while (await server.ended(await server.submit("w")))["result"]["said"] != text:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.1)


async def _ended(database: Database, worker: ScriptedWorker, job_id: Any) -> Job:
    """Return a job that has ended; a claim that was never heard of takes ten seconds to be handed back."""
    async with asyncio.timeout(40):
        while (job := await read_job(database, job_id)).completed_at is None:
            await worker.endings.wait(job_id, seconds=0.5)
    return job


def _terminate(server: PostgresServer, url: str) -> None:
    name = url.rpartition("/")[2]
    server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")


@asynccontextmanager
async def _away(server: PostgresServer, url: str) -> AsyncIterator[None]:
    """Have the database take no connections while the block lasts, and lose those it had."""
    name = url.rpartition("/")[2]
    await asyncio.to_thread(server.execute, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await asyncio.to_thread(_terminate, server, url)
    try:
        yield
    finally:
        await asyncio.to_thread(server.execute, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
