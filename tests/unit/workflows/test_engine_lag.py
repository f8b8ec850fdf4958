"""A run with large values: the loop goes on for everybody else while they are made durable and handed on."""

from typing import Any

import pytest

from callboard.workflows.bundles import Bundle
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.loop_lag import MAX_LAG_SECONDS, watched_loop
from tests.fixtures.machine_speed import slowness
from tests.fixtures.scripted_steps import CallStep, EchoStep, World, run_workflow
from tests.fixtures.transform_steps import make_step

OBJECTS = [{"n": number, "text": f"text {number}"} for number in range(100_000)]  # 3.6 MB as JSON
WHOLE = "${input.rows}"


def step(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"id": "t", "type": kind, "config": config}


class TestLag:
    @pytest.mark.parametrize(
        "first",
        [
            pytest.param(step("echo", {"value": WHOLE}), id="a step without a call"),
            pytest.param(step("call", {"value": WHOLE}), id="a paid call"),
            pytest.param(
                step("transform", {"operation": "sort", "input": WHOLE, "config": {"key": "n"}}), id="a transform"
            ),
            pytest.param(
                {"id": "t", "type": "call", "config": {}, "when": "size(input.rows) > 5"}, id="a condition on it"
            ),
        ],
    )
    async def test_stays_small_with_a_hundred_thousand_objects(self, first: dict[str, Any]) -> None:
        definition = {"name": "test", "steps": [first], "outputs": {"rows": "${steps.t.output}"}}
        registry = StepRegistry([EchoStep(), CallStep(World()), make_step()])
        workflow = compile_workflow(Bundle(definition=definition), registry)

        async with watched_loop() as lags:
            outputs = await run_workflow(workflow, input_data={"rows": OBJECTS})

        assert outputs["rows"] in (OBJECTS, None)
        assert max(lags) < MAX_LAG_SECONDS * slowness()
