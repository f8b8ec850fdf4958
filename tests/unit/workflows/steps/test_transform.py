"""The transform step: its input, its config, and what is found when a file is loaded."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict

from callboard.core.json_values import JsonValue
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from callboard.workflows.steps.parallel import ParallelStep
from callboard.workflows.steps.registry import StepRegistry
from callboard.workflows.steps.transform import TransformStep
from callboard.workflows.transforms.base import Notation, Transform, TransformTools
from callboard.workflows.transforms.filter import Filter
from callboard.workflows.transforms.join import Join
from callboard.workflows.transforms.map import Map
from callboard.workflows.transforms.registry import TransformRegistry
from callboard.workflows.transforms.template import Template
from tests.fixtures.scripted_steps import EchoStep, echo, run_workflow


class RepeatConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    times: int = 1
    text: str = ""
    raw: str = ""
    test: str | bool = True


class Repeat(Transform):
    """Gives the input so often, and what its other fields became."""

    operation = "repeat"
    config_model = RepeatConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"raw"})
    item_fields: ClassVar[Mapping[str, Notation]] = {"test": Notation.CONDITION}

    def apply(self, value: JsonValue, config: Any, tools: TransformTools) -> JsonValue:
        return {"values": [value] * config.times, "text": config.text, "raw": config.raw}


TRANSFORMS = TransformRegistry([Repeat(), Template(), Join(), Map(), Filter()])


def compile_transform(config: Mapping[str, Any], *before: Mapping[str, Any], **step: Any) -> CompiledWorkflow:
    steps = [*before, {"id": "t", "type": "transform", "config": config, **step}]
    registry = StepRegistry([TransformStep(TRANSFORMS), EchoStep(), ParallelStep()])
    return compile_workflow(Bundle(definition={"name": "test", "steps": steps}), registry)


async def transform(config: Mapping[str, Any], *before: Mapping[str, Any], **step: Any) -> JsonValue:
    run_input = {"list": ["a", "b"], "n": 2, "rows": [{"c": "x"}, {"c": "y"}]}
    outputs = await run_workflow(compile_transform(config, *before, **step), input_data=run_input)
    return outputs.get("value", outputs)


class TestTransformStep:
    @pytest.mark.parametrize(
        "config",
        [
            {"input": "${input.list}"},
            {"source": "${input.list}"},
            {"config": {"source": "${input.list}"}},
        ],
        ids=["input", "source", "config.source"],
    )
    async def test_takes_its_input(self, config: dict[str, Any]) -> None:
        assert await transform({"operation": "join", **config}) == "a, b"

    async def test_collects_its_input_from_a_list(self) -> None:
        assert await transform({"operation": "join", "input": "${input.rows[*].c}"}) == "x, y"

    async def test_fills_references_in_its_config(self) -> None:
        config = {"times": "${input.n}", "text": "${input.n} of ${steps.e.output}"}

        output = await transform({"operation": "repeat", "input": 1, "config": config}, echo("e", 7))

        assert (output["values"], output["text"]) == ([1, 1], "2 of 7")

    @pytest.mark.parametrize("times", [1, "${input.n}"], ids=["all fixed", "beside references"])
    async def test_leaves_raw_fields_to_the_operation(self, times: JsonValue) -> None:
        config = {"raw": "$['${a}']", "times": times}

        output = await transform({"operation": "repeat", "input": 1, "config": config})

        assert output["raw"] == "$['${a}']"

    async def test_lets_an_item_hide_the_item_of_a_loop_around_it(self) -> None:
        inner = {
            "id": "f",
            "type": "transform",
            "config": {
                "operation": "filter",
                "input": [1, 2, 3],
                "config": {"condition": "item > 1 && outer == 'b' && index < 2"},
            },
        }
        loop = {"id": "p", "type": "parallel", "config": {"for_each": "${input.list}", "as": "outer", "steps": [inner]}}

        output = await transform(
            {"operation": "map", "input": "${steps.p.output}", "config": {"template": "${item}"}}, loop
        )

        assert output == [[], [2]]

    async def test_takes_error_mode_and_default_in_its_config(self) -> None:
        config = {"operation": "join", "input": 5, "error_mode": "default", "default_value": "none"}

        assert await transform(config) == "none"

    async def test_tells_what_references_brought_into_its_config(self) -> None:
        config = {"operation": "repeat", "input": 1, "config": {"times": "${input.list}"}}

        with pytest.raises(
            RunFailedError, match=r"repeat does not fit .* \"times\" must be a whole number, not a"
        ) as failed:
            await transform(config)

        assert failed.value.error["type"] == "transform_config_invalid"


class TestCompile:
    @pytest.mark.parametrize(
        ("config", "pointer", "code"),
        [
            ({"operation": "jion", "input": 1}, "/steps/0/config/operation", "unknown_transform"),
            ({"operation": "sort", "input": 1}, "/steps/0/config/operation", "unknown_transform"),
            ({"operation": "join"}, "/steps/0/config", "missing_field"),
            (
                {"operation": "repeat", "input": 1, "config": {"tims": 1}},
                "/steps/0/config/config/tims",
                "unknown_field",
            ),
            (
                {"operation": "repeat", "input": 1, "config": {"tims": 1, "text": "${input.n}"}},
                "/steps/0/config/config/tims",
                "unknown_field",
            ),
            (
                {"operation": "repeat", "input": 1, "config": {"times": [], "text": "${input.n}"}},
                "/steps/0/config/config/times",
                "shape",
            ),
            ({"operation": "repeat", "input": "${steps.x.y}"}, "/steps/0/config/input", "unknown_step"),
            (
                {"operation": "repeat", "input": 1, "config": {"times": "${steps.x.y}"}},
                "/steps/0/config/config/times",
                "unknown_step",
            ),
            (
                {"operation": "template", "config": {"template": "${steps.x.y}"}},
                "/steps/0/config/config/template",
                "unknown_step",
            ),
            (
                {"operation": "repeat", "input": 1, "config": {"test": "item.x == steps.x.y"}},
                "/steps/0/config/config/test",
                "unknown_step",
            ),
            ({"operation": "repeat", "input": 1, "confg": {}}, "/steps/0/config/confg", "unknown_field"),
            ({"input": 1}, "/steps/0/config/operation", "missing_field"),
        ],
        ids=[
            "operation",
            "not there yet",
            "no input",
            "config field",
            "config field beside references",
            "type beside references",
            "input",
            "config reference",
            "item template",
            "item condition",
            "field",
            "none",
        ],
    )
    def test_tells_what_is_wrong(self, config: dict[str, Any], pointer: str, code: str) -> None:
        with pytest.raises(InvalidWorkflowError) as refused:
            compile_transform(config)

        assert [(f.pointer, f.code) for f in refused.value.findings if f.is_error] == [(pointer, code)]

    def test_tells_of_the_input_and_the_operation_at_once(self) -> None:
        with pytest.raises(InvalidWorkflowError) as refused:
            compile_transform({"operation": "jion", "input": "${steps.x.y}"})

        assert {f.code for f in refused.value.findings if f.is_error} == {"unknown_step", "unknown_transform"}
