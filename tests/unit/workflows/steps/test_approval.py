"""The approval step: what it asks, what it gives, and what becomes of it when nobody answers."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.steps.waiting import Answer, Wait, WaitEnd, WaitKind
from tests.fixtures.scripted_steps import WatchedCheckpointer, compile_steps, echo, run_workflow

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
STAMP = "2026-11-20T10:00:00Z"
FORM = {"type": "object", "properties": {"fine": {"type": "boolean"}}}


class Desk(WatchedCheckpointer):
    """Ends every wait as it is told to, and keeps what was asked."""

    def __init__(self, *values: JsonValue, is_timed_out: bool = False) -> None:
        super().__init__()
        self.asked: list[Wait] = []
        self._end = WaitEnd(
            ended_at=AT,
            is_timed_out=is_timed_out,
            answers=tuple(
                Answer(value=value, answered_by=name, answered_at=AT)
                for value, name in zip(values, ("ada", "bob"), strict=False)
            ),
        )

    async def wait_for(self, path: str, wait: Wait) -> WaitEnd:
        del path
        self.asked.append(wait)
        return self._end


def approval(*, config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "ok", "type": "approval", "timeout_seconds": 60, "config": config or {}, **fields}


async def give(step: dict[str, Any], desk: Desk, *, shows: str = "${steps.ok.output}", **input_data: Any) -> JsonValue:
    """Return what `shows` is when the run has ended."""
    workflow = compile_steps([step, echo("end", shows)], outputs={"value": "${steps.end.output}"})
    outputs = await run_workflow(workflow, desk, input_data=input_data)
    assert isinstance(outputs, dict)
    return outputs["value"]


def findings_of(step: dict[str, Any], *, shows: str = "${steps.ok.output}") -> Sequence[WorkflowFinding]:
    try:
        return compile_steps([step, echo("end", shows)], outputs="${steps.end.output}").warnings
    except InvalidWorkflowError as error:
        return error.findings


class TestQuestion:
    async def test_is_filled_in_from_what_came_before(self) -> None:
        desk = Desk("yes")
        config = {"title": "Send it to ${input.name}?", "instructions": "${input.rows}", "form_schema": FORM}

        await give(approval(config=config), desk, name="Ada", rows=[1, None])

        assert desk.asked == [
            Wait(
                kind=WaitKind.APPROVAL,
                step_id="ok",
                seconds=60,
                title="Send it to Ada?",
                instructions="[1,null]",
                form_schema=FORM,
            )
        ]

    @pytest.mark.parametrize(
        ("fields", "title"),
        [
            pytest.param({"display_name": "Sign off"}, "Sign off", id="display name"),
            pytest.param({}, "ok", id="id"),
            pytest.param({"config": {"title": "${input.missing ?? null}"}}, "ok", id="null"),
            pytest.param({"config": {"title": "x" * 900}}, "x" * 500, id="cut"),
        ],
    )
    async def test_has_a_title(self, fields: dict[str, Any], title: str) -> None:
        desk = Desk("yes")

        await give(approval(**fields), desk)

        assert desk.asked[0].title == title

    @pytest.mark.parametrize(
        ("given", "seconds"),
        [
            pytest.param(90, 90.0, id="number"),
            pytest.param(None, None, id="null has no end"),
        ],
    )
    async def test_takes_its_time_out_from_a_reference(self, given: JsonValue, seconds: float | None) -> None:
        desk = Desk("yes")

        await give(approval(timeout_seconds="${input.seconds}"), desk, seconds=given)

        assert desk.asked[0].seconds == seconds

    @pytest.mark.parametrize("given", ["90", -1, True, 1e9], ids=["text", "negative", "bool", "too long"])
    async def test_refuses_a_time_out_that_is_none(self, given: JsonValue) -> None:
        with pytest.raises(RunFailedError, match="timeout_seconds is") as failed:
            await give(approval(timeout_seconds="${input.seconds}"), Desk("yes"), seconds=given)

        assert failed.value.error["type"] == "wait_config_invalid"


class TestOutput:
    async def test_has_the_answer_and_who_gave_it(self) -> None:
        output = await give(approval(), Desk({"fine": True}))

        one = {"answer": {"fine": True}, "answered_by": "ada", "answered_at": STAMP}
        assert output == {**one, "answers": [one]}

    async def test_of_several_is_a_list_and_who_came_last(self) -> None:
        output = await give(approval(config={"required_answers": 2}), Desk("yes", "no"))

        assert isinstance(output, dict)
        assert output["answer"] == ["yes", "no"]
        assert output["answered_by"] == "bob"
        assert [each["answered_by"] for each in output["answers"]] == ["ada", "bob"]

    async def test_goes_by_aliases(self) -> None:
        assert await give(approval(outputs=["verdict"]), Desk("yes"), shows="${steps.ok.verdict}") == "yes"

    async def test_goes_by_the_same_alias_where_a_default_stands_for_it(self) -> None:
        step = approval(outputs=["verdict"], default_value={"fine": False}, config={"on_timeout": "default"})

        assert await give(step, Desk(is_timed_out=True), shows="${steps.ok.verdict.fine}") is False


class TestTimeOut:
    async def test_fails_the_run_and_tells_who_had_answered(self) -> None:
        desk = Desk("yes", is_timed_out=True)

        with pytest.raises(RunFailedError, match="1 of 2 answers were there") as failed:
            await give(approval(config={"required_answers": 2}), desk)

        error = failed.value.error
        assert (error["type"], error["category"], error["retryable"]) == ("wait_timed_out", "timeout", False)
        assert error["details"]["timed_out_at"] == STAMP
        assert [each["answered_by"] for each in error["details"]["answers"]] == ["ada"]

    @pytest.mark.parametrize(
        ("fields", "output"),
        [
            pytest.param({"config": {"on_timeout": "continue"}}, None, id="continue"),
            pytest.param({"config": {"on_timeout": "default"}, "default_value": "later"}, "later", id="default"),
            pytest.param({"error_mode": "continue"}, None, id="the step's error mode"),
            pytest.param({"config": {"on_timeout": "continue"}, "error_mode": "fail"}, None, id="wins over it"),
        ],
    )
    async def test_is_taken_as_the_step_says(self, fields: dict[str, Any], output: JsonValue) -> None:
        assert await give(approval(**fields), Desk(is_timed_out=True)) == output

    async def test_in_a_branch_that_goes_on_fails_nothing_around_it(self) -> None:
        branch = [approval(config={"on_timeout": "continue"})]
        step = {"id": "p", "type": "parallel", "config": {"branches": {"x": branch, "y": [echo("b", 2)]}}}

        outputs = await run_workflow(compile_steps([step]), Desk(is_timed_out=True))

        assert outputs == {"x": None, "y": 2}

    async def test_is_not_tried_again(self) -> None:
        desk = Desk(is_timed_out=True)

        with pytest.raises(RunFailedError):
            await give(approval(retry={"max_attempts": 3}), desk)

        assert len(desk.asked) == 1


class TestFindings:
    @pytest.mark.parametrize(
        ("step", "pointer", "message"),
        [
            pytest.param(
                {"id": "ok", "type": "approval"},
                "/steps/0/config",
                "Without timeout_seconds it waits for an answer as long as it takes.",
                id="no time-out",
            ),
            pytest.param(
                approval(config={"title": 3}),
                "/steps/0/config/title",
                '"title" must be text, not a whole number. Write it in double quotes.',
                id="title",
            ),
            pytest.param(
                approval(config={"title": "${steps.x.output}"}),
                "/steps/0/config/title",
                '${steps.x.output}: there is no step "x".',
                id="reference in the title",
            ),
            pytest.param(
                approval(timeout_seconds=0),
                "/steps/0/timeout_seconds",
                '"timeout_seconds" must be more than 0; this is 0.',
                id="time-out on the step",
            ),
            pytest.param(
                {"id": "ok", "type": "approval", "timeout": "soon"},
                "/steps/0/timeout",
                '"timeout_seconds" must be a number or one reference ${...}, not text ("soon").',
                id="short time-out on the step",
            ),
            pytest.param(
                {"id": "ok", "type": "approval", "config": {"timeout": 40_000_000}},
                "/steps/0/config/timeout",
                '"timeout_seconds" must be at most 31,622,400; this is 40000000.',
                id="short time-out in the config",
            ),
            pytest.param(
                {"id": "ok", "type": "approval", "timeout": 5, "config": {"timeout_seconds": 6}},
                "/steps/0/timeout",
                '"timeout" says the same as "config.timeout_seconds", and both are given; keep one.',
                id="time-out twice",
            ),
            pytest.param(
                {"id": "ok", "type": "approval", "config": {"on_timeout": "continue"}},
                "/steps/0/config/on_timeout",
                "It never times out: give timeout_seconds, too.",
                id="on_timeout without one",
            ),
            pytest.param(
                approval(config={"on_timeout": "default"}),
                "/steps/0/config/on_timeout",
                'on_timeout "default" needs a default_value on the step (null is one).',
                id="no default value",
            ),
            pytest.param(
                approval(default_value=1),
                "/steps/0/default_value",
                'default_value is used under error_mode "default" only; this step\'s is "fail".',
                id="default value without use",
            ),
            pytest.param(
                approval(config={"form_schema": {"type": "objct"}}),
                "/steps/0/config/form_schema/type",
                '"objct" is no type. Did you mean "object"?',
                id="form",
            ),
            pytest.param(
                approval(config={"form_schema": {"requird": ["a"]}}),
                "/steps/0/config/form_schema/requird",
                'JSON Schema has no "requird", so it checks nothing. Did you mean "required"?',
                id="form's keyword",
            ),
            pytest.param(
                approval(config={"required_answers": 101}),
                "/steps/0/config/required_answers",
                '"required_answers" must be at most 100; this is 101.',
                id="too many answers",
            ),
            pytest.param(
                approval(error_mode="retry"),
                "/steps/0/error_mode",
                "A time-out is not tried again: give it more time, or say what follows with on_timeout.",
                id="error_mode retry",
            ),
        ],
    )
    def test_name_the_place_and_what_to_do(self, step: dict[str, Any], pointer: str, message: str) -> None:
        assert [(each.pointer, each.message) for each in findings_of(step)] == [(pointer, message)]

    @pytest.mark.parametrize(
        ("config", "shows", "hint"),
        [
            pytest.param({}, "${steps.ok.answr}", 'Did you mean "answer"?', id="key"),
            pytest.param({"form_schema": FORM}, "${steps.ok.answer.fien}", 'Did you mean "fine"?', id="form"),
            pytest.param(
                {"form_schema": FORM, "required_answers": 2}, "${steps.ok.answer.fine}", "a list", id="several answers"
            ),
            pytest.param({}, "${steps.ok.answers[0].by}", 'no "by"', id="one of the answers"),
        ],
    )
    def test_judge_what_is_read_of_its_output(self, config: dict[str, Any], shows: str, hint: str) -> None:
        (finding,) = findings_of(approval(config=config), shows=shows)

        assert finding.pointer == "/steps/1/config/value"
        assert hint in finding.message

    @pytest.mark.parametrize("shows", ["${steps.ok.answer.anything}", "${steps.ok.answers[0].answered_by}"])
    def test_let_pass_what_may_be_there(self, shows: str) -> None:
        assert not findings_of(approval(), shows=shows)
