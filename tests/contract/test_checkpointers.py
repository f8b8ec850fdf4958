"""What engine and steps may rely on: one suite over the journal in memory and the durable one on both databases."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.errors import PermanentError, TemporaryError
from callboard.core.json_values import JsonValue, UnstorableValueError, loads
from callboard.core.telemetry import Telemetry
from callboard.jobs.budgets import BudgetDesk
from callboard.jobs.checkpoints import Journal, RunCheckpointer
from callboard.jobs.leases import WorkerLease
from callboard.jobs.parking import WaitDesk
from callboard.jobs.repository.claims import ClaimedJob
from callboard.jobs.repository.journal import load_journal
from callboard.jobs.repository.waits import load_tries
from callboard.jobs.spending_limits import DefaultLimits, SpendingLimits
from callboard.jobs.step_contexts import RunStepContext
from callboard.workflows.memory import MemoryCheckpointer
from callboard.workflows.steps.base import (
    Checkpointer,
    PaidCall,
    StepContext,
    StepOutcome,
    StepRecord,
    UsageRecord,
)
from tests.fixtures.job_rows import claimed_job, usage_of
from tests.fixtures.reused_databases import postgres_url, reused_postgres_name

__all__ = ["postgres_url", "reused_postgres_name"]  # one PostgreSQL database for all tests here

MAX_BYTES = 1000
SECRETS = {"TOKEN": "s3cret"}


@dataclass
class Run:
    """One attempt of a run: its checkpointer, and contexts of step instances."""

    checkpointer: Checkpointer
    context_for: Callable[[str], StepContext]


class MemoryRuns:
    """Attempts that share a journal in memory."""

    def __init__(self) -> None:
        self._journal = MemoryCheckpointer(secrets=SECRETS, max_output_bytes=MAX_BYTES)

    async def attempt(self) -> Run:
        return Run(self._journal, self._journal.context_for)

    async def paid(self) -> list[str]:
        return sorted(path.partition("#")[0] for path, _ in self._journal.usage)


class DurableRuns:
    """Attempts that share the journal of one claimed job in a database."""

    def __init__(self, database: Database, job: ClaimedJob) -> None:
        self._database, self._job = database, job
        lease = WorkerLease(database, lease_seconds=60, slots=1)
        self.journal = Journal(database, max_output_bytes=MAX_BYTES, telemetry=Telemetry(), lease=lease)
        self._desk = WaitDesk(database, telemetry=Telemetry(), lease=lease)
        self._limits = SpendingLimits(database, DefaultLimits())
        self._budgets = BudgetDesk(database, limits=self._limits, telemetry=Telemetry(), lease=lease)

    async def attempt(self) -> Run:
        await self._limits.refresh()
        checkpointer = RunCheckpointer(
            self._job,
            self.journal,
            desk=self._desk,
            budgets=self._budgets,
            recorded=await load_journal(self._database, self._job.id),
            tries=await load_tries(self._database, self._job.id, self._job.attempt),
            may_go_on=lambda: True,
            telemetry=Telemetry(),
        )
        return Run(checkpointer, lambda path: RunStepContext(checkpointer, path, secrets=SECRETS.get))

    async def paid(self) -> list[str]:
        return [path for path, _, _ in await usage_of(self._database, self._job.id)]


Runs = MemoryRuns | DurableRuns


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def journal_url(request: pytest.FixtureRequest) -> str | None:
    """Where the journal is: a database of this test's own, or None for memory."""
    if request.param == "memory":
        return None
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
async def runs(journal_url: str | None) -> AsyncIterator[Runs]:
    """A job that may be attempted again and again."""
    if journal_url is None:
        yield MemoryRuns()
        return
    database = Database(journal_url)
    runs = DurableRuns(database, await claimed_job(database))
    yield runs
    await runs.journal.close()
    await database.close()


def record(path: str, outcome: StepOutcome = StepOutcome.SUCCEEDED, **more: Any) -> StepRecord:
    moment = now()
    values: dict[str, Any] = {"step_id": path, "step_type": "test", "started_at": moment, "completed_at": moment}
    return StepRecord(path=path, outcome=outcome, **(values | more))


def paying(value: JsonValue, *, log: list[JsonValue] | None = None) -> Callable[[], Awaitable[PaidCall]]:
    """Return a call that gives `value`."""
    usage = UsageRecord(
        service="llm",
        provider="p",
        model="m",
        task_name="t",
        input_units=1,
        output_units=1,
        cost_usd=Decimal("0.01"),
        duration_ms=1,
    )

    async def perform() -> PaidCall:
        if log is not None:
            log.append(value)
        return PaidCall(value=value, usage=usage)

    return perform


async def failing() -> PaidCall:
    raise TemporaryError("not now")


