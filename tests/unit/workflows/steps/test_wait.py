"""The wait step: for a time, until a moment, for a signal."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.steps.waiting import Wait, WaitEnd, WaitKind
from tests.fixtures.scripted_steps import WatchedCheckpointer, compile_steps, echo, run_workflow

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
STAMP = "2026-11-20T10:00:00Z"


class Desk(WatchedCheckpointer):
    """Ends every wait as it is told to, and keeps what was asked."""

    def __init__(self, payload: JsonValue = None, *, is_timed_out: bool = False) -> None:
        super().__init__()
        self.asked: list[Wait] = []
        self._end = WaitEnd(ended_at=AT, is_timed_out=is_timed_out, payload=payload)

    async def wait_for(self, path: str, wait: Wait) -> WaitEnd:
        del path
        self.asked.append(wait)
        return self._end


def wait(*, fields: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    return {"id": "w", "type": "wait", "config": config, **(fields or {})}


async def give(step: dict[str, Any], desk: Desk, *, shows: str = "${steps.w.output}", **input_data: Any) -> JsonValue:
    """Return what `shows` is when the run has ended."""
    workflow = compile_steps([step, echo("end", shows)], outputs={"value": "${steps.end.output}"})
    outputs = await run_workflow(workflow, desk, input_data=input_data)
    assert isinstance(outputs, dict)
    return outputs["value"]


def findings_of(step: dict[str, Any], *, shows: str = "${steps.w.output}") -> Sequence[WorkflowFinding]:
    try:
        return compile_steps([step, echo("end", shows)], outputs="${steps.end.output}").warnings
    except InvalidWorkflowError as error:
        return error.findings


class TestTime:
    @pytest.mark.parametrize(
        ("config", "asked"),
        [
            pytest.param({"seconds": 90}, {"seconds": 90.0}, id="seconds"),
            pytest.param({"seconds": "${input.seconds}"}, {"seconds": 5.0}, id="referred seconds"),
            pytest.param({"seconds": "${input.missing ?? null}"}, {"seconds": 0.0}, id="null is no time"),
            pytest.param({"until": "2026-11-20T11:00:00+01:00"}, {"until": AT}, id="until with an offset"),
            pytest.param({"until": "2026-11-20"}, {"until": datetime(2026, 11, 20, tzinfo=UTC)}, id="a day"),
            pytest.param({"until": "${input.day}T10:00"}, {"until": AT}, id="referred moment"),
        ],
    )
    async def test_is_waited_for(self, config: dict[str, Any], asked: dict[str, Any]) -> None:
        desk = Desk(is_timed_out=True)

        output = await give(wait(**config), desk, seconds=5, day="2026-11-20")

        assert desk.asked == [Wait(kind=WaitKind.TIMER, step_id="w", **asked)]
        assert output == {"ended_at": STAMP}

    @pytest.mark.parametrize(
        ("config", "given", "message"),
        [
            pytest.param({"seconds": "${input.x}"}, "5", "seconds is a number of seconds, not text", id="text"),
            pytest.param({"seconds": "${input.x}"}, -1, "seconds is from 0 to 31622400", id="negative"),
            pytest.param({"until": "${input.x}"}, 5, "until is an ISO 8601 time in text, not a", id="number"),
            pytest.param({"until": "${input.x}"}, "noon", 'such as 2026-11-20T10:00:00Z, not "noon"', id="word"),
            pytest.param({"event": "${input.x}"}, "a b", "An event has a name of 1 to 100", id="event"),
        ],
    )
    async def test_that_is_none_fails_the_step(self, config: dict[str, Any], given: JsonValue, message: str) -> None:
        with pytest.raises(RunFailedError) as failed:
            await give(wait(**config), Desk(), x=given)

        assert failed.value.error["type"] == "wait_config_invalid"
        assert message in failed.value.error["message"]


class TestSignal:
    async def test_gives_its_payload(self) -> None:
        desk = Desk({"sum": 5})

        output = await give(wait(event="paid:${input.order}", timeout_seconds=60), desk, order="A-1")

        assert desk.asked == [Wait(kind=WaitKind.EVENT, step_id="w", name="paid:A-1", seconds=60.0)]
        assert output == {"event": "paid:A-1", "payload": {"sum": 5}, "received_at": STAMP}

    async def test_goes_by_aliases(self) -> None:
        step = wait(event="paid", timeout_seconds=60, fields={"outputs": ["payment"]})

        assert await give(step, Desk({"sum": 5}), shows="${steps.w.payment.sum}") == 5

    async def test_that_does_not_come_fails_the_run(self) -> None:
        with pytest.raises(RunFailedError, match='The signal "paid" did not come in time') as failed:
            await give(wait(event="paid", timeout_seconds=60), Desk(is_timed_out=True))

        assert failed.value.error["type"] == "wait_timed_out"
        assert failed.value.error["details"] == {"event": "paid", "timed_out_at": STAMP}

    @pytest.mark.parametrize(
        ("on_timeout", "fields", "output"),
        [
            pytest.param("continue", {}, None, id="continue"),
            pytest.param("default", {"default_value": {"sum": 0}}, {"sum": 0}, id="default"),
            pytest.param("fail", {"error_mode": "continue"}, None, id="fail leaves it to the error mode"),
        ],
    )
    async def test_that_does_not_come_is_taken_as_the_step_says(
        self, on_timeout: str, fields: dict[str, Any], output: JsonValue
    ) -> None:
        step = wait(event="paid", timeout_seconds=60, on_timeout=on_timeout, fields=fields)

        assert await give(step, Desk(is_timed_out=True)) == output


class TestFindings:
    @pytest.mark.parametrize(
        ("step", "pointer", "message"),
        [
            pytest.param(
                wait(),
                "/steps/0/config",
                'Say what to wait for: "seconds", "until" (an ISO time) or "event" (the name of a signal).',
                id="nothing",
            ),
            pytest.param(
                wait(seconds=1, until="2026-11-20"),
                "/steps/0/config/until",
                'Wait for one thing: "seconds" or "until", not both.',
                id="two things",
            ),
            pytest.param(
                wait(seconds=-1), "/steps/0/config/seconds", '"seconds" must be at least 0; this is -1.', id="negative"
            ),
            pytest.param(
                wait(until="tomorrow"),
                "/steps/0/config/until",
                'until is an ISO 8601 time such as 2026-11-20T10:00:00Z, not "tomorrow".',
                id="no moment",
            ),
            pytest.param(
                wait(event="a b", timeout_seconds=5),
                "/steps/0/config/event",
                'An event has a name of 1 to 100 letters, digits, _ . : or -, not "a b".',
                id="no name",
            ),
            pytest.param(
                wait(event="paid"),
                "/steps/0/config/event",
                "Without timeout_seconds it waits for the signal as long as it takes.",
                id="no time-out",
            ),
            pytest.param(
                wait(seconds=5, fields={"timeout_seconds": 3}),
                "/steps/0/timeout_seconds",
                '"timeout_seconds" goes with "event"; a wait for a time ends by itself.',
                id="time-out of a time",
            ),
            pytest.param(
                wait(event="paid", on_timeout="continue"),
                "/steps/0/config/on_timeout",
                "It never times out: give timeout_seconds, too.",
                id="on_timeout without one",
            ),
            pytest.param(
                wait(event="paid", timeout_seconds=5, on_timeout="default"),
                "/steps/0/config/on_timeout",
                'on_timeout "default" needs a default_value on the step (null is one).',
                id="no default value",
            ),
            pytest.param(
                wait(seconds=5, fields={"retry": {"max_attempts": 2}}),
                "/steps/0/retry",
                "A time-out is not tried again: give it more time, or say what follows with on_timeout.",
                id="retry",
            ),
            pytest.param(
                wait(signal="paid"),
                "/steps/0/config/signal",
                'Unknown field "signal". Did you mean "event"?',
                id="other name",
            ),
        ],
    )
    def test_name_the_place_and_what_to_do(self, step: dict[str, Any], pointer: str, message: str) -> None:
        assert [(each.pointer, each.message) for each in findings_of(step)] == [(pointer, message)]

    @pytest.mark.parametrize(
        ("config", "shows", "hint"),
        [
            pytest.param(
                {"event": "paid", "timeout_seconds": 5}, "${steps.w.paylod}", 'Did you mean "payload"?', id="signal"
            ),
            pytest.param({"seconds": 5}, "${steps.w.payload}", "There are: ended_at", id="time"),
        ],
    )
    def test_judge_what_is_read_of_its_output(self, config: dict[str, Any], shows: str, hint: str) -> None:
        (finding,) = findings_of(wait(**config), shows=shows)

        assert hint in finding.message
