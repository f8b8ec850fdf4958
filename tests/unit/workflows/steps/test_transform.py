"""The transform step: its input, its config, threads and time."""

import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict

from callboard.core.json_values import JsonValue
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiler import CompiledWorkflow, compile_workflow
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from callboard.workflows.steps.registry import StepRegistry
from callboard.workflows.steps.transform import TransformStep
from callboard.workflows.transforms.base import Transform, TransformTools
from callboard.workflows.transforms.extract_fields import ExtractFields
from callboard.workflows.transforms.join import Join
from callboard.workflows.transforms.merge import Merge
from callboard.workflows.transforms.registry import TransformRegistry
from callboard.workflows.transforms.template import Template
from tests.fixtures.scripted_steps import EchoStep, echo, run_workflow


class RepeatConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    times: int = 1
    text: str = ""


class Repeat(Transform):
    """Gives the input so often, and the name of the thread it ran in."""

    operation = "repeat"
    config_model = RepeatConfig

    def apply(self, value: JsonValue, config: Any, tools: TransformTools) -> JsonValue:
        return {"values": [value] * config.times, "thread": threading.current_thread().name}


class SlowRepeat(Repeat):
    operation = "slow"
    runs_in_thread: ClassVar[bool] = True

    def apply(self, value: JsonValue, config: Any, tools: TransformTools) -> JsonValue:
        time.sleep(config.times / 100)
        return super().apply(value, config, tools)


TRANSFORMS = TransformRegistry([Repeat(), SlowRepeat(), Template(), Join(), Merge(), ExtractFields()])


def compile_transform(config: Mapping[str, Any], *before: Mapping[str, Any], **step: Any) -> CompiledWorkflow:
    steps = [*before, {"id": "t", "type": "transform", "config": config, **step}]
    registry = StepRegistry([TransformStep(TRANSFORMS), EchoStep()])
    return compile_workflow(Bundle(definition={"name": "test", "steps": steps}), registry)


async def transform(config: Mapping[str, Any], *before: Mapping[str, Any], **step: Any) -> JsonValue:
    outputs = await run_workflow(compile_transform(config, *before, **step), input_data={"list": ["a", "b"], "n": 2})
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

    async def test_fills_references_in_its_config(self) -> None:
        output = await transform({"operation": "repeat", "input": 1, "config": {"times": "${input.n}"}})

        assert output["values"] == [1, 1]

    async def test_leaves_raw_fields_to_the_operation(self) -> None:
        config = {"template": "${item} of ${input.n} after ${steps.e.output}"}

        output = await transform({"operation": "template", "input": "${input.list}", "config": config}, echo("e", 7))

        assert output == ["a of 2 after 7", "b of 2 after 7"]

    async def test_an_item_may_have_a_key_by_any_name(self) -> None:
        output = await transform(
            {"operation": "template", "input": [{"self": 1, "names": 2}], "config": {"template": "${self}${names}"}}
        )

        assert output == ["12"]

    async def test_runs_heavy_operations_in_a_thread(self) -> None:
        here = threading.current_thread().name

        assert (await transform({"operation": "repeat", "input": 1}))["thread"] == here
        assert (await transform({"operation": "slow", "input": 1}))["thread"] != here

    async def test_stops_waiting_for_a_heavy_operation_in_time(self) -> None:
        with pytest.raises(RunFailedError) as failed:
            await transform({"operation": "slow", "input": 1, "config": {"times": 20}}, timeout_seconds=0.01)

        assert failed.value.error["type"] == "step_timeout"
        assert failed.value.error["retryable"] is True

    async def test_takes_error_mode_and_default_in_its_config(self) -> None:
        config = {"operation": "join", "input": 5, "error_mode": "default", "default_value": "none"}

        assert await transform(config) == "none"

    async def test_tells_what_references_brought_into_its_config(self) -> None:
        with pytest.raises(RunFailedError, match="times: Input should be a valid integer") as failed:
            await transform({"operation": "repeat", "input": 1, "config": {"times": "${input.list}"}})

        assert failed.value.error["type"] == "transform_config_invalid"


class TestCompile:
    @pytest.mark.parametrize(
        ("config", "pointer", "code"),
        [
            ({"operation": "jion", "input": 1}, "/steps/0/config/operation", "unknown_transform"),
            ({"operation": "filter", "input": 1}, "/steps/0/config/operation", "unknown_transform"),
            ({"operation": "join"}, "/steps/0/config", "missing_field"),
            (
                {"operation": "repeat", "input": 1, "config": {"tims": 1}},
                "/steps/0/config/config/tims",
                "unknown_field",
            ),
            ({"operation": "repeat", "input": "${steps.x.y}"}, "/steps/0/config/input", "unknown_step"),
            (
                {"operation": "repeat", "input": 1, "config": {"times": "${steps.x.y}"}},
                "/steps/0/config/config/times",
                "unknown_step",
            ),
            (
                {"operation": "template", "config": {"template": "${steps.x.y} ${any}"}},
                "/steps/0/config/config/template",
                "unknown_step",
            ),
            ({"operation": "repeat", "input": 1, "confg": {}}, "/steps/0/config/confg", "unknown_field"),
            ({"input": 1}, "/steps/0/config/operation", "missing_field"),
        ],
        ids=[
            "operation", "not yet", "no input", "config field", "input", "config reference", "raw field", "field",
            "none",
        ],
    )  # fmt: skip
    def test_tells_what_is_wrong(self, config: dict[str, Any], pointer: str, code: str) -> None:
        with pytest.raises(InvalidWorkflowError) as refused:
            compile_transform(config)

        assert {(f.pointer, f.code) for f in refused.value.findings if f.is_error} == {(pointer, code)}
