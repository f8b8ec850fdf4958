"""The in-memory journal: what it gives back, and that a call is made once."""

from decimal import Decimal

import pytest

from callboard.core import clock
from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue, UnstorableValueError
from callboard.workflows.memory import MemoryCheckpointer, UnknownSecretError
from callboard.workflows.steps.base import PaidCall, StepOutcome, StepRecord, UsageRecord

USAGE = UsageRecord(
    service="llm",
    provider="p",
    model="m",
    task_name="t",
    input_units=1,
    output_units=1,
    cost_usd=Decimal(1),
    duration_ms=1,
)


def record(outcome: StepOutcome) -> StepRecord:
    now = clock.now()
    return StepRecord(path="a", step_id="a", step_type="echo", outcome=outcome, started_at=now, completed_at=now)


class TestFind:
    async def test_gives_back_what_was_saved(self) -> None:
        journal = MemoryCheckpointer()

        await journal.save(record(StepOutcome.SKIPPED))

        found = journal.find("a")
        assert found is not None
        assert found.outcome is StepOutcome.SKIPPED

    async def test_never_gives_back_a_failed_step(self) -> None:
        journal = MemoryCheckpointer()

        await journal.save(record(StepOutcome.FAILED))

        assert journal.find("a") is None
        assert journal.records["a"].outcome is StepOutcome.FAILED


class TestCallOnce:
    async def test_performs_a_call_only_if_no_attempt_did(self) -> None:
        journal, performed = MemoryCheckpointer(), []

        async def perform() -> PaidCall:
            performed.append(1)
            return PaidCall(value={"n": len(performed)}, usage=USAGE)

        first = journal.context_for("a")
        assert [await first.call_once(perform), await first.call_once(perform)] == [{"n": 1}, {"n": 2}]
        again = journal.context_for("a")
        assert [await again.call_once(perform), await again.call_once(perform)] == [{"n": 1}, {"n": 2}]
        assert [key for key, _ in journal.usage] == ["a#1", "a#2"]

    async def test_keeps_nothing_of_a_call_that_failed(self) -> None:
        journal = MemoryCheckpointer()

        async def perform() -> PaidCall:
            raise PermanentError

        with pytest.raises(PermanentError):
            await journal.context_for("a").call_once(perform)
        assert not journal.calls

    @pytest.mark.parametrize("value", ["a\x00", "x" * 2000], ids=["nul", "too large"])
    async def test_counts_the_usage_of_an_answer_that_cannot_be_stored(self, value: JsonValue) -> None:
        journal = MemoryCheckpointer(max_output_bytes=1000)

        async def perform() -> PaidCall:
            return PaidCall(value=value, usage=USAGE)

        with pytest.raises(UnstorableValueError):
            await journal.context_for("a").call_once(perform)
        assert journal.usage == [("a#1", USAGE)]


class TestResolveSecret:
    def test_gives_the_secret(self) -> None:
        assert MemoryCheckpointer(secrets={"TOKEN": "t"}).context_for("a").resolve_secret("TOKEN") == "t"

    def test_names_the_one_that_is_missing(self) -> None:
        with pytest.raises(UnknownSecretError, match="TOKEN"):
            MemoryCheckpointer().context_for("a").resolve_secret("TOKEN")


class TestBackOff:
    async def test_sleeps_as_long_as_it_is_told(self) -> None:
        slept = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        await MemoryCheckpointer(sleep=sleep).back_off("a", seconds=1.5, attempts=1)

        assert slept == [1.5]
