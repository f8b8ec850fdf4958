"""`unique`: which items are the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.json_equality import equal
from callboard.workflows.transforms.unique import Unique, UniqueConfig

VALUES = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 1.0, "", "1", "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)


def unique(value: JsonValue, **config: Any) -> list[JsonValue]:
    return Unique().apply(value, UniqueConfig.model_validate(config), TransformTools())


class TestApply:
    @pytest.mark.parametrize(
        ("value", "config", "expected"),
        [
            pytest.param(["b", "a", "b"], {}, ["b", "a"], id="texts"),
            pytest.param([1, 1.0, True, "1"], {}, [1, True, "1"], id="one is 1.0, and neither true nor text"),
            pytest.param([None, None, False, 0, ""], {}, [None, False, 0, ""], id="nothing in its many forms"),
            pytest.param([{"a": 1, "b": 2}, {"b": 2, "a": 1}], {}, [{"a": 1, "b": 2}], id="objects"),
            pytest.param([[1], [1.0], [True], [[1]]], {}, [[1], [True], [[1]]], id="lists"),
            pytest.param([{"k": 1, "n": "a"}, {"k": 1, "n": "b"}], {"key": "k"}, [{"k": 1, "n": "a"}], id="first wins"),
            pytest.param([{"k": {"x": 1}}, {"k": {"x": 1}}], {"key": "k"}, [{"k": {"x": 1}}], id="objects at the key"),
            pytest.param(
                [{"k": {"x": 1}}, {"k": {"x": 2}}], {"key": "k.x"}, [{"k": {"x": 1}}, {"k": {"x": 2}}], id="path"
            ),
            pytest.param(
                [{"k": None}, {"n": 1}, {"k": None}, {"n": 2}],
                {"key": "k"},
                [{"k": None}, {"n": 1}, {"n": 2}],
                id="what has nothing at the key is kept",
            ),
            pytest.param([], {}, [], id="empty"),
            pytest.param(None, {}, [], id="null is an empty list"),
        ],
    )
    def test_keeps_the_first_of_each(self, value: JsonValue, config: dict[str, Any], expected: list[JsonValue]) -> None:
        kept = unique(value, **config)

        assert list(map(repr, kept)) == list(map(repr, expected))  # repr: 1 == True to Python

    @given(st.lists(VALUES, max_size=15))
    def test_keeps_exactly_what_stands_there_for_the_first_time(self, items: list[Any]) -> None:
        first_times = [
            item for index, item in enumerate(items) if not any(equal(item, earlier) for earlier in items[:index])
        ]

        kept = unique(items)

        assert [id(item) for item in kept] == [id(item) for item in first_times]

    @given(st.lists(VALUES, max_size=15))
    def test_changes_nothing_the_second_time(self, items: list[Any]) -> None:
        once = unique(items)

        assert unique(once) == once

    def test_refuses_what_is_no_list(self) -> None:
        with pytest.raises(TransformError, match=r"unique takes a list.*there are: \.rows \(1\)"):
            unique({"rows": [1]})
