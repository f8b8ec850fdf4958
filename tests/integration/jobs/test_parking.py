"""P7: a job that only waits is rows; what it waits for wakes it, whenever that comes."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from callboard.core.database import Database
from callboard.core.errors import PermanentError, TemporaryError
from callboard.core.json_values import dumps, loads
from callboard.jobs.models import Job, JobEvent, JobSignal, JobStep, JobWait
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.repository.waits import list_news
from callboard.jobs.repository.wakings import AnswerOutcome, SignalOutcome, answer_wait, keep_signal, wake_due_jobs
from tests.fixtures.scripted_steps import World, call, echo
from tests.fixtures.scripted_worker import ScriptedWorker, scripted_worker


async def read_rows(database: Database, query: Any) -> list[Any]:
    """Return what `query` selects, its first column."""
    async with database.reads() as session:
        return list((await session.scalars(query)).all())


PAST = datetime(2026, 1, 1, tzinfo=UTC)


def approval(step_id: str = "ok", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "approval", "config": config}


def wait(step_id: str = "pause", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "wait", "config": config}


async def open_wait(database: Database, job_id: UUID, path: str = "ok") -> JobWait:
    async with asyncio.timeout(20):
        while True:
            rows = await read_rows(database, sa.select(JobWait).where(JobWait.job_id == job_id, JobWait.path == path))
            if rows:
                found: JobWait = rows[-1]
                return found
            await asyncio.sleep(0.01)


async def give(worker: ScriptedWorker, job_id: Any, answer: Any, *, path: str = "ok", by: str = "ada") -> AnswerOutcome:
    """Answer an approval and do what the service does after it."""
    row = await open_wait(worker.database, job_id, path)
    given = await answer_wait(worker.database, job_id, row.id, answered_by=by, answer_json=dumps(answer))
    worker.doorbell.ring()
    worker.runner.wake(job_id)
    return given.outcome


async def signal(worker: ScriptedWorker, job_id: Any, payload: Any, *, name: str = "paid") -> SignalOutcome:
    kept = await keep_signal(
        worker.database, job_id, name=name, payload_json=dumps(payload), sent_by="shop", idempotency=None
    )
    worker.doorbell.ring()
    worker.runner.wake(job_id)
    return kept.outcome


class TestApproval:
    async def test_parks_the_job_and_goes_on_with_the_answer(self, database: Database) -> None:
        world = World()
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(
                [call("draft", "text"), approval(title="Fine?"), echo("end", "${steps.ok.answer}")]
            )

            parked = await worker.until(job_id, "waiting")
            assert parked.owner is None
            await _until(lambda: worker.runner.free_slots == 100)
            assert await give(worker, job_id, {"fine": True}) is AnswerOutcome.TAKEN
            job = await worker.ended(job_id)

        assert loads(job.result_data or "")["fine"] is True
        assert world.finished == {"draft": 1}  # what was paid before the wait is not paid again

    async def test_waits_for_as_many_people_as_it_wants(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([approval(required_answers=2), echo("end", "${steps.ok.answer}")])
            await worker.until(job_id, "waiting")

            assert await give(worker, job_id, "yes", by="ada") is AnswerOutcome.TAKEN
            assert await give(worker, job_id, "no", by="ada") is AnswerOutcome.TWICE
            assert (await worker.until(job_id, "waiting")).status == "waiting"
            assert await give(worker, job_id, "no", by="bob") is AnswerOutcome.TAKEN
            job = await worker.ended(job_id)

        assert loads(job.result_data or "")["value"] == ["yes", "no"]

    async def test_is_answered_once(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([approval()])
            await worker.until(job_id, "waiting")

            outcomes = await asyncio.gather(*(give(worker, job_id, name, by=name) for name in ("ada", "bob", "eve")))

            assert sorted(outcome.name for outcome in outcomes) == ["ALREADY_ENDED", "ALREADY_ENDED", "TAKEN"]
            job = await worker.ended(job_id)
        assert job.status == "completed"

    async def test_refuses_an_answer_after_its_time_even_before_anybody_noticed(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([approval(timeout_seconds=3600)])
            await worker.until(job_id, "waiting")
            await worker.sweeper.stop()
            async with database.transaction() as connection:
                await connection.execute(sa.update(JobWait).values(wake_at=PAST))

            assert await give(worker, job_id, "late") is AnswerOutcome.LATE

    @pytest.mark.parametrize(
        ("config", "step", "expected"),
        [
            ({"on_timeout": "fail"}, {}, ("failed", None)),
            ({"on_timeout": "continue"}, {}, ("completed", None)),
            ({"on_timeout": "default"}, {"default_value": {"answer": "auto"}}, ("completed", {"answer": "auto"})),
            ({}, {"error_mode": "continue"}, ("completed", None)),
        ],
        ids=["fail", "continue", "default", "the step's own error mode"],
    )
    async def test_does_at_its_time_out_what_the_file_says(
        self, database: Database, config: dict[str, Any], step: dict[str, Any], expected: tuple[str, Any]
    ) -> None:
        steps = [{**approval(timeout_seconds=2.2, **config), **step}, echo("end", "${steps.ok.output}")]
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit(steps)
            await worker.until(job_id, "waiting")

            job = await worker.ended(job_id)

        status, output = expected
        assert job.status == status
        if status == "failed":
            assert loads(job.error or "")["type"] == "wait_timed_out"
        else:
            result = loads(job.result_data or "")
            assert (
                {"value": output} == {"value": result["value"]} if output is None else output.items() <= result.items()
            )

    async def test_survives_a_worker_that_dies_with_the_answer_taken(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([approval(), call("after", "x")])
            await worker.until(job_id, "waiting")
            await worker.doorbell.stop()
            await give(worker, job_id, "yes")
        row = await open_wait(database, job_id)
        async with database.transaction() as connection:  # as if a run had been told, and died before its journal row
            await connection.execute(sa.update(JobWait).where(JobWait.id == row.id).values(taken_at=PAST))

        async with scripted_worker(database, World()) as other:
            job = await other.ended(job_id)

        assert job.status == "completed"


class TestBesideOtherBranches:
    async def test_is_not_parked_while_another_branch_runs(self, database: Database) -> None:
        world = World()
        gate = world.hold("slow")
        steps = [{"id": "both", "type": "parallel", "config": {"steps": [approval(), call("slow", 1)]}}]
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit(steps)
            await open_wait(database, job_id, "both/ok")

            assert (await worker.until(job_id, "processing")).status == "processing"
            gate.set()
            await worker.until(job_id, "waiting")
            await give(worker, job_id, "yes", path="both/ok")
            job = await worker.ended(job_id)

        assert job.status == "completed"
        assert world.finished == {"both/slow": 1}

    async def test_goes_on_at_once_while_the_other_branch_still_runs(self, database: Database) -> None:
        world = World()
        gate = world.hold("slow")
        branches = {"asked": [approval(), call("next", 2)], "busy": [call("slow", 1)]}
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([{"id": "both", "type": "parallel", "config": {"branches": branches}}])
            await open_wait(database, job_id, "both/asked/ok")

            await give(worker, job_id, "yes", path="both/asked/ok")
            await _until(lambda: "both/asked/next" in world.begun)
            gate.set()
            job = await worker.ended(job_id)

        assert job.status == "completed"

    async def test_every_item_of_a_loop_is_asked_for(self, database: Database) -> None:
        loop = {"for_each": [1, 2, 3], "steps": [approval()]}
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([{"id": "each", "type": "parallel", "config": loop}])
            await worker.until(job_id, "waiting")

            for index in (2, 0, 1):
                assert await give(worker, job_id, index, path=f"each[{index}]/ok") is AnswerOutcome.TAKEN
            job = await worker.ended(job_id)

        answers = [each["answer"] for each in loads(job.result_data or "")["value"]]
        assert answers == [0, 1, 2]

    async def test_a_cancelled_branch_asks_nobody_any_more(self, database: Database) -> None:
        world = World({"bad": [PermanentError("no")]})
        gate = world.hold("bad")
        both = {
            "id": "both",
            "type": "parallel",
            "config": {"steps": [approval(), call("bad", 1)]},
            "error_mode": "continue",
        }
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([both, approval("then")])
            row = await open_wait(database, job_id, "both/ok")

            gate.set()
            await worker.until(job_id, "waiting")

            closed = await open_wait(database, job_id, "both/ok")
            assert (closed.id, closed.status) == (row.id, "closed")
            await give(worker, job_id, "yes", path="then")
            assert (await worker.ended(job_id)).status == "completed"


class TestSignals:
    async def test_a_signal_before_its_wait_is_kept_for_it(self, database: Database) -> None:
        world = World()
        gate = world.hold("first")
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([call("first", 1), wait(event="paid"), echo("end", "${steps.pause.payload}")])
            await _until(lambda: "first" in world.begun)

            assert await signal(worker, job_id, {"amount": 7}) is SignalOutcome.KEPT
            gate.set()
            job = await worker.ended(job_id)

        assert loads(job.result_data or "")["amount"] == 7

    async def test_signals_are_taken_in_their_order_each_once(self, database: Database) -> None:
        steps = [
            wait("a", event="paid"),
            wait("b", event="paid"),
            echo("end", ["${steps.a.payload}", "${steps.b.payload}"]),
        ]
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit(steps)
            await worker.until(job_id, "waiting")
            for number in (1, 2, 3):
                await signal(worker, job_id, number)
            job = await worker.ended(job_id)

        assert loads(job.result_data or "")["value"] == [1, 2]
        left = await read_rows(database, sa.select(JobSignal.payload).where(JobSignal.taken_by.is_(None)))
        assert left == ["3"]

    async def test_another_signal_wakes_nobody(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([wait(event="paid")])
            await worker.until(job_id, "waiting")

            await signal(worker, job_id, None, name="shipped")

            assert (await worker.until(job_id, "waiting")).fence == 2
            await signal(worker, job_id, None)
            assert (await worker.ended(job_id)).status == "completed"

    async def test_an_ended_job_takes_none(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([echo("a", 1)])
            await worker.ended(job_id)

            assert await signal(worker, job_id, None) is SignalOutcome.JOB_ENDED


class TestTimers:
    async def test_a_long_wait_is_parked_and_woken_by_its_time(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([wait(seconds=2.5), echo("end", 1)])

            parked = await worker.until(job_id, "waiting")
            assert parked.wake_at is not None
            job = await worker.ended(job_id)

        assert job.status == "completed"
        assert job.active_ms < 2000  # time parked does not count for the run's limit

    async def test_a_moment_in_the_past_waits_for_nothing(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([wait(until="2020-01-01T00:00:00Z")])

            assert (await worker.ended(job_id)).status == "completed"

    async def test_two_sweepers_wake_a_job_once(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([wait(seconds=3600)])
            await worker.until(job_id, "waiting")
            await worker.stop()
        async with database.transaction() as connection:
            await connection.execute(sa.update(Job).values(wake_at=PAST))

        woken = await asyncio.gather(wake_due_jobs(database), wake_due_jobs(database))

        assert sorted(woken) == [0, 1]

    async def test_a_long_back_off_is_parked_and_its_tries_are_remembered(self, database: Database) -> None:
        world = World({"flaky": [TemporaryError("busy", retry_after_seconds=40), None]})
        step = {**call("flaky", 1), "retry": {"max_attempts": 2}}
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([step])
            parked = await worker.until(job_id, "waiting")
            assert parked.wake_at is not None
            assert parked.wake_at > datetime.now(UTC) + timedelta(seconds=20)
            async with database.transaction() as connection:  # the time flies
                await connection.execute(sa.update(Job).values(wake_at=PAST))
                await connection.execute(sa.update(JobWait).values(wake_at=PAST))
            job = await worker.ended(job_id)

        assert job.status == "completed"
        (attempts,) = await read_rows(database, sa.select(JobStep.attempts).where(JobStep.path == "flaky"))
        assert attempts == 2


class TestRaces:
    async def test_an_answer_that_comes_while_the_job_is_being_parked_is_not_missed(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            jobs = [await worker.submit([approval()]) for _ in range(20)]

            await asyncio.gather(*(give(worker, job_id, "yes") for job_id in jobs))  # as soon as there is a row
            ended = [await worker.ended(job_id) for job_id in jobs]

        assert {job.status for job in ended} == {"completed"}

    async def test_a_cancel_of_a_parked_job_ends_it_and_closes_its_waits(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([approval()])
            await worker.until(job_id, "waiting")

            await request_cancel(database, [job_id])

            assert (await worker.until(job_id, "cancelled")).status == "cancelled"
            assert (await open_wait(database, job_id)).status == "closed"
            assert await give(worker, job_id, "late") is AnswerOutcome.ALREADY_ENDED

    async def test_news_for_a_run_of_another_process_is_found_by_looking(self, database: Database) -> None:
        world = World()
        gate = world.hold("slow")
        branches = {"asked": [approval()], "busy": [call("slow", 1)]}
        async with scripted_worker(database, world) as worker:
            job_id = await worker.submit([{"id": "both", "type": "parallel", "config": {"branches": branches}}])
            row = await open_wait(database, job_id, "both/asked/ok")
            await _until(lambda: worker.runner.list_waiting_for_news() == [job_id])

            await answer_wait(database, job_id, row.id, answered_by="ada", answer_json="1")

            assert await list_news(database, [job_id]) in ({job_id}, set())  # the look may have been first
            await _until_row(database, job_id, "both/asked/ok")
            gate.set()
            await worker.ended(job_id)

    async def test_watchers_hear_of_the_wait_and_of_its_end(self, database: Database) -> None:
        async with scripted_worker(database, World()) as worker:
            job_id = await worker.submit([approval(title="Fine?")])
            await worker.until(job_id, "waiting")
            await give(worker, job_id, "yes")
            await worker.ended(job_id)

        query = sa.select(JobEvent.event).where(JobEvent.job_id == job_id).order_by(JobEvent.event_id)
        told = [name for name in await read_rows(database, query) if not name.startswith("step.st")]
        assert told == [
            "job.queued", "job.started", "step.waiting", "job.waiting", "step.answered", "job.requeued", "job.started",
            "step.completed", "job.completed",
        ]  # fmt: skip


async def _until(is_true: Any) -> None:
    async with asyncio.timeout(20):
        while not is_true():  # noqa: ASYNC110 - the world under test tells by its state
            await asyncio.sleep(0.01)


async def _until_row(database: Database, job_id: UUID, path: str) -> None:
    query = sa.select(JobStep.path).where(JobStep.job_id == job_id, JobStep.path == path)
    async with asyncio.timeout(20):
        while not await read_rows(database, query):  # noqa: ASYNC110 - the row tells, no event
            await asyncio.sleep(0.01)
