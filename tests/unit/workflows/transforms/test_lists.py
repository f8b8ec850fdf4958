"""The list a transform works on, and the help for whoever handed it something else."""

from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import RunFailedError
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.lists import ListConfig, list_in, list_of
from tests.fixtures.transform_steps import transform

ANSWER = {"data": {"rows": [{"n": 2}, {"n": 1}], "none": None, "n": 5}, "groups": [{"of": [1, 2]}, {"of": [3]}]}


class TestListOf:
    def test_gives_a_list_as_it_is_and_an_empty_one_for_null(self) -> None:
        items = [1]

        assert list_of("sort", items) is items
        assert list_of("sort", None) == []

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            pytest.param(5, "sort takes a list, and its input is a whole number.", id="number"),
            pytest.param(
                "a,b",
                "sort takes a list, and its input is text. Text becomes a list by regex_extract with all_matches, "
                "or by an llm step's output_schema.",
                id="text",
            ),
            pytest.param(
                {"data": {"items": [1, 2], "n": 2}, "tags": []},
                "sort takes a list, and its input is an object with the keys: data, tags. Add the way to the list "
                "inside to the input's reference; there are: .tags (0), .data.items (2).",
                id="lists inside",
            ),
            pytest.param(
                {"odd key": [1], "b": [1], "c": [1], "d": [1]},
                "sort takes a list, and its input is an object with the keys: b, c, d, odd key. Add the way to the "
                'list inside to the input\'s reference; there are: ["odd key"] (1), .b (1), .c (1) and more.',
                id="many lists inside",
            ),
            pytest.param({"a": 1}, "sort takes a list, and its input is an object with the keys: a.", id="no list"),
        ],
    )
    def test_says_what_there_is_and_where_lists_are(self, value: Any, message: str) -> None:
        with pytest.raises(TransformError) as failed:
            list_of("sort", value)

        assert failed.value.message == message

    def test_looks_not_far_into_a_large_object(self) -> None:
        value: dict[str, Any] = {f"k{n}": {f"l{m}": m for m in range(2_000)} for n in range(2_000)}

        with pytest.raises(TransformError, match=r"\.\.\.\.$"):
            list_of("sort", value)


class TestListIn:
    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            pytest.param("data.rows", [{"n": 2}, {"n": 1}], id="bare path"),
            pytest.param("groups[1].of", [3], id="index"),
            pytest.param("groups[*].of", [[1, 2], [3]], id="of many"),
            pytest.param("$.groups[0].of", [1, 2], id="JSONPath to one thing"),
            pytest.param("$.groups[*].of[*]", [1, 2, 3], id="JSONPath to many"),
            pytest.param("$.groups[?@.of[1]].of", [[1, 2]], id="JSONPath with a filter"),
            pytest.param("data.none", [], id="null there"),
        ],
    )
    def test_gives_what_stands_at_the_path(self, path: str, expected: list[JsonValue]) -> None:
        assert list_in("sort", ANSWER, ListConfig.model_validate({"array_path": path}), TransformTools()) == expected

    def test_gives_an_empty_list_for_null(self) -> None:
        assert list_in("sort", None, ListConfig.model_validate({"array_path": "a"}), TransformTools()) == []

    def test_takes_the_dollar_sign_for_the_input_itself(self) -> None:
        assert list_in("sort", [1, 2], ListConfig.model_validate({"array_path": "$"}), TransformTools()) == [1, 2]

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            pytest.param(
                "data.rws",
                "sort takes a list, and at its array_path data.rws there is nothing in its input, an object with the "
                "keys: data, groups. Lists stand at: .groups (2), .data.rows (2).",
                id="nothing there",
            ),
            pytest.param(
                "$.data.n",
                "sort takes a list, and at its array_path $.data.n there is a whole number. "
                "Lists stand at: .groups (2), .data.rows (2).",
                id="no list",
            ),
        ],
    )
    def test_says_what_there_is_and_where_lists_are(self, path: str, message: str) -> None:
        with pytest.raises(TransformError) as failed:
            list_in("sort", ANSWER, ListConfig.model_validate({"array_path": path}), TransformTools())

        assert failed.value.message == message

    def test_says_so_where_there_is_no_list_at_all(self) -> None:
        with pytest.raises(TransformError, match=r"there is nothing in its input, text\. No list stands in it\.$"):
            list_in("join", "text", ListConfig.model_validate({"array_path": "a"}), TransformTools())


class TestArrayPath:
    @pytest.mark.parametrize(
        ("operation", "config", "expected"),
        [
            pytest.param("filter", {"condition": "item.n > 1"}, [{"n": 2}], id="filter"),
            pytest.param("map", {"expression": "item.n"}, [2, 1], id="map"),
            pytest.param("map", {"transform": "item.n + index"}, [2, 2], id="map by transform"),
            pytest.param("join", {"field": "n"}, "2, 1", id="join"),
            pytest.param("sort", {"key": "n"}, [{"n": 1}, {"n": 2}], id="sort"),
            pytest.param("sort", {"field": "n", "reverse": True}, [{"n": 2}, {"n": 1}], id="sort by field"),
            pytest.param("unique", {"key": "n"}, [{"n": 2}, {"n": 1}], id="unique"),
            pytest.param("unique", {"field": "n"}, [{"n": 2}, {"n": 1}], id="unique by field"),
        ],
    )
    async def test_is_taken_by_every_operation_on_a_list(
        self, operation: str, config: dict[str, Any], expected: JsonValue
    ) -> None:
        assert await transform(operation, ANSWER, {**config, "array_path": "data.rows"}) == expected

    async def test_may_come_from_a_reference(self) -> None:
        config = {"field": "n", "array_path": "data.${input.name}"}

        assert await transform("join", ANSWER, config, name="rows") == "2, 1"

    async def test_is_named_by_the_error_of_a_run(self) -> None:
        with pytest.raises(RunFailedError, match=r"array_path rows there is nothing in its input"):
            await transform("filter", ANSWER, {"condition": "true", "array_path": "rows"})
