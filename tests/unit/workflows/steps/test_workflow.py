"""The `workflow` step: another definition runs in its place, in a scope of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.steps.base import StepOutcome
from tests.fixtures.scripted_steps import WatchedCheckpointer, World, call, compile_steps, echo, run_workflow, subrun

BROKEN = PermanentError("it is broken")

GREETING: dict[str, Any] = {
    "input_schema": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "times": {"type": "integer", "default": 2},
        },
        "additionalProperties": False,
    },
    "context": {"word": "Hello"},
    "steps": [echo("text", "${context.word} ${input.name}"), echo("all", ["${steps.text.output}", "${input.times}"])],
    "outputs": {"text": "${steps.text.output}", "all": "${steps.all.output}"},
}
OPEN: dict[str, Any] = {
    "input_schema": {"properties": {"name": {"type": "string"}}},
    "steps": [echo("text", "${input.name}")],
}


async def run(
    steps: Sequence[Mapping[str, Any]],
    workflows: Mapping[str, Mapping[str, Any]],
    *,
    world: World | None = None,
    journal: WatchedCheckpointer | None = None,
    **top_level: Any,
) -> JsonValue:
    return await run_workflow(compile_steps(steps, world, workflows=workflows, **top_level), journal)


def findings_of(steps: Sequence[Mapping[str, Any]], workflows: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Return pointer and message of every error."""
    with pytest.raises(InvalidWorkflowError) as refused:
        compile_steps(steps, workflows=workflows)
    return {(found.pointer, found.message) for found in refused.value.findings if found.is_error}


def doubts_of(steps: Sequence[Mapping[str, Any]], workflows: Mapping[str, Mapping[str, Any]]) -> list[WorkflowFinding]:
    """Return every warning but the one that there are no outputs."""
    return [each for each in compile_steps(steps, workflows=workflows).warnings if each.code != "no_outputs"]


class TestRun:
    async def test_gives_what_a_run_of_the_workflow_gives(self) -> None:
        outputs = await run([subrun("sub", "greeting", {"name": "Ada"})], {"greeting": GREETING})

        assert outputs == {"text": "Hello Ada", "all": ["Hello Ada", 2]}

    @pytest.mark.parametrize(
        ("last", "expected"), [(3, {"value": 3}), ({"a": 1}, {"a": 1}), (None, {"value": None})], ids=repr
    )
    async def test_without_outputs_gives_the_last_steps_output_as_an_object(
        self, last: JsonValue, expected: JsonValue
    ) -> None:
        steps = [subrun("sub", "other"), echo("end", ["${steps.sub.output}"])]

        assert await run(steps, {"other": {"steps": [echo("a", last)]}}) == {"value": [expected]}

    async def test_journals_the_steps_inside_below_its_path(self) -> None:
        journal = WatchedCheckpointer()

        await run([subrun("sub", "greeting", {"name": "Ada"})], {"greeting": GREETING}, journal=journal)

        assert [(each.path, each.step_id, each.output_json is None) for each in journal.saved] == [
            ("sub/text", "text", False),
            ("sub/all", "all", False),
            ("sub", "sub", True),
        ]

    async def test_counts_progress_in_steps_of_the_outer_file(self) -> None:
        journal = WatchedCheckpointer()
        workflow = compile_steps(
            [subrun("sub", "greeting", {"name": "A"}), echo("b")], workflows={"greeting": GREETING}
        )

        await run_workflow(workflow, journal)

        assert workflow.total_steps == 2
        assert [path for path, progress in journal.started if progress is not None] == ["sub", "b"]

    async def test_takes_its_config_on_the_step_too(self) -> None:
        step = {"id": "sub", "type": "workflow", "workflow": "greeting", "input": {"name": "Ada"}}

        assert await run([step, echo("end", "${steps.sub.text}")], {"greeting": GREETING}) == {"value": "Hello Ada"}


