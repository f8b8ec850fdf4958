"""How two JSON values differ, and the words for it."""

import pytest

from callboard.core.json_differences import ABSENT, Difference, find_differences, show
from callboard.core.json_values import JsonValue


class TestFindDifferences:
    @pytest.mark.parametrize(
        ("expected", "got", "pointers"),
        [
            pytest.param({"a": 1}, {"a": 1.0}, [], id="whole and fractional"),
            pytest.param({"a": True}, {"a": 1}, ["/a"], id="true is not 1"),
            pytest.param({"a": None}, {}, ["/a"], id="null is not absent"),
            pytest.param({}, {"x/y": 1}, ["/x~1y"], id="more than expected"),
            pytest.param([1, 2], [1], ["/1"], id="a shorter list"),
            pytest.param({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, ["/a/0/b"], id="deep"),
            pytest.param({"a": 1}, [1], [""], id="another kind"),
        ],
    )
    def test_names_every_place(self, expected: JsonValue, got: JsonValue, pointers: list[str]) -> None:
        assert [each.pointer for each in find_differences(expected, got)] == pointers


class TestDescribe:
    def test_shows_texts_of_several_lines_as_a_diff(self) -> None:
        difference = Difference(pointer="/text", expected="a\nb\nc", got="a\nB\nc")

        lines = difference.describe()

        assert lines[0] == "/text (- expected, + got)"
        assert {"  -b", "  +B"} <= set(lines)

    def test_says_that_nothing_was_there(self) -> None:
        lines = Difference(pointer="/a", expected=1, got=ABSENT).describe()

        assert lines == ["/a", "  expected: 1", "  got:      nothing"]

    def test_shows_a_message_of_several_lines_whole(self) -> None:
        lines = Difference(pointer="/a", expected=None, got="one\ntwo", rule="peace").describe()

        assert lines == ["/a", "  expected: peace", "  got:      one", "    two"]


class TestShow:
    def test_cuts_what_is_long(self) -> None:
        assert show("x" * 1000).endswith("... (1,002 characters)")
