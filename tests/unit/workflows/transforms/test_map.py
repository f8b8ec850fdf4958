"""`map`: the three ways to say what becomes of an item."""

from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import RunFailedError
from tests.fixtures.scripted_steps import echo
from tests.fixtures.transform_steps import make_step, transform

PLACES = [{"name": "A", "geo": {"lat": 1.5}, "tags": ["x", "y"]}, {"name": "B", "geo": {"lat": 2.5}}]


async def convert(value: JsonValue = PLACES, **config: Any) -> JsonValue:
    return await transform("map", value, config, before=(echo("e", {"unit": "km"}),), city="Seattle")


class TestExpression:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            pytest.param("item.name", ["A", "B"], id="path"),
            pytest.param("item.geo.lat * 2.0", [3.0, 5.0], id="arithmetic"),
            pytest.param("index", [0, 1], id="index"),
            pytest.param("item.name.lower() + '!'", ["a!", "b!"], id="method of a text"),
            pytest.param("item.name + ' in ' + input.city", ["A in Seattle", "B in Seattle"], id="input"),
            pytest.param("steps.e.output.unit", ["km", "km"], id="step"),
            pytest.param(
                "{'n': item.name, 'first': index == 0}",
                [{"n": "A", "first": True}, {"n": "B", "first": False}],
                id="object",
            ),
            pytest.param("has(item.tags) ? size(item.tags) : 0", [2, 0], id="choice"),
            pytest.param("${item.tags ?? []}", [["x", "y"], []], id="reference"),
        ],
    )
    async def test_gives_its_value_for_each_item(self, expression: str, expected: JsonValue) -> None:
        assert await convert(expression=expression) == expected


class TestTemplate:
    @pytest.mark.parametrize(
        ("template", "expected"),
        [
            pytest.param("${index}: ${item.name} (${input.city})", ["0: A (Seattle)", "1: B (Seattle)"], id="text"),
            pytest.param("${name}", ["A", "B"], id="keys of the item"),
            pytest.param("${item.geo}", [{"lat": 1.5}, {"lat": 2.5}], id="one reference keeps the type"),
            pytest.param(
                {"n": "${name}", "of": ["${steps.e.unit}", 1]},
                [{"n": "A", "of": ["km", 1]}, {"n": "B", "of": ["km", 1]}],
                id="any JSON",
            ),
            pytest.param(None, [None, None], id="null"),
        ],
    )
    async def test_is_filled_in_for_each_item(self, template: JsonValue, expected: JsonValue) -> None:
        assert await convert(template=template) == expected


class TestFields:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            pytest.param({"n": "name", "lat": "geo.lat"}, [{"n": "A", "lat": 1.5}, {"n": "B", "lat": 2.5}], id="paths"),
            pytest.param({"t": "tags[0]"}, [{"t": "x"}, {"t": None}], id="nothing there is null"),
            pytest.param(
                {"t": "tags[*]", "q": "$.geo.lat"}, [{"t": ["x", "y"], "q": [1.5]}, {"t": [], "q": [2.5]}], id="lists"
            ),
            pytest.param(
                {"t": "${index}: ${name}, ${input.city}"},
                [{"t": "0: A, Seattle"}, {"t": "1: B, Seattle"}],
                id="texts with references",
            ),
            pytest.param({"n": "item.name", "i": "index"}, [{"n": "A", "i": 0}, {"n": "B", "i": 1}], id="by our names"),
        ],
    )
    async def test_gives_an_object_for_each_item(self, fields: dict[str, Any], expected: JsonValue) -> None:
        assert await convert(fields=fields) == expected

    async def test_reads_a_key_of_the_item_before_a_name_of_ours(self) -> None:
        assert await convert([{"item": {"name": "inner"}, "index": 9}], fields={"n": "item.name", "i": "index"}) == [
            {"n": "inner", "i": 9}
        ]


class TestLimits:
    @pytest.mark.parametrize("value", [None, []], ids=["null", "empty list"])
    async def test_gives_an_empty_list_of_nothing(self, value: JsonValue) -> None:
        assert await convert(value, expression="item.x") == []

    @pytest.mark.parametrize(
        ("value", "config", "message"),
        [
            pytest.param(
                [{"a": 1}, {}], {"expression": "item.a"}, r'Item \[1\] of 2: .*"a" is not in item', id="expression"
            ),
            pytest.param([{"a": 1}, {}], {"template": "${a}"}, r'Item \[1\] of 2: .*nothing called "a"', id="template"),
            pytest.param(
                [1], {"fields": {"x": "${item.a}"}}, r"Item \[0\] of 1: .*item is a whole number", id="fields"
            ),
            pytest.param("text", {"expression": "item"}, "map takes a list, and its input is text", id="no list"),
            pytest.param([0] * 10_001, {"expression": "item"}, "map goes over at most 10,000 items", id="many"),
        ],
    )
    async def test_names_what_is_wrong_and_where(self, value: JsonValue, config: dict[str, Any], message: str) -> None:
        with pytest.raises(RunFailedError, match=message) as failed:
            await convert(value, **config)

        assert failed.value.error["type"] == "transform_failed"

    async def test_stops_before_the_list_grows_too_large(self) -> None:
        with pytest.raises(RunFailedError, match="over 10,000 characters") as failed:
            await transform(
                "map",
                list(range(10_000)),
                {"template": "${input.text}"},
                text="x" * 1_000,
                step=make_step(max_output_bytes=10_000),
            )

        assert failed.value.error["type"] == "value_not_storable"
