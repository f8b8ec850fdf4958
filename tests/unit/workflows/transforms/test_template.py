"""`template`: one text, or one per item, with the names that it may use."""

from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import RunFailedError
from callboard.workflows.steps.parallel import ParallelStep
from callboard.workflows.steps.registry import StepRegistry
from callboard.workflows.steps.transform import TransformStep
from tests.fixtures.scripted_steps import run_workflow
from tests.fixtures.transform_steps import errors_of, make_step, transform


async def fill(value: JsonValue, text: str, *, step: TransformStep | None = None, **variables: JsonValue) -> JsonValue:
    return await transform("template", value, {"template": text, "variables": variables}, step=step, city="Seattle")


class TestApply:
    @pytest.mark.parametrize(
        ("value", "text", "expected"),
        [
            pytest.param(None, "Hi ${input.city}", "Hi Seattle", id="no input"),
            pytest.param({"name": "A"}, "${name} in ${input.city}", "A in Seattle", id="keys of an object"),
            pytest.param("x", "<${item}>", "<x>", id="the input itself"),
            pytest.param([{"n": "a"}, {"n": "b"}], "${index}: ${n}", ["0: a", "1: b"], id="once per item"),
            pytest.param([1, 2], "${item}!", ["1!", "2!"], id="items that are no objects"),
            pytest.param([], "x", [], id="empty list"),
            pytest.param({"a": 1}, "${a}", "1", id="text even of one reference"),
            pytest.param({"a": None}, "${a}", "", id="nothing of a null"),
            pytest.param({"a": None}, '${a ?? "none"}', "none", id="default"),
            pytest.param({"input": "mine"}, "${input.city}, ${item.input}", "Seattle, mine", id="reserved names"),
            pytest.param({"self": 1, "names": 2}, "${self}${names}", "12", id="keys by any name"),
            pytest.param({"a": "${input.city}"}, "${a}", "${input.city}", id="what was put in is not read again"),
        ],
    )
    async def test_renders(self, value: JsonValue, text: str, expected: JsonValue) -> None:
        assert await fill(value, text) == expected

    async def test_leaves_the_item_of_the_loop_around_it_where_it_has_no_input(self) -> None:
        loop = {
            "id": "each",
            "type": "parallel",
            "config": {
                "for_each": ["a", "b"],
                "steps": [
                    {
                        "id": "line",
                        "type": "transform",
                        "config": {"operation": "template", "config": {"template": "${index}. ${item}"}},
                    }
                ],
            },
        }

        workflow = compile_workflow(
            Bundle(definition={"name": "loop", "steps": [loop]}), StepRegistry([make_step(), ParallelStep()])
        )

        assert await run_workflow(workflow, input_data={}) == {"value": ["0. a", "1. b"]}

    async def test_gives_its_variables_and_lets_them_win_over_data(self) -> None:
        assert await fill([{"tone": "rude", "n": 1}], "${tone} ${n} ${place}", tone="kind", place="${input.city}") == [
            "kind 1 Seattle"
        ]

    async def test_lets_no_variable_hide_the_item(self) -> None:
        assert await fill(["a"], "${item}${index}", item="x", index=7) == ["a0"]

    async def test_names_the_item_and_the_name_that_leads_to_nothing(self) -> None:
        with pytest.raises(RunFailedError, match=r"Item \[1\] of 2: .*nmae.*Did you mean \"name\"") as failed:
            await fill([{"nmae": 1}, {"name": "A"}], "${nmae}")

        assert failed.value.error["type"] == "transform_failed"

    async def test_stops_before_the_texts_grow_too_large(self) -> None:
        with pytest.raises(RunFailedError, match="over 5,000 characters"):
            await fill([1] * 100, "${input.city}" * 20, step=make_step(max_output_bytes=5_000))  # 100 x 140


class TestNames:
    def test_are_known_at_load_where_no_input_brings_more(self) -> None:
        config = {"template": "${tone} ${tne}", "variables": {"tone": "kind"}}

        (finding,) = errors_of("template", config, input=None)

        assert finding.message == '${tne}: there is nothing called "tne" here. Did you mean "tone"?'

    @pytest.mark.parametrize(
        ("config", "more"),
        [
            pytest.param({"template": "${any}"}, {}, id="of the input's keys"),
            pytest.param({"template": "${item}"}, {}, id="of the input itself"),
            pytest.param(
                {"template": "${a}", "variables": {"a": "${input.x}"}}, {"input": None}, id="of the variables"
            ),
        ],
    )
    def test_may_be(self, config: dict[str, Any], more: dict[str, Any]) -> None:
        assert errors_of("template", config, **more) == []
