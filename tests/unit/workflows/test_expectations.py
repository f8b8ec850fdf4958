"""The rules of recorded tests: what meets them, what does not, and what is no rule."""

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.expectations import check_matchers, find_unmet


class TestFindUnmet:
    @pytest.mark.parametrize(
        ("rule", "good", "bad"),
        [
            ({"$matches": "^Dear .+!$"}, ["Dear Ada!"], ["Hi", 5, None]),
            ({"$contains": "lib"}, ["a library"], ["book", 3]),
            ({"$contains": {"id": 1}}, [[{"id": 0}, {"id": 1, "more": 2}]], [[{"id": 2}], {"id": 1}]),
            ({"$type": "integer"}, [1, 1.0], [1.5, True, "1"]),
            ({"$type": "number"}, [1, 1.5], [True, "1"]),
            ({"$type": "null"}, [None], [0]),
            ({"$length": 2}, ["ab", [1, 2], {"a": 1, "b": 2}], ["a", 2]),
            ({"$length": {"min": 1, "max": 2}}, ["a", [1, 2]], [[], "abc"]),
            ({"$approx": 0.3}, [0.1 + 0.2], [0.31, "0.3"]),
            ({"$approx": {"value": 10, "within": 0.5}}, [10.5, 9.5], [10.6]),
        ],
        ids=str,
    )
    def test_rules(self, rule: JsonValue, good: list[JsonValue], bad: list[JsonValue]) -> None:
        assert [value for value in good if list(find_unmet(rule, value))] == []
        assert [value for value in bad if not list(find_unmet(rule, value))] == []

    def test_a_rule_is_not_met_by_what_is_not_there(self) -> None:
        (unmet,) = find_unmet({"a": {"$type": "null"}}, {})

        assert unmet.pointer == "/a"

    def test_the_whole_value_has_nothing_more(self) -> None:
        assert [each.pointer for each in find_unmet({"a": 1}, {"a": 1, "b": 2})] == ["/b"]

    def test_a_part_lets_objects_have_more_at_any_depth(self) -> None:
        assert list(find_unmet({"a": [{"b": 1}]}, {"a": [{"b": 1, "c": 2}], "d": 3}, is_part=True)) == []

    def test_a_part_still_counts_the_items_of_a_list(self) -> None:
        assert [each.pointer for each in find_unmet({"a": [1]}, {"a": [1, 2]}, is_part=True)] == ["/a/1"]


class TestCheckMatchers:
    @pytest.mark.parametrize(
        ("expected", "pointer", "hint"),
        [
            ({"a": {"$matchs": "x"}}, "/a/$matchs", "$matches"),
            ([{"$matches": "("}], "/0/$matches", "regular expression"),
            ({"$type": "int"}, "/$type", "integer"),
            ({"$length": "two"}, "/$length", "min"),
            ({"$length": {"least": 2}}, "/$length", "min"),
            ({"$approx": {"value": 1}}, "/$approx", "within"),
            ({"$type": "string", "$length": 2}, "/$type", "alone"),
        ],
        ids=str,
    )
    def test_says_what_is_no_rule(self, expected: JsonValue, pointer: str, hint: str) -> None:
        finding = next(iter(check_matchers(expected, "")))

        assert finding.pointer == pointer
        assert hint in finding.message

    def test_lets_values_and_good_rules_be(self) -> None:
        expected = {"a": [{"$length": 1}], "b": {"$approx": 1}, "c": {"price": "$5"}, "d": None}

        assert list(check_matchers(expected, "")) == []
