"""I-Regexp: what its signs mean, and that what is none matches nothing."""

import pytest

from callboard.workflows.transforms.base import TransformError
from callboard.workflows.transforms.iregexp import matches


class TestMatches:
    @pytest.mark.parametrize(
        ("pattern", "text"),
        [
            pytest.param("a.c", "a\u2028c", id="dot takes what is no line end here"),
            pytest.param("a.c", "a😀c", id="dot takes one sign beyond 16 bit"),
            pytest.param("[a&&b]+", "a&b", id="and-signs in a class"),
            pytest.param("[a||b~~]+", "|~", id="other signs in a class"),
            pytest.param(r"[\[\]]+", "[]", id="brackets in a class"),
            pytest.param("[.]", ".", id="a dot in a class is a dot"),
            pytest.param(r"\.", ".", id="an escaped dot"),
            pytest.param("[^a]", "\n", id="not in a class"),
            pytest.param(r"\p{Lu}", "Ä", id="category"),
            pytest.param("^ab$", "ab", id="anchors"),
            pytest.param("a{2,3}", "aaa", id="count"),
            pytest.param("(a|b)*", "abba", id="choice"),
        ],
    )
    def test_holds(self, pattern: str, text: str) -> None:
        assert matches(pattern, text, whole=True)

    @pytest.mark.parametrize(
        ("pattern", "text"),
        [
            pytest.param("a.c", "a\nc", id="dot takes no line feed"),
            pytest.param("a.c", "a\rc", id="dot takes no carriage return"),
            pytest.param("[.]", "a", id="a dot in a class is no sign"),
            pytest.param(r"\d", "1", id="not in this grammar"),
            pytest.param("(?=a)a", "a", id="lookaround is not in it either"),
            pytest.param("(a", "(a", id="no pattern at all"),
            pytest.param("b$", "b\n", id="the end is the very end"),
        ],
    )
    def test_does_not_hold(self, pattern: str, text: str) -> None:
        assert not matches(pattern, text, whole=False)

    @pytest.mark.parametrize(("pattern", "text"), [(1, "1"), ("1", 1), (None, None)], ids=["pattern", "text", "both"])
    def test_takes_nothing_but_text(self, pattern: object, text: object) -> None:
        assert not matches(pattern, text, whole=False)

    def test_searches_inside_where_not_asked_for_the_whole(self) -> None:
        assert matches("b", "abc", whole=False)
        assert not matches("b", "abc", whole=True)

    def test_gives_up_in_time(self) -> None:
        with pytest.raises(TransformError, match="was given up after 1 s"):
            matches("(a|a)+$", "a" * 60 + "!", whole=False)

    def test_refuses_a_pattern_that_is_too_long(self) -> None:
        with pytest.raises(TransformError, match="at most 2,000 are allowed"):
            matches("a" * 2_001, "a", whole=False)
