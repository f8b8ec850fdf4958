"""Patterns of users: what is refused before it is compiled, and what is given up while it searches."""

import pytest

from callboard.workflows.transforms.base import TransformError
from callboard.workflows.transforms.patterns import (
    MAX_PATTERN_CHARS,
    MAX_TEXT_CHARS,
    compile_pattern,
    find_all,
    search,
)

HOSTILE = compile_pattern(r"(a|a)+$")
ALMOST = "a" * 60 + "!"


class TestCompilePattern:
    @pytest.mark.parametrize(
        ("pattern", "text", "found"),
        [
            pytest.param("^b$", "a\nb\nc", "b", id="every line"),
            pytest.param("a.b", "a\nb", "a\nb", id="dot takes line ends"),
            pytest.param(r"(?<=\$)\d+(?= per)", "costs $12 per day", "12", id="lookaround"),
            pytest.param(r"\p{Lu}\w+", "über Zürich", "Zürich", id="letters of every script"),
            pytest.param(r"\d{4}-\d{2}-\d{2}", "on 2026-11-20", "2026-11-20", id="repetitions"),
            pytest.param(r"[(){}\]]{2}", "a){b", "){", id="brackets in a class"),
            pytest.param(r"[]a]+", "]a", "]a", id="a closing bracket first in a class"),
            pytest.param(r"[[:alpha:](]+", "(ab", "(ab", id="a named class"),
            pytest.param(r"\((?#(((a comment)\w+\)", "x(ab)", "(ab)", id="comment and escapes"),
            pytest.param(r"(?i)name: (?P<x>\w+)", "NAME: Ada", "NAME: Ada", id="flag"),
            pytest.param(r"a{,3}b{2,}c{", "aabbbc{", "aabbbc{", id="open counts, and a bracket that is none"),
            pytest.param(r"(?:(?:a{9}){9}){9}", "a" * 729, "a" * 729, id="repetitions in repetitions"),
        ],
    )
    def test_finds(self, pattern: str, text: str, found: str) -> None:
        match = search(compile_pattern(pattern), text)

        assert match is not None
        assert match.group() == found

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            pytest.param("a(b", r"a\(b does not compile: missing \), at character 4", id="open group"),
            pytest.param("a)", r"unexpected \), at character 2", id="closed twice"),
            pytest.param("[a-", "unterminated character set, at character 4", id="open class"),
            pytest.param("a**", "multiple repeat, at character 3", id="two repetitions"),
            pytest.param("*a", "nothing to repeat, at character 1", id="repeats nothing"),
            pytest.param(r"\p{Nope}", "unknown property, at character 9", id="unknown property"),
            pytest.param("x" * (MAX_PATTERN_CHARS + 1), "has 2,001 characters; at most 2,000", id="too long"),
            pytest.param("x(?R)", "calls itself at character 2", id="recursion"),
            pytest.param("(a(?1)?b)", "calls itself at character 3", id="recursion by number"),
            pytest.param("(?P<n>a(?&n)?b)", "calls itself at character 8", id="recursion by name"),
            pytest.param("(?x)a # b", "sets the flag x or V1 at character 1", id="verbose"),
            pytest.param("(?i)a(?isx-m:b)", "sets the flag x or V1 at character 6", id="verbose inside"),
            pytest.param("(?V1)[a&&b]", "sets the flag x or V1", id="the other syntax"),
            pytest.param("(?:(?:(?:(?:a{50}){50}){50}){50})", "repeats too much at character 24", id="written out"),
            pytest.param("(?:ab){60000}", "repeats too much", id="a large count"),
            pytest.param("(" * 900 + ")" * 900, "nests too deep", id="deep"),
        ],
    )
    def test_refuses(self, pattern: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            compile_pattern(pattern)


class TestSearch:
    def test_gives_up_in_time_and_says_why(self) -> None:
        with pytest.raises(TransformError) as failed:
            search(HOSTILE, ALMOST)

        assert failed.value.message.startswith("The pattern (a|a)+$ was given up after 1 s on a text of 61 characters.")
        assert "Repetitions inside repetitions" in failed.value.message

    def test_searches_no_text_without_bounds(self) -> None:
        with pytest.raises(TransformError, match=r"a text of 1,000,001 characters; at most 1,000,000"):
            search(HOSTILE, "x" * (MAX_TEXT_CHARS + 1))

    def test_shortens_a_long_pattern_in_its_messages(self) -> None:
        with pytest.raises(TransformError) as failed:
            search(compile_pattern("x" * 500), "x" * (MAX_TEXT_CHARS + 1))

        assert "x" * 80 + "..." in failed.value.message

    def test_matches_from_end_to_end_where_asked(self) -> None:
        pattern = compile_pattern("b+")

        assert search(pattern, "abb") is not None
        assert search(pattern, "abb", whole=True) is None
        assert search(pattern, "bb", whole=True) is not None


class TestFindAll:
    def test_gives_every_match_in_order(self) -> None:
        assert [match.group() for match in find_all(compile_pattern(r"\d+"), "1 a 22 b")] == ["1", "22"]

    def test_gives_up_in_time(self) -> None:
        with pytest.raises(TransformError, match="was given up after 1 s"):
            list(find_all(HOSTILE, ALMOST))

    def test_searches_no_text_without_bounds(self) -> None:
        with pytest.raises(TransformError, match="at most 1,000,000 are searched"):
            list(find_all(HOSTILE, "x" * (MAX_TEXT_CHARS + 1)))