class TestSave:
    @pytest.mark.parametrize("outcome", [outcome for outcome in StepOutcome if outcome.is_replayed])
    async def test_is_found_by_a_later_attempt(self, runs: Runs, outcome: StepOutcome) -> None:
        error = {"type": "t", "message": "m"}
        first = await runs.attempt()
        await first.checkpointer.save(record("a", outcome, output_json='{"x":1}', choice="left", error=error))

        found = (await runs.attempt()).checkpointer.find("a")

        assert found is not None
        assert (found.outcome, found.choice, found.error) == (outcome, "left", error)
        assert loads(found.output_json or "") == {"x": 1}

    async def test_never_finds_what_failed(self, runs: Runs) -> None:
        first = await runs.attempt()
        await first.checkpointer.save(record("a", StepOutcome.FAILED, error={"message": "m"}))

        assert (await runs.attempt()).checkpointer.find("a") is None

    async def test_finds_a_success_that_came_after_a_failure(self, runs: Runs) -> None:
        first = await runs.attempt()
        await first.checkpointer.save(record("a", StepOutcome.FAILED, error={"message": "m"}))
        await first.checkpointer.save(record("a", output_json="1"))

        found = (await runs.attempt()).checkpointer.find("a")

        assert found is not None
        assert found.output_json == "1"

    async def test_is_success_when_the_same_record_comes_twice(self, runs: Runs) -> None:
        run, same = await runs.attempt(), record("a", output_json="1")

        await run.checkpointer.save(same)
        await run.checkpointer.save(same)

        found = (await runs.attempt()).checkpointer.find("a")
        assert found is not None
        assert found.output_json == "1"

    async def test_finds_nothing_at_other_paths(self, runs: Runs) -> None:
        run = await runs.attempt()
        await run.checkpointer.save(record("a[1]/b"))

        again = await runs.attempt()

        assert again.checkpointer.find("a[1]") is None
        assert again.checkpointer.find("a[1]/b") is not None


class TestCallOnce:
    async def test_performs_a_call_only_if_no_attempt_ever_did(self, runs: Runs) -> None:
        log: list[JsonValue] = []
        first = (await runs.attempt()).context_for("a")
        assert await first.call_once(paying("one", log=log)) == "one"

        again = (await runs.attempt()).context_for("a")

        assert await again.call_once(paying("other", log=log)) == "one"
        assert log == ["one"]
        assert await runs.paid() == ["a"]

    async def test_takes_a_call_from_an_earlier_try_of_the_same_attempt(self, runs: Runs) -> None:
        run = await runs.attempt()
        await run.context_for("a").call_once(paying("one"))

        assert await run.context_for("a").call_once(paying("other")) == "one"

    async def test_numbers_the_calls_of_a_step(self, runs: Runs) -> None:
        first = (await runs.attempt()).context_for("a")
        for value in ("one", "two"):
            await first.call_once(paying(value))

        again = (await runs.attempt()).context_for("a")

        assert [await again.call_once(paying(value)) for value in ("x", "y", "three")] == ["one", "two", "three"]
        assert await runs.paid() == ["a"] * 3

    async def test_gives_no_number_to_a_call_that_failed(self, runs: Runs) -> None:
        first = (await runs.attempt()).context_for("a")
        with pytest.raises(TemporaryError):
            await first.call_once(failing)
        await first.call_once(paying("second try"))

        again = (await runs.attempt()).context_for("a")

        assert await again.call_once(paying("paid again")) == "second try"
        assert await runs.paid() == ["a"]

    async def test_keeps_the_calls_of_step_instances_apart(self, runs: Runs) -> None:
        run = await runs.attempt()

        values = [await run.context_for(path).call_once(paying(path)) for path in ("a", "a[0]/b", "a[1]/b")]

        assert values == ["a", "a[0]/b", "a[1]/b"]

    async def test_gives_the_value_as_a_replay_will_read_it(self, runs: Runs) -> None:
        first = (await runs.attempt()).context_for("a")

        assert await first.call_once(paying({"t": (1, 2), "f": 1.0})) == {"t": [1, 2], "f": 1.0}

    @pytest.mark.parametrize("value", ["\x00", float("nan"), "x" * MAX_BYTES], ids=["NUL", "NaN", "too large"])
    async def test_counts_what_was_paid_for_a_value_that_cannot_be_stored(self, runs: Runs, value: JsonValue) -> None:
        context = (await runs.attempt()).context_for("a")

        with pytest.raises(UnstorableValueError):
            await context.call_once(paying(value))

        assert await runs.paid() == ["a"]


class TestContext:
    async def test_knows_its_path_and_its_secrets(self, runs: Runs) -> None:
        context = (await runs.attempt()).context_for("a[1]/b")

        assert context.path == "a[1]/b"
        assert context.job_id
        assert context.tenant_id
        assert context.resolve_secret("TOKEN") == "s3cret"
        with pytest.raises(PermanentError, match="NONE"):
            context.resolve_secret("NONE")

    async def test_takes_parts_of_an_answer_and_goes_on(self, runs: Runs) -> None:
        context = (await runs.attempt()).context_for("a")

        for part in ("Hel", "lo"):
            context.note_text(part)

        assert await context.call_once(paying("Hello")) == "Hello"


class TestRunning:
    async def test_goes_on_and_backs_off_while_nobody_stops_it(self, runs: Runs) -> None:
        checkpointer = (await runs.attempt()).checkpointer

        await checkpointer.may_begin()
        checkpointer.ensure_running()
        checkpointer.note_started("a", "test", None)
        checkpointer.note_retrying("a", attempt=2, delay_seconds=0.0, error={"message": "m"})
        await checkpointer.back_off("a", seconds=0.001, attempts=1)
        await checkpointer.save(record("a"))
