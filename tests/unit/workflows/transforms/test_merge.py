"""`merge`: which side wins, and how sources may be spelled."""

from typing import Any

import pytest
from pydantic import ValidationError

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.merge import Merge, MergeConfig


def merge(value: JsonValue, **config: Any) -> dict[str, Any]:
    tools = TransformTools(render=lambda template, _names: template)
    return Merge().apply(value, MergeConfig.model_validate(Merge().normalise(config)), tools)


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

    def test_leaves_null_sources_out(self) -> None:
        assert merge(None, sources=[{"a": 1}, None, {"b": 2}]) == {"a": 1, "b": 2}

    def test_merges_the_items_of_its_input_without_sources(self) -> None:
        assert merge([{"a": 1}, {"b": 2}]) == {"a": 1, "b": 2}

    def test_reads_paths_in_its_input(self) -> None:
        value = {"left": {"a": 1}, "right": [{"b": 2}]}

        assert merge(value, sources=["left", "right[0]", "missing"]) == {"a": 1, "b": 2}

    def test_leaves_its_sources_as_they_were(self) -> None:
        sources = [{"a": {"b": 1}}, {"a": {"c": 2}}]

        merge(None, sources=sources, strategy="deep")

        assert sources == [{"a": {"b": 1}}, {"a": {"c": 2}}]

    @pytest.mark.parametrize(
        ("value", "config", "message"),
        [
            pytest.param(None, {"sources": [{"a": 1}, [1]]}, "source 2 is list", id="a list"),
            pytest.param({"x": "text"}, {"sources": ["x"]}, "source 1 is str", id="text at a path"),
            pytest.param({"a": 1}, {}, "no `sources`", id="neither sources nor a list"),
        ],
    )
    def test_names_the_source_that_is_no_object(self, value: JsonValue, config: dict[str, Any], message: str) -> None:
        with pytest.raises(TransformError, match=message):
            merge(value, **config)


class TestNormalise:
    @pytest.mark.parametrize(
        ("source", "written_out"),
        [
            pytest.param("${steps.a.output}", {"value": "${steps.a.output}"}, id="reference"),
            pytest.param("steps.a.output", {"value": "${steps.a.output}"}, id="path into the run"),
            pytest.param("context.defaults", {"value": "${context.defaults}"}, id="constants"),
            pytest.param("stepsons[0]", {"path": "stepsons[0]"}, id="path into the input"),
            pytest.param({"path": "x"}, {"value": {"path": "x"}}, id="an object is merged as it is"),
        ],
    )
    def test_writes_short_forms_out(self, source: JsonValue, written_out: dict[str, Any]) -> None:
        assert Merge().normalise({"sources": [source]}) == {"sources": [written_out]}

    def test_never_takes_text_that_a_reference_brought_for_a_path(self) -> None:
        config = Merge().normalise({"sources": ["${steps.llm.content}"]})
        config["sources"][0]["value"] = "secret"  # what rendering puts in

        with pytest.raises(TransformError, match="source 1 is str"):
            Merge().apply(
                {"secret": {"a": 1}},
                MergeConfig.model_validate(config),
                TransformTools(render=lambda template, _names: template),
            )

    def test_leaves_what_is_no_list_to_the_model(self) -> None:
        with pytest.raises(ValidationError, match="sources"):
            MergeConfig.model_validate(Merge().normalise({"sources": "${x}"}))
