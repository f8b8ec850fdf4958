"""`filter`: what a condition may name, and what is said where it fails."""

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import RunFailedError
from tests.fixtures.scripted_steps import echo
from tests.fixtures.transform_steps import transform

PLACES = [
    {"name": "A", "rating": 4.5, "tags": ["x"]},
    {"name": "B", "rating": 3, "tags": []},
    {"name": "C", "rating": 5},
]


async def names_where(condition: str | bool, value: JsonValue = PLACES, **run_input: JsonValue) -> str:
    kept = await transform("filter", value, {"condition": condition}, before=(echo("e", {"least": 4}),), **run_input)
    return "".join(item["name"] for item in kept)


class TestApply:
    @pytest.mark.parametrize(
        ("condition", "kept"),
        [
            pytest.param("item.rating > 4", "AC", id="item"),
            pytest.param("index < 2", "AB", id="index"),
            pytest.param("item.rating > input.least", "AC", id="input"),
            pytest.param("item.rating >= steps.e.output.least", "AC", id="step"),
            pytest.param("context.job_id == 'j1'", "ABC", id="context"),
            pytest.param("item.name in input.names", "AB", id="list of the input"),
            pytest.param("has(item.tags) && size(item.tags) > 0", "A", id="a key that may be missing"),
            pytest.param("${item.tags ?? []} == []", "BC", id="reference with a default"),
            pytest.param("has(item.tags) && item.tags.exists(tag, tag == 'x')", "A", id="macro"),
            pytest.param(True, "ABC", id="true"),
            pytest.param(False, "", id="false"),
            pytest.param("false", "", id="false as text"),
        ],
    )
    async def test_keeps_items_for_which_the_condition_holds(self, condition: str | bool, kept: str) -> None:
        assert await names_where(condition, least=4, names=["A", "B"]) == kept

    @pytest.mark.parametrize("value", [None, []], ids=["null", "empty list"])
    async def test_gives_an_empty_list_of_nothing(self, value: JsonValue) -> None:
        assert await names_where("item.x", value) == ""

    async def test_takes_ten_thousand_items(self) -> None:
        kept = await transform("filter", list(range(10_000)), {"condition": "item >= 9998"})

        assert kept == [9_998, 9_999]

    @pytest.mark.parametrize(
        ("value", "condition", "message"),
        [
            pytest.param(
                [{"a": 1}, {}], "item.a > 0", r'Item \[1\] of 2: step "t": .*"a" is not in item', id="missing"
            ),
            pytest.param([1, "x"], "item > 0", r"Item \[1\] of 2: .*types that do not fit .item is text", id="type"),
            pytest.param(
                [1], "item + 1", r"Item \[0\] of 1: .*gives a whole number, but a condition is true", id="number"
            ),
            pytest.param({"rows": [1]}, "true", r"filter takes a list, .*there are: \.rows \(1\)", id="no list"),
            pytest.param(
                [0] * 10_001, "true", r"filter goes over at most 10,000 items, .* has 10,001.*\$\[0:", id="many"
            ),
        ],
    )
    async def test_names_what_is_wrong_and_where(self, value: JsonValue, condition: str, message: str) -> None:
        with pytest.raises(RunFailedError, match=message) as failed:
            await names_where(condition, value)

        assert failed.value.error["type"] == "transform_failed"
