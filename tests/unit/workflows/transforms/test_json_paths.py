"""Paths into a value: both spellings, and what is said about those that cannot be read."""

from typing import Any

import pytest

from callboard.core.json_values import UnstorableValueError
from callboard.workflows.transforms.allowance import Allowance
from callboard.workflows.transforms.json_paths import compile_path, compile_path_to_one

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
        assert list(compile_path(path).find(VALUE, Allowance())) == found

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
            pytest.param(" a", r"begins or ends with a blank; write 'a'", id="blank in front"),
            pytest.param(" $.a", r"begins or ends with a blank; write '\$.a'", id="blank in front of a query"),
            pytest.param("$.a ", "is no path: .*whitespace", id="blank behind a query"),
            pytest.param("$.a[", "is no path: unbalanced brackets, at character 5", id="open bracket"),
            pytest.param("$.a[?foo(@.b)]", "is no path: function 'foo' is not defined", id="unknown function"),
            pytest.param("${input.x}", "references are not filled in here", id="reference"),
            pytest.param("a[99999999999999999999]", "is no path: index out of range", id="index"),
        ],
    )
    def test_tells_what_is_wrong(self, path: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            compile_path(path)

    @pytest.mark.parametrize("path", [5, None, ["a"], {"a": 1}], ids=["number", "null", "list", "object"])
    def test_takes_text_alone(self, path: Any) -> None:
        with pytest.raises(ValueError, match=r"a path is text, such as results\[0\].name, and not"):
            compile_path(path)


class TestFirst:
    @pytest.mark.parametrize(
        ("path", "first"), [("results[*].name", "A"), ("missing", None), ("none", None)], ids=["many", "none", "null"]
    )
    def test_gives_one_thing_or_null(self, path: str, first: Any) -> None:
        assert compile_path(path).first(VALUE, Allowance()) == first


class TestExtract:
    @pytest.mark.parametrize(
        ("path", "extracted"),
        [
            pytest.param("results[0].name", "A", id="one thing"),
            pytest.param("missing", None, id="nothing"),
            pytest.param("results[*].name", ["A", "B"], id="many"),
            pytest.param("missing[*]", [], id="none of many"),
            pytest.param("$.results[0].name", ["A"], id="a query of one thing"),
        ],
    )
    def test_gives_a_list_where_the_path_may_match_many(self, path: str, extracted: Any) -> None:
        assert compile_path(path).extract(VALUE, Allowance()) == extracted

    def test_stops_before_a_list_grows_too_large(self) -> None:
        value: dict[str, Any] = {}
        for _ in range(2_000):
            value = {"a": value}  # everything below, of every level: 2,000 x 1,000 values

        with pytest.raises(UnstorableValueError, match="over 100,000 characters"):
            compile_path("$..*").extract(value, Allowance(max_chars=100_000))


class TestCompilePathToOne:
    def test_takes_a_path_to_one_thing(self) -> None:
        assert compile_path_to_one("results[0].name").first(VALUE, Allowance()) == "A"

    @pytest.mark.parametrize("path", ["$.a", "a[*].b"], ids=["query", "every item"])
    def test_refuses_a_path_to_many(self, path: str) -> None:
        with pytest.raises(ValueError, match="may lead to many things; a key is a path to one"):
            compile_path_to_one(path)
