"""Waits of runs in memory: answers that were written ahead, somebody who is asked, times, and whose time counts."""

import asyncio
from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.local_runs import LocalResult, LocalRun, NoObserver
from callboard.workflows.local_waits import TIMED_OUT, LocalWaits, WrittenWaits, go_on_at_once
from callboard.workflows.steps.waiting import Wait, WaitKind, describe_wait
from tests.fixtures.scripted_steps import World, call, compile_steps

FORM = {"type": "object", "required": ["fine"], "properties": {"fine": {"type": "boolean"}}}
FINE = {"fine": True}


def approval(step_id: str = "ok", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "approval", "config": config}


def wait(**config: Any) -> dict[str, Any]:
    return {"id": "w", "type": "wait", "config": config}


def loop(step: dict[str, Any], count: int = 2) -> dict[str, Any]:
    return {"id": "each", "type": "parallel", "config": {"for_each": list(range(count)), "steps": [step]}}


async def run(*steps: dict[str, Any], waits: LocalWaits, outputs: Any = "${steps.ok.answer}") -> LocalResult:
    return await LocalRun(compile_steps(steps, outputs=outputs), waits=waits, timeout_seconds=20).perform({})


def people(**answers: JsonValue) -> LocalWaits:
    return LocalWaits(WrittenWaits(answers), sleep=go_on_at_once)


def signals(**payloads: list[JsonValue]) -> LocalWaits:
    return LocalWaits(WrittenWaits(signals=payloads), sleep=go_on_at_once)


class Person:
    """Answers after a while, or never."""

    def __init__(self, answer: JsonValue, *, after_seconds: float = 0.0) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self._after_seconds = after_seconds

    async def ask(self, path: str, wait: Wait) -> JsonValue:
        del wait
        self.asked.append(path)
        await asyncio.sleep(self._after_seconds)
        return self.answer


class TestPeople:
    async def test_answer_by_the_id_of_the_step(self) -> None:
        result = await run(approval(form_schema=FORM), waits=people(ok=FINE))

        assert result.outputs == FINE

    @pytest.mark.parametrize(
        ("answers", "given"),
        [
            pytest.param({"ok": ["a", "b"]}, ["a", "b"], id="in turn"),
            pytest.param({"ok": "a"}, ["a", "a"], id="the same each time"),
            pytest.param({"ok": [["a"], []]}, [["a"], []], id="lists"),
            pytest.param({"each/ok": ["a", "b"], "ok": "c"}, ["a", "b"], id="path before id"),
            pytest.param({"each[1]/ok": "b", "ok": "a"}, ["a", "b"], id="item before all"),
        ],
    )
    async def test_answer_items_of_a_loop(self, answers: dict[str, JsonValue], given: list[JsonValue]) -> None:
        result = await run(loop(approval()), waits=people(**answers), outputs="${steps.each.output[*].answer}")

        assert result.outputs == {"value": given}

    async def test_answer_as_many_as_are_wanted(self) -> None:
        outputs = ["${steps.ok.answer}", "${steps.ok.answers[*].answered_by}"]

        result = await run(approval(required_answers=2), waits=people(ok=["yes", "no"]), outputs=outputs)

        assert result.outputs == {"value": [["yes", "no"], ["local-1", "local-2"]]}

    @pytest.mark.parametrize("answers", [TIMED_OUT, [TIMED_OUT], []], ids=["mark", "mark in turn", "used up"])
    async def test_let_the_time_pass(self, answers: JsonValue) -> None:
        result = await run(approval(timeout_seconds=3600), waits=people(ok=answers))

        assert result.error is not None
        assert result.error["type"] == "wait_timed_out"

    async def test_cannot_let_a_time_pass_that_never_ends(self) -> None:
        waits = people(ok=TIMED_OUT)

        result = await run(approval(), waits=waits)

        assert result.error is not None
        assert result.error["type"] == "nobody_answers"
        assert list(waits.unanswered) == ["ok"]

    async def test_give_what_the_form_takes(self) -> None:
        result = await run(approval(form_schema=FORM), waits=people(ok={"fine": "yes"}))

        assert result.error is not None
        assert result.error["type"] == "invalid_answer"
        assert '/fine "yes" is not of type "boolean"' in result.error["message"]

    async def test_are_asked_where_nothing_was_written(self) -> None:
        person = Person("yes")
        waits = LocalWaits(WrittenWaits({"ok": "no"}), respondent=person)

        result = await run(
            approval(), approval("other"), waits=waits, outputs=["${steps.ok.answer}", "${steps.other.answer}"]
        )

        assert result.outputs == {"value": ["no", "yes"]}
        assert person.asked == ["other"]

    async def test_are_asked_until_the_time_is_up(self) -> None:
        waits = LocalWaits(respondent=Person("yes", after_seconds=60))

        result = await run(approval(timeout_seconds=0.01, on_timeout="continue"), waits=waits, outputs=["${steps.ok}"])

        assert result.outputs == {"value": [None]}

    async def test_who_are_not_there_end_the_run_with_a_way_out(self) -> None:
        waits = LocalWaits(way_out=lambda path, wait: f"Write {path} of {wait.step_id}.")

        result = await run(loop(approval(), count=1), waits=waits, outputs=1)

        assert result.error is not None
        assert "nobody is here to end that. Write each[0]/ok of ok." in result.error["message"]


