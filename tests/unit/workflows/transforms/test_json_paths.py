"""Paths into a value: both spellings, and what is said about those that cannot be read."""

from typing import Any

import pytest

from callboard.workflows.transforms.base import TransformError
from callboard.workflows.transforms.json_paths import compile_path

VALUE: dict[str, Any] = {
    "results": [
        {"name": "A", "rating": 4.5, "geometry": {"location": {"lat": 1.5}}},
        {"name": "B", "geometry": {"location": {"lat": 2.5}}},
    ],
    "odd key": {"a.b": 1},
    "open-24h": True,
    "naïve": "ok",
    "none": None,
}


class TestCompilePath:
    @pytest.mark.parametrize(
        ("path", "found"),
        [
            pytest.param("results[0].name", ["A"], id="index and name"),
            pytest.param("results[-1].name", ["B"], id="from the end"),
            pytest.param("results[*].name", ["A", "B"], id="every item"),
            pytest.param("results[*].rating", [4.5], id="items without it are left out"),
            pytest.param('["odd key"]["a.b"]', [1], id="odd keys"),
            pytest.param("['odd key']", [{"a.b": 1}], id="single quotes"),
            pytest.param("open-24h", [True], id="hyphen"),
            pytest.param("naïve", ["ok"], id="any letters"),
            pytest.param("none", [None], id="null is a value"),
            pytest.param("missing.deep", [], id="missing"),
            pytest.param("results.name", [], id="a name of a list"),
            pytest.param("$.results[0].name", ["A"], id="query"),
            pytest.param("$..lat", [1.5, 2.5], id="at any depth"),
            pytest.param("$.results[?@.rating > 4].name", ["A"], id="filter"),
            pytest.param("$.results[::-1].name", ["B", "A"], id="slice"),
            pytest.param("$", [VALUE], id="the whole value"),
        ],
    )
    def test_finds(self, path: str, found: list[Any]) -> None:
        assert compile_path(path).find(VALUE) == found

    @pytest.mark.parametrize(
        ("path", "gives_list"),
        [("a.b[0]", False), ("a[*].b", True), ("$.a", True)],
        ids=["one thing", "every item", "query"],
    )
    def test_knows_whether_it_may_match_many(self, path: str, gives_list: bool) -> None:
        assert compile_path(path).gives_list is gives_list

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            pytest.param("", "a path is not empty", id="empty"),
            pytest.param("a..b", r"at character 2.*begins with \$", id="descent without a dollar"),
            pytest.param("a[?b]", "at character 2", id="filter without a dollar"),
            pytest.param("a b", "at character 2", id="blank"),
            pytest.param("a[0]b", "at character 5", id="no dot between"),
            pytest.param(".a", "at character 1", id="dot in front"),
            pytest.param("a.", "at character 2", id="dot at the end"),
            pytest.param("$.a[", "is no JSONPath", id="open bracket"),
            pytest.param("$.a[?foo(@.b)]", "is no JSONPath", id="unknown function"),
        ],
    )
    def test_tells_what_is_wrong(self, path: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            compile_path(path)

    def test_fails_the_step_where_a_value_nests_too_deep(self) -> None:
        value: dict[str, Any] = {}
        for _ in range(150):
            value = {"a": value}

        with pytest.raises(TransformError, match=r"\$\.\.b.*could not be followed"):
            compile_path("$..b").find(value)
