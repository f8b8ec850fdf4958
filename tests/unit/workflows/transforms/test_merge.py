"""`merge`: which side wins, and how sources may be spelled."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.merge import Merge, MergeConfig
from tests.fixtures.scripted_steps import echo
from tests.fixtures.transform_steps import transform

OBJECTS = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(
        st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
        lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        max_leaves=5,
    ),
    max_size=3,
)


def merge(value: JsonValue, **config: Any) -> dict[str, Any]:
    return Merge().apply(value, MergeConfig.model_validate(Merge().normalise(config)), TransformTools())


def merge_two(left: Any, right: Any) -> Any:
    """The rule of `deep` in its plainest form."""
    if not isinstance(left, dict) or not isinstance(right, dict):
        return right
    return {
        key: merge_two(left[key], right[key]) if key in left and key in right else {**left, **right}[key]
        for key in {**left, **right}
    }


class TestApply:
    @pytest.mark.parametrize(
        ("strategy", "expected"),
        [
            pytest.param("shallow", {"a": {"y": 2}, "l": [2], "k": 1, "n": None}, id="shallow"),
            pytest.param("deep", {"a": {"x": 1, "y": 2}, "l": [2], "k": 1, "n": None}, id="deep"),
        ],
    )
    def test_lets_later_sources_win(self, strategy: str, expected: dict[str, Any]) -> None:
        sources = [{"a": {"x": 1}, "l": [1], "k": 1, "n": {"z": 1}}, {"a": {"y": 2}, "l": [2], "n": None}]

        assert merge(None, sources=sources, strategy=strategy) == expected

    def test_goes_as_deep_as_the_objects_do(self) -> None:
        sources = [{"a": {"b": {"c": 1, "d": 1}}}, {"a": {"b": {"c": 2}}}, {"a": {"b": {"e": 3}}}]

        assert merge(None, sources=sources, strategy="deep") == {"a": {"b": {"c": 2, "d": 1, "e": 3}}}

    def test_puts_an_object_in_place_of_a_text_and_back(self) -> None:
        assert merge([{"a": "x"}, {"a": {"b": 1}}], strategy="deep") == {"a": {"b": 1}}
        assert merge([{"a": {"b": 1}}, {"a": "x"}], strategy="deep") == {"a": "x"}

    @pytest.mark.parametrize(
        ("value", "config"),
        [
            pytest.param(None, {"sources": [{"a": 1}, None, {"b": 2}]}, id="sources"),
            pytest.param([{"a": 1}, None, {"b": 2}], {}, id="items of the input"),
            pytest.param({"x": {"a": 1}, "y": {"b": 2}, "z": None}, {"sources": ["x", "z", "gone", "y"]}, id="paths"),
        ],
    )
    def test_leaves_null_sources_out(self, value: JsonValue, config: dict[str, Any]) -> None:
        assert merge(value, **config) == {"a": 1, "b": 2}

    @pytest.mark.parametrize("sources", [[], None], ids=["no sources", "null"])
    def test_gives_an_empty_object_of_nothing(self, sources: Any) -> None:
        assert merge([{"a": 1}], sources=sources) == {}

    def test_reads_paths_in_its_input(self) -> None:
        value = {"left": {"a": 1}, "right": [{"b": 2}]}

        assert merge(value, sources=["left", "right[0]", "$.missing"]) == {"a": 1, "b": 2}

    @pytest.mark.parametrize(
        ("value", "config", "message"),
        [
            pytest.param(None, {"sources": [{"a": 1}, [1]]}, "sources[1] is a list of 1.", id="a list"),
            pytest.param({"x": "text"}, {"sources": ["x"]}, "sources[0] (x) is text.", id="text at a path"),
            pytest.param([{}, 5], {}, "item [1] of its input is a whole number.", id="an item of the input"),
            pytest.param(
                {"a": 1},
                {},
                "needs `sources`, or a list of objects as its input, and its input is an object with the keys: a.",
                id="neither sources nor a list",
            ),
        ],
    )
    def test_names_the_source_that_is_no_object(self, value: JsonValue, config: dict[str, Any], message: str) -> None:
        with pytest.raises(TransformError) as failed:
            merge(value, **config)

        assert message in failed.value.message

    @given(st.lists(OBJECTS, max_size=4))
    def test_deep_is_the_rule_for_two_applied_from_left_to_right(self, sources: list[Any]) -> None:
        before = copy.deepcopy(sources)
        expected: Any = {}
        for source in sources:
            expected = merge_two(expected, source)

        assert merge(None, sources=sources, strategy="deep") == expected
        assert sources == before

    @given(st.lists(OBJECTS, max_size=4))
    def test_shallow_has_each_key_from_the_last_source_that_has_it(self, sources: list[Any]) -> None:
        merged = merge(sources)

        for key in {key for source in sources for key in source}:
            assert merged[key] == next(source[key] for source in reversed(sources) if key in source)
        assert merged.keys() == {key for source in sources for key in source}

    @given(OBJECTS)
    def test_an_object_with_itself_is_itself(self, source: dict[str, Any]) -> None:
        assert merge([source, source], strategy="deep") == source


class TestSources:
    @pytest.mark.parametrize(
        "source",
        ["${steps.e.output}", "steps.e.output", "inner", "$.inner", {"a": "${steps.e.output.a}"}],
        ids=["reference", "path into the run", "path into the input", "query", "object with a reference"],
    )
    async def test_may_be_spelled_in_many_ways(self, source: JsonValue) -> None:
        merged = await transform(
            "merge", {"inner": {"a": 1}}, {"sources": [{"b": 2}, source]}, before=(echo("e", {"a": 1}),)
        )

        assert merged == {"a": 1, "b": 2}

    @pytest.mark.parametrize(("listed", "merged"), [([{"a": 1}, {"b": 2}], {"a": 1, "b": 2}), (None, {})])
    async def test_may_be_one_reference_to_a_list(self, listed: JsonValue, merged: JsonValue) -> None:
        result = await transform("merge", None, {"sources": "${steps.e.output}"}, before=(echo("e", listed),))

        assert result == merged

    def test_takes_no_text_that_a_reference_brought_for_a_path(self) -> None:
        config = Merge().normalise({"sources": ["${steps.llm.content}"]})
        config["sources"][0] = "secret"  # what rendering puts in

        with pytest.raises(TransformError, match=r"sources\[0\] is text"):
            Merge().apply({"secret": {"a": 1}}, MergeConfig.model_validate(config), TransformTools())

    def test_leaves_what_is_no_list_to_the_model(self) -> None:
        with pytest.raises(ValidationError, match="sources"):
            MergeConfig.model_validate(Merge().normalise({"sources": "x"}))
