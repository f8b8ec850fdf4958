"""The ledger of `make chaos` sees every breach: a job that kept every promise, and each promise broken in turn."""

import json
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from callboard.core.clock import now
from callboard.core.ids import new_uuid
from callboard.jobs.models import Job, JobEvent, JobStep
from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage
from tests.chaos.ledger import Ledger
from tests.fixtures.job_rows import new_job

STEPS = ("first", "second", "third")
JOB_ID, OTHER_ID = UUID(int=1), UUID(int=2)


class Books:
    """A database and a provider's counts, as the ledger reads them."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.counts = {f"j1-{step}": 1 for step in STEPS}

    def read(self, query: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(query).all())

    def write(self, *statements: Any) -> None:
        with self.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def paid(self) -> Mapping[str, int]:
        return dict(self.counts)


@pytest.fixture
def books(sqlite_url: str) -> Iterator[Books]:
    """The books of one job that has done its three calls and ended."""
    engine = sa.create_engine(sqlite_url.replace("+aiosqlite", ""))
    books = Books(engine)
    result = json.dumps({step: f"j1-{step}" for step in STEPS})
    job = new_job(id=JOB_ID, workflow_name="three_calls", status="completed", fence=3, result_data=result).values
    books.write(sa.insert(Job).values(job))
    books.write(*(sa.insert(JobStep).values(_step(step)) for step in STEPS))
    books.write(*(sa.insert(ProviderUsage).values(_usage(step)) for step in STEPS))
    books.write(sa.insert(JobEvent).values(_event(1, "job.queued")), sa.insert(JobEvent).values(_event(2)))
    books.write(sa.insert(OutboxMessage).values(_outbox()))
    yield books
    engine.dispose()


@pytest.fixture
def ledger(books: Books) -> Ledger:
    ledger = Ledger(stand=books, accepted={JOB_ID: ("three_calls", "j1")})
    ledger.look()
    return ledger


def _step(step: str) -> dict[str, Any]:
    return {
        "job_id": JOB_ID,
        "path": f"{step}#1",
        "tenant_id": "default",
        "fence": 3,
        "step_id": step,
        "step_type": "call",
        "status": "succeeded",
        "output": json.dumps({"content": f"j1-{step}"}),
        "attempts": 1,
        "started_at": now(),
        "completed_at": now(),
        "duration_ms": 1,
    }


def _usage(step: str) -> dict[str, Any]:
    names = ("tenant_id", "workflow_name", "task_name", "service", "provider", "model")
    keys = {"id": new_uuid(), "job_id": JOB_ID, "path": f"{step}#1", "fence": 3, "call": 1}
    return {**dict.fromkeys(names, "test"), **keys, "created_at": now()}


def _event(number: int, event: str = "job.completed") -> dict[str, Any]:
    return {"job_id": JOB_ID, "event_id": number, "event": event, "data": "{}", "created_at": now()}


def _outbox() -> dict[str, Any]:
    keys = {"id": new_uuid(), "tenant_id": "default", "job_id": JOB_ID}
    return {**keys, "event": "job.completed", "payload": "{}", "created_at": now()}


BREACHES = {
    "another result": (sa.update(Job).values(result_data="{}"), "ended otherwise"),
    "another end": (sa.update(Job).values(status="failed"), "ended otherwise"),
    "no end": (sa.update(Job).values(status="processing"), "not at their end"),
    "an owner": (sa.update(Job).values(owner=OTHER_ID), "still owned"),
    "a smaller fence": (sa.update(Job).values(fence=2), "fences shrank"),
    "a fence from nowhere": (sa.update(JobStep).values(fence=4), "a fence that no run had"),
    "a call not journaled": (sa.delete(JobStep).where(JobStep.step_id == "first"), "that are not journaled"),
    "two ends": (sa.insert(JobEvent).values(_event(3)), "not exactly one of end events"),
    "a gap": (sa.delete(JobEvent).where(JobEvent.event_id == 1), "gaps in the numbers"),
    "no outbox row": (sa.delete(OutboxMessage), "not exactly one of outbox rows"),
    "two outbox rows": (sa.insert(OutboxMessage).values(_outbox()), "not exactly one of outbox rows"),
    "usage lost": (sa.delete(ProviderUsage).where(ProviderUsage.path == "first#1"), "usage rows"),
    "usage doubled": (sa.insert(ProviderUsage).values(_usage("first") | {"fence": 2}), "usage rows"),
}


class TestBrokenPromises:
    def test_finds_nothing_where_all_were_kept(self, ledger: Ledger) -> None:
        assert ledger.broken_promises() == []

    @pytest.mark.parametrize("breach", BREACHES)
    def test_names_what_was_broken(self, books: Books, ledger: Ledger, breach: str) -> None:
        statement, expected = BREACHES[breach]

        books.write(statement)

        assert any(expected in broken for broken in ledger.broken_promises())

    def test_names_a_job_that_was_lost(self, ledger: Ledger) -> None:
        ledger.accepted[OTHER_ID] = ("three_calls", "j2")

        assert any("accepted, but not in the database" in broken for broken in ledger.broken_promises())

    def test_names_a_job_that_nobody_asked_for(self, books: Books, ledger: Ledger) -> None:
        books.write(sa.insert(Job).values(new_job(status="completed", result_data="{}").values))

        assert any("never accepted" in broken for broken in ledger.broken_promises())

    def test_names_a_journaled_call_that_was_paid_again(self, books: Books, ledger: Ledger) -> None:
        ledger.excused = 5

        books.counts["j1-first"] = 2

        assert any("paid again after they were journaled" in broken for broken in ledger.broken_promises())

    def test_names_calls_beyond_those_in_flight(self, books: Books, ledger: Ledger) -> None:
        books.counts["j1-first"] = 3
        ledger.excused = 1

        assert any("2 calls were paid beyond, and at most 1" in broken for broken in ledger.broken_promises())