class TestScope:
    async def test_has_a_context_of_its_own_and_what_every_run_is_told(self) -> None:
        inner = {"context": {"b": 2}, "steps": [echo("see", ["${context}"])]}

        outputs = await run(
            [subrun("sub", "other"), echo("end", "${steps.sub.value[0]}")], {"other": inner}, context={"a": 1}
        )

        assert outputs == {"b": 2, "job_id": "j1", "workflow": "other"}

    async def test_ids_may_be_those_of_steps_outside(self) -> None:
        steps = [echo("text", "outer"), subrun("sub", "greeting", {"name": "Ada"}), echo("end", "${steps.text.output}")]

        assert await run(steps, {"greeting": GREETING}) == {"value": "outer"}

    @pytest.mark.parametrize("mode", ["continue", "default"])
    async def test_shows_no_step_to_those_behind_it_when_it_fails(self, mode: str) -> None:
        step = subrun("sub", "other", error_mode=mode, default_value=1)
        inner = {"steps": [call("a"), call("b")]}
        world = World({"sub/b": [BROKEN]})
        journal = WatchedCheckpointer()

        await run(
            [call("b", 5), step, echo("end", "${steps.b.output}")], {"other": inner}, world=world, journal=journal
        )

        assert journal.records["end"].output_json == "5"
        assert journal.records["sub"].outcome in {StepOutcome.CONTINUED, StepOutcome.DEFAULTED}

    def test_steps_inside_cannot_be_read_from_outside(self) -> None:
        found = findings_of(
            [subrun("sub", "greeting", {"name": "A"}), echo("end", "${steps.text.output}")], {"greeting": GREETING}
        )

        told = '"text" is a step of the workflow that "sub" runs; read what that gives: ${steps.sub.output}.'
        assert found == {("/steps/1/config/value", f"${{steps.text.output}}: {told}")}

    def test_the_workflow_cannot_read_what_is_around_the_step(self) -> None:
        inner = {"steps": [echo("a", "${steps.before.output}")]}

        ((pointer, message),) = findings_of([echo("before"), subrun("sub", "other")], {"other": inner})

        assert pointer == "/steps/1/config/workflow"
        assert 'there is no step "before"' in message

    def test_references_are_checked_against_its_outputs(self) -> None:
        steps = [subrun("sub", "greeting", {"name": "A"}), echo("end", "${steps.sub.txt}")]

        (found,) = [
            each
            for each in compile_steps(steps, workflows={"greeting": GREETING}).warnings
            if each.code != "no_outputs"
        ]

        assert (found.code, found.pointer) == ("unknown_key", "/steps/1/config/value")
        assert 'Did you mean "text"?' in found.message


class TestInput:
    async def test_that_does_not_fit_fails_the_step_and_names_the_pointers(self) -> None:
        steps = [echo("a", {"name": 5}), subrun("sub", "greeting", "${steps.a.output}")]

        with pytest.raises(RunFailedError) as failed:
            await run(steps, {"greeting": GREETING})

        error = failed.value.error
        assert (error["type"], error["step_id"], error["retryable"]) == ("workflow_input_invalid", "sub", False)
        assert '"greeting": /name: 5 is not of type "string".' in error["message"]
        assert error["details"]["errors"] == [{"pointer": "/name", "message": '5 is not of type "string"'}]

    async def test_left_out_is_an_empty_object(self) -> None:
        assert await run([subrun("sub", "other")], {"other": {"steps": [echo("a", "${input}")]}}) == {}

    @pytest.mark.parametrize(
        ("given", "pointer", "message"),
        [
            pytest.param(
                {"times": "${input.n}"},
                "/steps/0/config/input",
                'The workflow "greeting" needs the input "name".',
                id="missing",
            ),
            pytest.param(
                {"name": "${input.n}", "tmes": 1},
                "/steps/0/config/input/tmes",
                'The workflow "greeting" has no input "tmes". Did you mean "times"?',
                id="unknown",
            ),
            pytest.param(
                {"name": "${input.n}", "times": "two"},
                "/steps/0/config/input/times",
                'This does not fit the workflow "greeting": "two" is not of type "integer".',
                id="wrong value beside a reference",
            ),
            pytest.param(
                5,
                "/steps/0/config/input",
                'This does not fit the workflow "greeting": 5 is not of type "object".',
                id="no object",
            ),
        ],
    )
    def test_is_checked_at_load_as_far_as_it_is_known(self, given: JsonValue, pointer: str, message: str) -> None:
        assert findings_of([subrun("sub", "greeting", given)], {"greeting": GREETING}) == {(pointer, message)}

    def test_that_is_missing_altogether_is_told_at_the_config(self) -> None:
        assert findings_of([subrun("sub", "greeting")], {"greeting": GREETING}) == {
            ("/steps/0/config", 'The workflow "greeting" needs the input "name".')
        }

    def test_that_an_open_schema_does_not_name_is_a_warning(self) -> None:
        (found,) = doubts_of([subrun("sub", "open", {"nam": "x"})], {"open": OPEN})

        assert (found.code, found.pointer) == ("unknown_input", "/steps/0/config/input/nam")


