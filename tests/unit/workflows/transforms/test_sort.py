"""`sort`: what comes before what, and what has no order."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.sort import Sort, SortConfig

KEYS = st.none() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.5])
ITEMS = st.lists(st.fixed_dictionaries({"n": KEYS, "id": st.integers()}), max_size=30)


def sort(value: JsonValue, **config: Any) -> list[JsonValue]:
    return Sort().apply(value, SortConfig.model_validate(config), TransformTools())


class TestApply:
    @pytest.mark.parametrize(
        ("value", "config", "expected"),
        [
            pytest.param([3, 1.5, 2], {}, [1.5, 2, 3], id="numbers"),
            pytest.param(["b", "a", "B"], {}, ["B", "a", "b"], id="texts by their characters"),
            pytest.param([True, False, True], {}, [False, True, True], id="false before true"),
            pytest.param(["2026-01-02", "2025-12-31"], {}, ["2025-12-31", "2026-01-02"], id="dates as text"),
            pytest.param([1, 3, 2], {"reverse": True}, [3, 2, 1], id="largest first"),
            pytest.param([2, None, 1], {}, [1, 2, None], id="nulls last"),
            pytest.param([2, None, 1], {"reverse": True}, [2, 1, None], id="nulls last when reversed"),
            pytest.param([None, None], {"reverse": True}, [None, None], id="nothing but nulls"),
            pytest.param([], {}, [], id="empty"),
            pytest.param(None, {}, [], id="null is an empty list"),
            pytest.param(
                [{"a": {"b": 2}}, {"a": {"b": 1}}], {"key": "a.b"}, [{"a": {"b": 1}}, {"a": {"b": 2}}], id="path"
            ),
            pytest.param([{"a": 2}, {}, 7, {"a": 1}], {"key": "a"}, [{"a": 1}, {"a": 2}, {}, 7], id="nothing there"),
            pytest.param([[2, "x"], [1, "y"]], {"key": "[0]"}, [[1, "y"], [2, "x"]], id="index as key"),
            pytest.param([2**53 + 1, float(2**53)], {}, [float(2**53), 2**53 + 1], id="large numbers exactly"),
        ],
    )
    def test_sorts(self, value: JsonValue, config: dict[str, Any], expected: list[JsonValue]) -> None:
        assert sort(value, **config) == expected

    @pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reversed"])
    def test_keeps_the_order_of_equal_items(self, reverse: bool) -> None:
        value = [{"n": 1, "id": "a"}, {"n": 1.0, "id": "b"}, {"n": 1, "id": "c"}]

        assert [item["id"] for item in sort(value, key="n", reverse=reverse)] == ["a", "b", "c"]

    @pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reversed"])
    def test_sorts_a_long_list_as_a_short_one(self, reverse: bool) -> None:
        value = [{"n": (number * 7_919) % 1_000, "id": number} for number in range(50_000)]

        ordered = sort(value, key="n", reverse=reverse)

        assert ordered == sorted(value, key=lambda item: item["n"], reverse=reverse)

    def test_leaves_its_input_as_it_was(self) -> None:
        value = [3, 1, 2]

        sort(value)

        assert value == [3, 1, 2]

    @given(ITEMS, st.booleans())
    def test_gives_the_same_items_in_order_with_nulls_last(self, items: list[Any], reverse: bool) -> None:
        ordered = sort(items, key="n", reverse=reverse)

        there = [item["n"] for item in ordered if item["n"] is not None]
        assert sorted(map(id, ordered)) == sorted(map(id, items))
        assert there == sorted(there, reverse=reverse)
        assert [item["n"] for item in ordered[len(there) :]] == [None] * (len(items) - len(there))

    @given(ITEMS, st.booleans())
    def test_changes_nothing_the_second_time(self, items: list[Any], reverse: bool) -> None:
        once = sort(items, key="n", reverse=reverse)

        assert sort(once, key="n", reverse=reverse) == once


class TestErrors:
    @pytest.mark.parametrize(
        ("value", "config", "message"),
        [
            pytest.param(
                [None, 1, "2"], {}, "sort cannot compare text (item [2]) with a number (item [1]).", id="mixed"
            ),
            pytest.param([1, True], {}, "sort cannot compare true or false (item [1]) with a number", id="booleans"),
            pytest.param(
                [{"a": 1}, {"a": "x"}],
                {"key": "a"},
                "compare text (a of item [1]) with a number (item [0])",
                id="by key",
            ),
            pytest.param(
                [{"a": 1}],
                {},
                "no order for an object with the keys: a: item [0]. To sort such items, name what to compare by `key`.",
                id="objects",
            ),
            pytest.param(
                [{"a": [1]}],
                {"key": "a"},
                "no order for a list of 1: a of item [0]. To sort such items, go further down with `key`.",
                id="lists at the key",
            ),
            pytest.param({"rows": [1]}, {}, "sort takes a list", id="no list"),
        ],
    )
    def test_names_the_items(self, value: JsonValue, config: dict[str, Any], message: str) -> None:
        with pytest.raises(TransformError) as failed:
            sort(value, **config)

        assert message in failed.value.message