class TestSignals:
    async def test_come_in_turn(self) -> None:
        steps = [wait(event="paid"), {**wait(event="paid"), "id": "again"}]

        result = await run(*steps, waits=signals(paid=[1, 2]), outputs=["${steps.w.payload}", "${steps.again.payload}"])

        assert result.outputs == {"value": [1, 2]}

    async def test_that_do_not_come_time_out(self) -> None:
        step = wait(event="paid", timeout_seconds=60, on_timeout="continue")

        result = await run(step, waits=signals(paid=[]), outputs=["${steps.w.output}"])

        assert result.outputs == {"value": [None]}

    async def test_that_nobody_sends_end_the_run(self) -> None:
        waits = LocalWaits()

        result = await run(wait(event="paid", timeout_seconds=60), waits=waits, outputs=1)

        assert result.error is not None
        assert 'waits for the signal "paid"' in result.error["message"]


class TestTimes:
    async def test_are_slept(self) -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        await run(wait(seconds=90), waits=LocalWaits(sleep=sleep), outputs=1)

        assert slept == [90]

    async def test_do_not_count_as_time_of_the_run(self) -> None:
        waits = LocalWaits(respondent=Person("yes", after_seconds=0.3))
        workflow = compile_steps([approval()], outputs="${steps.ok.answer}")

        result = await LocalRun(workflow, waits=waits, timeout_seconds=0.1).perform({})

        assert result.outputs == {"value": "yes"}

    async def test_count_while_another_branch_works(self) -> None:
        branches = {"a": [approval()], "b": [call("b")]}
        workflow = compile_steps(
            [{"id": "p", "type": "parallel", "config": {"branches": branches}}], World(slow={"b": 10**9})
        )
        waits = LocalWaits(respondent=Person("yes", after_seconds=60))

        result = await LocalRun(workflow, waits=waits, timeout_seconds=0.1).perform({})

        assert result.error is not None
        assert result.error["type"] == "run_timeout"


class TestObserver:
    async def test_is_told_what_is_waited_for(self) -> None:
        told: list[str] = []

        class Watcher(NoObserver):
            def step_waits(self, path: str, wait: Wait) -> None:
                told.append(f"{path} {describe_wait(wait)}")

            def step_goes_on(self, path: str) -> None:
                told.append(path)

        await LocalRun(compile_steps([approval()], outputs=1), observer=Watcher(), waits=people(ok=1)).perform({})

        assert told == ["ok waits for a person", "ok"]


@pytest.mark.parametrize(
    ("wait", "words"),
    [
        (Wait(kind=WaitKind.APPROVAL, step_id="a", required_answers=3), "waits for 3 people"),
        (Wait(kind=WaitKind.EVENT, step_id="a", name="paid"), "waits for the signal paid"),
        (Wait(kind=WaitKind.TIMER, step_id="a", seconds=0.5), "waits 0.5 s"),
    ],
    ids=["people", "signal", "time"],
)
def test_describe_wait(wait: Wait, words: str) -> None:
    assert describe_wait(wait) == words
