"""Dry runs: the plan in order, what is known and what is not, what fails, and that nobody is called."""

import asyncio
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from callboard.workflows.dry_runs.history import Seen
from callboard.workflows.dry_runs.plans import NOTHING, Certainty, Span
from callboard.workflows.dry_runs.walk import MAX_ITEMS_WALKED, DryRunTooSlowError
from tests.unit.workflows.dry_runs.conftest import (
    Rehearsals,
    ask,
    choose,
    look_up,
    past_runs,
    past_step,
    repeat,
    say,
    steps_of,
)

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string", "maxLength": 30}, "tone": {"type": "string", "default": "kind"}},
}


def prompt_of(plan: Any, step_id: str) -> str:
    """Return the text of the only message of a step's only call."""
    (call,) = steps_of(plan)[step_id].calls
    (message,) = call.messages
    return message.text


class TestPrompts:
    async def test_are_rendered_from_the_input(self, rehearse: Rehearsals) -> None:
        found = await rehearse(
            ask("a", "Hi ${input.name}, be ${input.tone}"), input_schema=SCHEMA, input_data={"name": "Ada"}
        )

        assert prompt_of(found.plan, "a") == "Hi Ada, be kind"

    async def test_mark_what_is_not_known_with_its_size(self, rehearse: Rehearsals) -> None:
        steps = [look_up("places"), ask("a", "Near: ${steps.places.data}"), ask("b", "Sum up ${steps.a.content}")]

        found = await rehearse(*steps, input_data={})

        assert prompt_of(found.plan, "a") == "Near: «steps.places.data: unknown, about 2,000 characters»"
        assert prompt_of(found.plan, "b") == "Sum up «steps.a.content: unknown, about 800 characters»"  # 400 / 2 x 4

    async def test_have_what_transforms_make_of_the_input(self, rehearse: Rehearsals) -> None:
        join = {"operation": "join", "input": "${input.tags}", "config": {"separator": "+"}}
        steps = [{"id": "tags", "type": "transform", "config": join}, ask("a", "${steps.tags.output}")]

        found = await rehearse(*steps, input_data={"tags": ["x", "y"]})

        assert prompt_of(found.plan, "a") == "x+y"

    async def test_have_aliases_and_system_prompts(self, rehearse: Rehearsals) -> None:
        rehearse.prompts["sys.md"] = "Be ${tone}."
        config = {"system_template": "sys.md", "variables": {"tone": "${input.tone}"}}
        steps = [ask("a", "Hi", outputs=["draft"]), ask("b", "Mend ${steps.a.draft}", config=config)]

        found = await rehearse(*steps, input_data={"tone": "brief"})

        (call,) = steps_of(found.plan)["b"].calls
        assert [(message.role, message.text) for message in call.messages] == [
            ("system", "Be brief."),
            ("user", "Mend «steps.a.content: unknown, about 800 characters»"),
        ]

    async def test_of_a_loop_show_the_first_items(self, rehearse: Rehearsals) -> None:
        found = await rehearse(
            repeat("each", "${input.names}", ask("a", "${index}: ${item}")), input_data={"names": list("vwxyz")}
        )

        assert [call.messages[0].text for call in steps_of(found.plan)["a"].calls] == ["0: v", "1: w", "2: x"]

    async def test_are_cut_where_all_together_are_too_much(self, rehearse: Rehearsals) -> None:
        steps = [ask("a", "x" * 1_200_000), ask("b", "y" * 1_200_000)]

        found = await rehearse(*steps, input_data={})

        assert prompt_of(found.plan, "a") == "x" * 1_200_000
        assert prompt_of(found.plan, "b") == "y" * 800_000 + "… (400,000 more characters)"
        assert found.load.input_tokens.likely == 2 * 300_004


