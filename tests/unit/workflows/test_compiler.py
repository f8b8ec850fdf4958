"""The compiler: every mistake of a file at once, each with its place and what to write instead."""

from collections.abc import Sequence
from typing import Any

import pytest

from callboard.workflows.bundles import Bundle
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import InvalidWorkflowError
from callboard.workflows.findings import WorkflowFinding
from tests.fixtures.scripted_steps import compile_steps, echo, scripted_registry


def findings_of(steps: Sequence[Any], **top_level: Any) -> list[WorkflowFinding]:
    """Return the errors of a file with `steps`."""
    with pytest.raises(InvalidWorkflowError) as refused:
        compile_steps(steps, **top_level)
    return [finding for finding in refused.value.findings if finding.is_error]


def places_of(steps: Sequence[Any], **top_level: Any) -> set[tuple[str, str]]:
    """Return (pointer, code) of the errors of a file with `steps`."""
    return {(finding.pointer, finding.code) for finding in findings_of(steps, **top_level)}


def parallel(step_id: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "parallel", "config": config}


class TestCompileWorkflow:
    def test_tells_all_mistakes_at_once(self) -> None:
        steps = [
            echo("a", "${steps.nobody.output}", when="1 +"),
            {"id": "b", "type": "ehco"},
            {"id": "no good", "type": "echo"},
            parallel("p", max_concurency=3, steps=[echo("a", "${")]),
        ]

        places = places_of(steps, outputs={"x": ["${steps.z.output}"]}, input_schema={"type": "objct"})

        assert places == {
            ("/steps/0/config/value", "unknown_step"),
            ("/steps/0/when", "invalid_condition"),
            ("/steps/1/type", "unknown_step_type"),
            ("/steps/2/id", "shape"),
            ("/steps/3/config/max_concurency", "unknown_field"),
            ("/steps/3/config/steps/0/id", "duplicate_id"),
            ("/steps/3/config/steps/0/config/value", "invalid_reference"),
            ("/outputs/x/0", "unknown_step"),
            ("/input_schema/type", "invalid_schema"),
        }

    def test_looks_at_the_steps_of_a_file_whose_top_cannot_be_read(self) -> None:
        with pytest.raises(InvalidWorkflowError) as refused:
            compile_workflow(
                Bundle(definition={"name": "Bad Name", "steps": [{"id": "a", "type": "ehco"}]}), scripted_registry()
            )

        assert {finding.pointer for finding in refused.value.findings} == {"/name", "/steps/0/type"}

    def test_gives_what_a_run_needs(self) -> None:
        workflow = compile_steps([echo("a"), echo("b")], timeout_seconds=5, context={"tone": "kind"})

        assert (workflow.name, workflow.total_steps, workflow.timeout_seconds) == ("test", 2, 5)
        assert workflow.context == {"tone": "kind"}
        assert [step.id for step in workflow.steps] == ["a", "b"]

    def test_warns_where_there_are_no_outputs(self) -> None:
        assert [finding.code for finding in compile_steps([echo("a")]).warnings] == ["no_outputs"]

    @pytest.mark.parametrize("step_type", ["llm", "transform"])
    def test_tells_planned_types_from_unknown_ones(self, step_type: str) -> None:
        assert places_of([{"id": "a", "type": step_type}]) == {("/steps/0/type", "not_yet_supported")}

    def test_points_at_container_fields_that_stand_on_the_step(self) -> None:
        steps = [{"id": "if", "type": "conditional", "condition": "1 +", "if_true": [echo("a", "${steps.x.output}")]}]

        assert places_of(steps) == {
            ("/steps/0/condition", "invalid_condition"),
            ("/steps/0/if_true/0/config/value", "unknown_step"),
        }

    def test_tells_every_bad_text_of_one_value(self) -> None:
        value = {"good": "${input.x}", "bad": ["${", "${inptu.x}"], "worse": "${a b}"}

        assert places_of([echo("a", value)]) == {
            ("/steps/0/config/value/bad/0", "invalid_reference"),
            ("/steps/0/config/value/bad/1", "unknown_reference"),
            ("/steps/0/config/value/worse", "invalid_reference"),
        }

    def test_a_default_error_mode_of_default_needs_a_value_at_each_step(self) -> None:
        steps = [echo("a", default_value=1), echo("b"), echo("c", error_mode="fail")]

        assert places_of(steps, default_error_mode="default") == {("/steps/1", "shape")}

    def test_tells_mistakes_in_the_order_of_the_file(self) -> None:
        steps = [echo(f"s{n}", "${steps.x.y}" if n in {2, 10} else 1) for n in range(11)]

        pointers = [finding.pointer for finding in findings_of(steps, outputs="${nothing}")]

        assert pointers == ["/outputs", "/steps/2/config/value", "/steps/10/config/value"]