class TestErrors:
    async def test_the_workflows_own_default_error_mode_holds_inside(self) -> None:
        inner = {"default_error_mode": "continue", "steps": [call("a"), echo("b", "${steps.a.error.message}")]}

        outputs = await run([subrun("sub", "other")], {"other": inner}, world=World({"a": [BROKEN]}))

        assert "it is broken" in str(outputs)

    async def test_a_failure_inside_goes_to_the_step(self) -> None:
        with pytest.raises(RunFailedError) as failed:
            await run([subrun("sub", "other")], {"other": {"steps": [call("a")]}}, world=World({"a": [BROKEN]}))

        assert failed.value.error["step_id"] == "a"
        assert failed.value.error["message"] == 'Workflow "test", step "a" (sub/a): it is broken'

    async def test_outputs_that_lead_to_nothing_fail_the_step(self) -> None:
        inner = {"steps": [echo("a", {"x": 1})], "outputs": {"y": "${steps.a.y}"}}

        with pytest.raises(
            RunFailedError, match=r'step "sub": outputs of the workflow "other" /y: \$\{steps.a.y\} leads'
        ) as failed:
            await run([subrun("sub", "other")], {"other": inner})

        assert failed.value.error["step_id"] == "sub"

    async def test_the_workflows_timeout_ends_it_and_is_worth_a_retry(self) -> None:
        inner = {"timeout_seconds": 0.02, "steps": [call("slow")]}
        world = World(slow={"slow": 10**9})
        journal = WatchedCheckpointer()
        steps = [subrun("sub", "other", error_mode="continue", retry={"max_attempts": 2}), echo("end", "${steps.sub}")]

        await run(steps, {"other": inner}, world=world, journal=journal)

        error = journal.records["sub"].error
        assert error is not None
        assert (error["type"], error["retryable"]) == ("step_timeout", True)
        assert 'The workflow "other" took longer than its 0.02 seconds (timeout_seconds).' in error["message"]
        assert [path for path, _, _ in journal.retries] == ["sub"]


class TestCompile:
    @pytest.mark.parametrize(
        ("config", "pointer", "message"),
        [
            pytest.param({}, "/steps/0/config/workflow", 'The field "workflow" is missing.', id="no name"),
            pytest.param(
                {"workflow": "greting"},
                "/steps/0/config/workflow",
                'There is no workflow "greting". Did you mean "greeting"?',
                id="unknown",
            ),
            pytest.param(
                {"workflow": "${input.which}"},
                "/steps/0/config/workflow",
                "The workflow is named in the file, not by a reference. A conditional step chooses among several.",
                id="a reference",
            ),
            pytest.param(
                {"workflow": "Greeting"},
                "/steps/0/config/workflow",
                "'Greeting' is not a valid workflow: a small letter, then at most 99 small letters, digits, _ or -.",
                id="no name of a workflow",
            ),
            pytest.param(
                {"workflow": "greeting", "inputs": {"name": "A"}, "input": {"name": "A"}},
                "/steps/0/config/inputs",
                'Unknown field "inputs". "input" is there too; remove this one.',
                id="unknown field",
            ),
            pytest.param(
                {"workflow": "greeting", "input": {"name": "${steps.x.output}"}},
                "/steps/0/config/input/name",
                '${steps.x.output}: there is no step "x".',
                id="unknown step",
            ),
        ],
    )
    def test_tells_what_is_wrong(self, config: JsonValue, pointer: str, message: str) -> None:
        found = findings_of([{"id": "sub", "type": "workflow", "config": config}], {"greeting": GREETING})

        assert found == {(pointer, message)}

    @pytest.mark.parametrize(
        ("workflows", "chain"),
        [
            pytest.param({"test": {"steps": []}}, "test -> test", id="itself"),
            pytest.param({"a": {"steps": [subrun("s", "test")]}}, "test -> a -> test", id="through another"),
            pytest.param(
                {"a": {"steps": [subrun("s", "b")]}, "b": {"steps": [subrun("s", "a")]}},
                "a -> b -> a",
                id="further down",
            ),
        ],
    )
    def test_refuses_recursion_with_the_way_round(self, workflows: dict[str, Any], chain: str) -> None:
        ((pointer, message),) = findings_of([subrun("sub", next(iter(workflows)))], workflows)

        assert pointer == "/steps/0/config/workflow"
        assert f"A workflow cannot run itself, nor through others: {chain}." in message

    def test_nests_ten_deep_and_no_deeper(self) -> None:
        workflows = {f"w{depth}": {"steps": [subrun("s", f"w{depth + 1}")]} for depth in range(1, 11)}
        workflows["w10"] = {"steps": [echo("end")]}
        assert compile_steps([subrun("sub", "w1")], workflows=workflows).steps

        workflows |= {"w10": {"steps": [subrun("s", "w11")]}, "w11": {"steps": [echo("end")]}}

        ((_, message),) = findings_of([subrun("sub", "w1")], workflows)
        assert "Workflows run others at most 10 deep" in message

    def test_an_alias_is_the_whole_output(self) -> None:
        steps = [subrun("sub", "greeting", {"name": "A"}, outputs=["card"]), echo("end", "${steps.sub.card.text}")]

        assert not [
            each
            for each in compile_steps(steps, workflows={"greeting": GREETING}).warnings
            if each.code != "no_outputs"
        ]