class TestInput:
    async def test_without_one_everything_but_defaults_is_unknown(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", "Hi ${input.name}, be ${input.tone}"), input_schema=SCHEMA)

        assert prompt_of(found.plan, "a") == "Hi «input.name: unknown, about 30 characters», be kind"
        assert found.input_errors == ()
        assert found.assumptions[0] == "There is no input, so all of it counts as unknown."

    async def test_without_a_schema_any_path_is_unknown(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", "Hi ${input.a.b[0]}"))

        assert prompt_of(found.plan, "a").startswith("Hi «input.a.b[0]: unknown")

    async def test_that_does_not_fit_is_told_and_the_plan_is_made(self, rehearse: Rehearsals) -> None:
        steps = [ask("a", "Hi ${input.name}"), choose("c", "input.name == 'Ada'", [ask("b", "x")])]

        found = await rehearse(*steps, input_schema=SCHEMA, input_data={"tone": 5})

        assert [error.pointer for error in found.input_errors] == ["", "/tone"]
        assert prompt_of(found.plan, "a") == "Hi «input.name: unknown, about 30 characters»"
        assert steps_of(found.plan)["b"].certainty is Certainty.POSSIBLE

    async def test_reserved_names_of_the_context_are_there(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", "${context.workflow} ${context.job_id}"), input_data={})

        assert prompt_of(found.plan, "a") == "rehearsed «context.job_id: unknown, about 36 characters»"


class TestConditions:
    async def test_that_are_known_decide(self, rehearse: Rehearsals) -> None:
        step = choose("c", "input.n > 1", [ask("yes", "x")], [ask("no", "x")])

        found = await rehearse(step, ask("after", "x", when="input.n > 5"), input_data={"n": 3})

        certainties = {step_id: step.certainty.value for step_id, step in steps_of(found.plan).items()}
        assert certainties == {"c": "certain", "yes": "certain", "no": "never", "after": "never"}

    async def test_that_are_not_known_leave_all_branches_possible(self, rehearse: Rehearsals) -> None:
        step = choose("c", "steps.a.content == 'ok'", [ask("yes", "x")], [ask("no", "x"), ask("more", "x")])

        found = await rehearse(ask("a", "x"), step, input_data={})

        yes, no = found.plan[1].branches
        assert (yes.condition, yes.share, no.condition, no.share) == (
            "steps.a.content == 'ok'",
            Decimal("0.5"),
            None,
            Decimal("0.5"),
        )
        assert {each.certainty for each in (yes, no)} == {Certainty.POSSIBLE}
        tokens = found.plan[1].load.output_tokens
        assert tokens == Span.of(50, 300, 800)  # the least of one, (200 + 2 x 200) / 2, 400 + 400

    async def test_cases_behind_one_that_holds_are_never_taken(self, rehearse: Rehearsals) -> None:
        cases = [
            {"when": "steps.a.content == 'ok'", "steps": [ask("first", "x")]},
            {"when": "input.n > 1", "steps": [ask("second", "x")]},
            {"when": "input.n > 2", "steps": [ask("third", "x")]},
        ]
        step = {"id": "c", "type": "conditional", "config": {"cases": cases, "default": [ask("last", "x")]}}

        found = await rehearse(ask("a", "x"), step, input_data={"n": 3})

        certainties = [branch.certainty.value for branch in found.plan[1].branches]
        assert certainties == ["possible", "possible", "never", "never"]

    async def test_behind_a_branch_that_may_not_run_its_steps_are_in_doubt(self, rehearse: Rehearsals) -> None:
        steps = [
            ask("a", "x"),
            choose("c", "steps.a.content == 'ok'", [say("inner", "text")]),
            ask("b", "x", when="steps.inner.skipped"),
            ask("d", "${steps.inner.output}|${steps.c.output}"),
        ]

        found = await rehearse(*steps, input_data={})

        assert steps_of(found.plan)["b"].certainty is Certainty.POSSIBLE
        assert "«steps.inner" in prompt_of(found.plan, "d")

    async def test_behind_a_branch_that_does_not_run_its_steps_read_as_null(self, rehearse: Rehearsals) -> None:
        steps = [choose("c", "input.n > 9", [say("inner", "text")]), ask("d", "[${steps.inner.output.x}]")]

        found = await rehearse(*steps, input_data={"n": 1})

        assert prompt_of(found.plan, "d") == "[]"

    async def test_a_step_that_may_fail_has_an_unknown_success(self, rehearse: Rehearsals) -> None:
        steps = [
            look_up("a", error_mode="continue"),
            look_up("b"),
            ask("c", "x", when="steps.a.success"),
            ask("d", "x", when="steps.b.success"),
        ]

        found = steps_of((await rehearse(*steps, input_data={})).plan)

        assert (found["c"].certainty, found["d"].certainty) == (Certainty.POSSIBLE, Certainty.CERTAIN)


class TestLoops:
    async def test_over_a_list_that_is_known_count_its_items(self, rehearse: Rehearsals) -> None:
        found = await rehearse(
            repeat("each", "${input.names}", ask("a", "${item}")), input_data={"names": ["x", "y", "z"]}
        )

        loop = found.plan[0].loop
        assert loop is not None
        assert (loop.over, loop.count, loop.is_count_known) == ("input.names", Span.exactly(3), True)
        assert steps_of(found.plan)["a"].times == Span.exactly(3)
        assert found.load.output_tokens.high == 1_200  # 3 x 400

    async def test_over_an_unknown_list_are_guessed(self, rehearse: Rehearsals) -> None:
        found = await rehearse(
            look_up("places"), repeat("each", "${steps.places.data}", ask("a", "${item.name}")), input_data={}
        )

        loop = found.plan[1].loop
        assert loop is not None
        assert (loop.count, loop.is_count_known) == (Span.of(0, 5, 20), False)
        assert steps_of(found.plan)["a"].certainty is Certainty.POSSIBLE
        assert found.load.output_tokens == Span.of(0, 1_000, 8_000)  # 0, 5 x 200, 20 x 400
        assert any('How many items "each" goes over is not known' in text for text in found.assumptions)

    async def test_over_nothing_run_nothing(self, rehearse: Rehearsals) -> None:
        found = await rehearse(repeat("each", [], ask("a", "x")), ask("b", "${steps.each.output}"), input_data={})

        assert steps_of(found.plan)["a"].certainty is Certainty.NEVER
        assert prompt_of(found.plan, "b") == "[]"

    async def test_over_many_items_are_walked_for_some_and_counted_for_all(self, rehearse: Rehearsals) -> None:
        many = list(range(MAX_ITEMS_WALKED * 10))

        found = await rehearse(repeat("each", "${input.many}", ask("a", "xxxx")), input_data={"many": many})

        assert steps_of(found.plan)["a"].times == Span.exactly(1_000)
        assert found.load.output_tokens.likely == 200_000

    async def test_items_that_differ_are_added_up(self, rehearse: Rehearsals) -> None:
        body = choose("c", "item > 1", [ask("big", "x")], [repeat("inner", "${input.two}", say("s", "y"))])

        found = await rehearse(repeat("each", [1, 2, 3], body), input_data={"two": [1, 2]})

        steps = steps_of(found.plan)
        assert (steps["big"].certainty, steps["big"].times) == (Certainty.POSSIBLE, Span.exactly(2))
        assert (steps["s"].certainty, steps["s"].times) == (Certainty.POSSIBLE, Span.exactly(2))

    async def test_an_item_may_go_by_any_name(self, rehearse: Rehearsals) -> None:
        found = await rehearse(repeat("each", ["x"], ask("a", "${self}"), **{"as": "self"}), input_data={})

        assert prompt_of(found.plan, "a") == "x"

    async def test_a_list_of_unknown_values_is_known_to_have_them(self, rehearse: Rehearsals) -> None:
        items = [{"title": "A", "text": "${steps.a.content}"}, {"title": "B", "text": "${steps.a.content}"}]

        found = await rehearse(
            ask("a", "x"), repeat("each", items, ask("b", "${item.title}: ${item.text}")), input_data={}
        )

        assert steps_of(found.plan)["b"].times == Span.exactly(2)
        assert steps_of(found.plan)["b"].calls[1].messages[0].text.startswith("B: «steps.a.content")


class TestTransforms:
    async def test_are_not_run_on_what_is_not_known(self, rehearse: Rehearsals) -> None:
        keep = {"operation": "filter", "input": "${steps.places.data}", "config": {"condition": "item.open"}}
        steps = [
            look_up("places"),
            {"id": "open", "type": "transform", "config": keep},
            ask("a", "${steps.open.output}"),
        ]

        found = await rehearse(*steps, input_data={})

        assert prompt_of(found.plan, "a").startswith("«steps.open: unknown, about 2,0")
        assert found.warnings == ()

    async def test_that_read_something_unknown_per_item_are_not_run(self, rehearse: Rehearsals) -> None:
        keep = {"operation": "filter", "input": [1, 2], "config": {"condition": "item in steps.places.data"}}
        steps = [
            look_up("places"),
            {"id": "kept", "type": "transform", "config": keep},
            ask("a", "${steps.kept.output}"),
        ]

        found = await rehearse(*steps, input_data={})

        assert prompt_of(found.plan, "a").startswith("«steps.kept: unknown")

    async def test_texts_with_something_unknown_in_them_are_not_worked_on(self, rehearse: Rehearsals) -> None:
        steps = [
            ask("a", "x"),
            repeat("each", ["from ${steps.a.content}"], say("cut", "[${item}]")),
            ask("b", "${steps.each.output}"),
        ]

        found = await rehearse(*steps, input_data={})

        assert "«steps.cut: unknown" in prompt_of(found.plan, "b")


class TestProblems:
    async def test_a_step_that_would_fail_is_told(self, rehearse: Rehearsals) -> None:
        keep = {"operation": "filter", "input": "${input.n}", "config": {"condition": "item > 1"}}
        steps = [{"id": "kept", "type": "transform", "config": keep}, ask("a", "Hi ${steps.kept.output}")]

        found = await rehearse(*steps, input_data={"n": 5})

        assert "list" in (found.plan[0].problem or "")
        (warning,) = found.warnings
        assert (warning.code, warning.pointer) == ("step_would_fail", "/steps/0")
        assert 'The step "kept" would fail' in warning.message
        assert prompt_of(found.plan, "a").startswith("Hi «steps.kept: unknown")

    async def test_a_prompt_that_leads_to_nothing_is_told(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", "Hi ${input.name}"), input_data={"nam": "Ada"})

        assert "${input.name} leads to nothing" in found.warnings[0].message

    async def test_a_failure_that_is_continued_reads_as_null(self, rehearse: Rehearsals) -> None:
        steps = [say("a", "${input.absent}", error_mode="continue"), ask("b", "[${steps.a.output}] ${steps.a.success}")]

        found = await rehearse(*steps, input_data={})

        assert prompt_of(found.plan, "b") == "[] false"

    async def test_a_failure_with_a_default_value_gives_it(self, rehearse: Rehearsals) -> None:
        fields = {"error_mode": "default", "default_value": "none of ${input.x}"}

        found = await rehearse(
            say("a", "${input.absent}", **fields), ask("b", "${steps.a.output}"), input_data={"x": 3}
        )

        assert prompt_of(found.plan, "b") == "none of 3"

    async def test_outputs_that_could_not_be_made_are_told(self, rehearse: Rehearsals) -> None:
        found = await rehearse(say("a", "x"), outputs={"b": "${input.absent}"}, input_data={})

        assert [(warning.code, warning.pointer) for warning in found.warnings] == [("outputs_would_fail", "/outputs")]

    async def test_a_run_that_would_take_too_long_is_told(self, rehearse: Rehearsals) -> None:
        found = await rehearse(ask("a", "x"), timeout_seconds=2, input_data={})

        assert found.warnings[-1].code == "timeout_likely"
        assert found.load.seconds.high == 2

    @pytest.mark.parametrize(("budget_usd", "is_told"), [(0.0000001, True), (100, False)], ids=["above", "below"])
    async def test_a_run_that_is_likely_to_cost_more_than_its_budget_is_told(
        self, rehearse: Rehearsals, budget_usd: float, *, is_told: bool
    ) -> None:
        found = await rehearse(ask("a", "x"), budget_usd=budget_usd, input_data={})

        assert ("budget_likely_exceeded" in [warning.code for warning in found.warnings]) == is_told


class TestLimits:
    async def test_gives_up_between_steps(self, rehearse: Rehearsals) -> None:
        with pytest.raises(DryRunTooSlowError):
            await rehearse(say("a", "x"), input_data={}, max_seconds=0)

    async def test_gives_up_a_transform_that_takes_too_long(self, rehearse: Rehearsals) -> None:
        pattern = {"operation": "regex_extract", "input": "${input.text}", "config": {"pattern": "(a|aa)+$"}}
        step = {"id": "slow", "type": "transform", "config": pattern}

        with pytest.raises(DryRunTooSlowError):
            await rehearse(step, input_data={"text": "a" * 60 + "!"}, max_seconds=0.2)

    async def test_works_in_a_loop_of_any_thread(self, rehearse: Rehearsals) -> None:
        found = await asyncio.to_thread(lambda: asyncio.run(rehearse(say("a", "x"), ask("b", "x"), input_data={})))

        assert [step.id for step in found.plan] == ["a", "b"]


class TestWorkflowsInside:
    INNER: ClassVar[dict[str, Any]] = {
        "input_schema": SCHEMA,
        "steps": [ask("draft", "Hi ${input.name}, be ${input.tone}"), say("text", "${steps.draft.content}!")],
        "outputs": {"text": "${steps.text.output}", "for": "${input.name}"},
    }

    @staticmethod
    def sub(given: Any, **fields: Any) -> dict[str, Any]:
        return {"id": "sub", "type": "workflow", "config": {"workflow": "inner", "input": given}, **fields}

    async def test_are_gone_through_with_their_input(self, rehearse: Rehearsals) -> None:
        found = await rehearse(
            self.sub({"name": "${input.who}"}), input_data={"who": "Ada"}, workflows={"inner": self.INNER}
        )

        (sub,) = found.plan
        (inside,) = sub.branches
        assert [step.id for step in inside.steps] == ["draft", "text"]
        assert prompt_of(found.plan, "draft") == "Hi Ada, be kind"
        assert sub.load == inside.steps[0].load + inside.steps[1].load
        assert sub.load.cost_usd is not None
        assert sub.load.cost_usd.high > 0

    async def test_give_what_is_known_of_their_outputs(self, rehearse: Rehearsals) -> None:
        steps = [self.sub({"name": "Ada"}), say("known", "${steps.sub.for}"), ask("end", "${steps.sub.text}")]

        found = await rehearse(*steps, input_data={}, workflows={"inner": self.INNER})

        assert steps_of(found.plan)["known"].problem is None
        assert prompt_of(found.plan, "end").startswith("«steps.text")

    async def test_whose_input_would_not_fit_are_told(self, rehearse: Rehearsals) -> None:
        found = await rehearse(
            self.sub({"name": "${input.who}"}), input_data={"who": 5}, workflows={"inner": self.INNER}
        )

        (sub,) = found.plan
        assert sub.problem is not None
        assert '/name: 5 is not of type "string"' in sub.problem

    async def test_in_a_loop_count_once_per_item(self, rehearse: Rehearsals) -> None:
        steps = [repeat("each", "${input.names}", self.sub({"name": "${item}"}))]

        found = await rehearse(*steps, input_data={"names": ["Ada", "Lin", "Bo"]}, workflows={"inner": self.INNER})

        assert steps_of(found.plan)["draft"].times == Span.exactly(3)
        assert steps_of(found.plan)["draft"].calls[2].messages[0].text == "Hi Bo, be kind"

    async def test_that_are_skipped_never_run(self, rehearse: Rehearsals) -> None:
        found = await rehearse(
            self.sub({"name": "Ada"}, when="input.n > 1"), input_data={"n": 1}, workflows={"inner": self.INNER}
        )

        assert {step.certainty for step in steps_of(found.plan).values()} == {Certainty.NEVER}

    async def test_have_a_history_of_their_own(self, rehearse: Rehearsals) -> None:
        past = past_runs(
            draft=past_step(output_tokens=Seen(100, 100, 100), calls=Seen(1, 1, 1)),
            **{"sub/draft": past_step(output_tokens=Seen(7, 7, 7), calls=Seen(1, 1, 1))},
        )
        steps = [ask("draft", "Hi"), self.sub({"name": "Ada"})]

        found = await rehearse(*steps, input_data={}, past=past, workflows={"inner": self.INNER})

        outer, sub = found.plan
        assert outer.load.output_tokens.likely == 100
        assert steps_of([sub])["draft"].load.output_tokens.likely == 7
        assert steps_of([sub])["draft"].basis == "history"

    async def test_their_warnings_stand_at_the_step_of_this_file(self, rehearse: Rehearsals) -> None:
        inner = {**self.INNER, "steps": [ask("draft", "Hi", config={"max_tokens": None})], "outputs": {"text": "x"}}
        inner["timeout_seconds"] = 1

        found = await rehearse(self.sub({"name": "Ada"}), input_data={}, workflows={"inner": inner})

        assert {warning.pointer for warning in found.warnings} == {"/steps/0"}
        assert {warning.code for warning in found.warnings} == {"no_max_tokens", "timeout_likely"}
        assert all(warning.message.startswith('In the workflow that "sub" runs: ') for warning in found.warnings)
        assert found.load.seconds.high == 1


FORM = {"type": "object", "properties": {"fine": {"type": "boolean"}, "remark": {"type": "string"}}}


def sign_off(**config: Any) -> dict[str, Any]:
    return {"id": "ok", "type": "approval", "timeout_seconds": 3600, "config": {"title": "${input.x}?", **config}}


def pause(**config: Any) -> dict[str, Any]:
    return {"id": "nap", "type": "wait", "config": config}


class TestWaits:
    @pytest.mark.parametrize(
        ("step", "words"),
        [
            pytest.param(sign_off(), "waits for a person", id="person"),
            pytest.param(sign_off(required_answers=3), "waits for 3 people", id="people"),
            pytest.param(pause(seconds=3600), "waits 3,600 s", id="seconds"),
            pytest.param(pause(until="2026-11-20"), "waits until 2026-11-20T00:00:00Z", id="until"),
            pytest.param(pause(event="paid:${input.x}"), "waits for the signal paid:7", id="signal"),
            pytest.param(pause(seconds="${steps.a.content}"), "waits for a time", id="unknown seconds"),
        ],
    )
    async def test_say_for_what_and_take_nothing(self, rehearse: Rehearsals, step: dict[str, Any], words: str) -> None:
        found = await rehearse(ask("a", "Hi"), step, input_data={"x": 7})

        planned = steps_of(found.plan)[step["id"]]
        assert planned.waits == words
        assert (planned.load.cost_usd, planned.load.seconds) == (NOTHING, NOTHING)
        assert "Time in which the run waits for people, signals or moments is no part of its duration." in (
            found.assumptions
        )

    async def test_give_what_nobody_knows_in_the_form_of_the_answer(self, rehearse: Rehearsals) -> None:
        steps = [sign_off(form_schema=FORM), ask("a", "${steps.ok.answer}")]

        found = await rehearse(*steps, input_data={"x": 7})

        assert prompt_of(found.plan, "a") == (
            '{"fine":"«steps.ok.answer.fine: unknown, about 5 characters»",'
            '"remark":"«steps.ok.answer.remark: unknown, about 20 characters»"}'
        )

    async def test_leave_both_branches_possible(self, rehearse: Rehearsals) -> None:
        steps = [sign_off(form_schema=FORM), choose("c", "steps.ok.answer.fine", [say("y", "yes")], [say("n", "no")])]

        found = await rehearse(*steps, input_data={"x": 7})

        assert steps_of(found.plan)["y"].certainty is Certainty.POSSIBLE
        assert steps_of(found.plan)["n"].certainty is Certainty.POSSIBLE

    async def test_may_time_out_where_the_run_goes_on(self, rehearse: Rehearsals) -> None:
        steps = [sign_off(on_timeout="continue"), say("late", "late", when="!steps.ok.success")]

        found = await rehearse(*steps, input_data={"x": 7})

        assert steps_of(found.plan)["late"].certainty is Certainty.POSSIBLE

    async def test_that_cannot_be_are_told(self, rehearse: Rehearsals) -> None:
        found = await rehearse(pause(seconds="${input.x}"), input_data={"x": -1})

        assert [warning.code for warning in found.warnings] == ["step_would_fail"]