class TestStepReferences:
    def test_names_the_nearest_step(self) -> None:
        (finding,) = findings_of([echo("orders"), echo("b", "${steps.order.output}")])

        assert finding.message == '${steps.order.output}: there is no step "order". Did you mean "orders"?'

    @pytest.mark.parametrize(
        ("steps", "code"),
        [
            ([echo("a", "${steps.b.output}"), echo("b")], "step_comes_later"),
            ([echo("a", "${steps.a.output}")], "step_not_reachable"),
            ([parallel("p", branches={"x": [echo("a", "${steps.p.output}")]})], "step_not_reachable"),
            ([parallel("p", branches={"x": [echo("a")], "y": [echo("b", "${steps.a.output}")]})], "sibling_branch"),
            ([parallel("p", steps=[echo("a"), echo("b", "${steps.a.output}")])], "sibling_branch"),
            (
                [{"id": "if", "type": "conditional", "condition": True, "if_true": [echo("a")],
                  "if_false": [echo("b", "${steps.a.output}")]}],
                "sibling_branch",
            ),
            ([parallel("p", for_each=[1], steps=[echo("a")]), echo("b", "${steps.a.output}")], "step_in_loop"),
            ([echo("a", when="steps.b.output == 1"), echo("b")], "step_comes_later"),
            ([parallel("p", for_each="${steps.a.output}", steps=[echo("a")])], "step_in_loop"),
        ],
        ids=["later", "itself", "around it", "branch", "parallel step", "else", "in a loop", "condition", "own loop"],
    )  # fmt: skip
    def test_refuses_steps_that_have_not_run_there(self, steps: Sequence[Any], code: str) -> None:
        assert {finding.code for finding in findings_of(steps)} == {code}

    @pytest.mark.parametrize(
        "steps",
        [
            [parallel("p", branches={"x": [echo("a")]}), echo("b", "${steps.a.output}")],
            [parallel("p", branches={"x": [echo("a"), echo("b", "${steps.a.output}")]})],
            [parallel("p", for_each=[1], steps=[echo("a"), echo("b", "${steps.a.output} ${item} ${index}")])],
            [echo("a"), parallel("p", for_each=[1], **{"as": "row"}, steps=[echo("b", "${steps.a.output}${row}")])],
            [{"id": "if", "type": "conditional", "condition": True, "if_true": [echo("a")]},
             echo("b", "${steps.a.output}")],
        ],
        ids=["after a branch", "in a branch", "in an item", "from an item", "after a conditional"],
    )  # fmt: skip
    def test_allows_steps_that_have(self, steps: Sequence[Any]) -> None:
        compile_steps(steps)

    def test_passes_references_to_a_step_that_could_not_be_read(self) -> None:
        steps = [{"id": "a", "type": "echo", "wen": True}, echo("b", "${steps.a.output}")]

        assert places_of(steps) == {("/steps/0/wen", "unknown_field")}

    def test_refuses_loop_names_outside_the_loop(self) -> None:
        steps = [parallel("p", for_each=[1], steps=[echo("a", "${item}")]), echo("b", "${item}")]

        assert places_of(steps) == {("/steps/1/config/value", "unknown_reference")}

    def test_refuses_secrets_where_no_call_is_made(self) -> None:
        assert places_of([echo("a", "${secrets.TOKEN}")]) == {("/steps/0/config/value", "secret_not_allowed")}


class TestValidateInput:
    def test_tells_everything_that_does_not_fit(self) -> None:
        schema = {
            "type": "object",
            "required": ["city"],
            "properties": {"age": {"type": "integer"}, "tags": {"items": {"type": "string"}}},
        }
        workflow = compile_steps([echo("a")], input_schema=schema)

        findings = workflow.validate_input({"age": "old", "tags": ["x", 1]})

        assert {finding.pointer for finding in findings} == {"", "/age", "/tags/1"}

    def test_takes_what_fits(self) -> None:
        assert compile_steps([echo("a")], input_schema={"type": "object"}).validate_input({"a": 1}) == []

    def test_a_required_property_with_a_default_may_be_left_out(self) -> None:
        schema = {"required": ["tone"], "properties": {"tone": {"default": "kind"}}}

        assert compile_steps([echo("a")], input_schema=schema).validate_input({}) == []

    def test_a_schema_that_leads_elsewhere_is_refused_and_not_fetched(self) -> None:
        (finding,) = findings_of([echo("a")], input_schema={"$ref": "http://127.0.0.1:9/schema"})

        assert finding.code == "invalid_schema"
        assert "is not fetched" in finding.message
