"""Values that are not known yet: they survive every path, say what they stand for, and are never taken for known."""

from typing import Any

import pytest

from callboard.workflows.conditions import compile_condition
from callboard.workflows.errors import ConditionError
from callboard.workflows.references import Scope, StepView, compile_template
from callboard.workflows.unknown_values import TextSize, Unknown, UnknownBook

SIZE = TextSize(10, 1_200, 5_000)


@pytest.fixture
def book() -> UnknownBook:
    return UnknownBook()


def scope_with(book: UnknownBook, **known: Any) -> Scope:
    """Return a scope in which the step `a` gave something that nobody knows."""
    return Scope(input=known, steps={"a": StepView(book.new("steps.a", SIZE))})


class TestUnknown:
    @pytest.mark.parametrize(
        "path",
        ["a", "a.output", "a.x", "a.x.y[3].z", "a[0]", "a[*].name", 'a["odd key"]', "a.list[*].b[*]", "a.x ?? 5"],
    )
    def test_survives_any_path(self, book: UnknownBook, path: str) -> None:
        value = compile_template(f"${{steps.{path}}}").render(scope_with(book))

        assert isinstance(value, Unknown)

    def test_says_in_a_text_what_it_stands_for(self, book: UnknownBook) -> None:
        text = compile_template("Places: ${steps.a.data}!").render(scope_with(book))

        assert text == "Places: «steps.a.data: unknown, about 1,200 characters»!"

    def test_can_stand_inside_json(self, book: UnknownBook) -> None:
        text = compile_template("${input.list}").render(Scope(input={"list": [1, book.new('a["k"]', SIZE)]}))

        assert compile_template("x ${input.v}").render(Scope(input={"v": text})) == (
            "x [1,\"«a['k']: unknown, about 1,200 characters»\"]"
        )

    def test_a_part_is_smaller_than_the_whole_and_may_be_as_large(self, book: UnknownBook) -> None:
        part = book.new("steps.a", SIZE).below(("title",))

        assert part.size == TextSize(2, 300, 5_000)

    def test_an_earlier_output_tells_how_large_a_part_is(self, book: UnknownBook) -> None:
        whole = book.new("steps.a", SIZE, {"title": "x" * 40, "places": [{"name": "y" * 30}]})

        assert whole.below(("title",)).size.likely == 40
        assert whole.below(("places", 7, "name")).size.likely == 30


class TestMeasure:
    def test_counts_what_is_not_known_by_its_size(self, book: UnknownBook) -> None:
        text = f"12345{book.new('a', SIZE)}67890"

        assert book.measure(text) == TextSize(20, 1_210, 5_010)

    def test_counts_characters_beyond_ascii_by_their_bytes(self, book: UnknownBook) -> None:
        assert book.measure("日本") == TextSize.exactly(6)

    def test_takes_no_text_in_such_quotes_for_unknown(self, book: UnknownBook) -> None:
        text = "«bonjour: unknown, about 9,999 characters»"

        assert book.measure(text) == TextSize.exactly(len(text.encode()))
        assert book.is_known({"a": [text]})


class TestIsKnown:
    def test_sees_unknown_values_however_deep_and_inside_texts(self, book: UnknownBook) -> None:
        unknown = book.new("a", SIZE)

        assert book.is_known({"a": [1, None, "text"]})
        assert not book.is_known({"a": [{"b": unknown}]})
        assert not book.is_known([f"a title with {unknown} in it"])


class TestDecide:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("input.n > 1", True),
            ("input.n > 5", False),
            ("steps.a.n > 1", None),
            ("input.n > 5 && steps.a.n > 1", False),  # whatever the step gives
            ("input.n > 1 || steps.a.n > 1", True),
            ("steps.a.n > 1 || input.n > 1", True),
            ("input.n > 1 && steps.a.n > 1", None),
            ("has(steps.a.n)", None),
            ("has(input.n)", True),
            ("has(input.absent)", False),
            ("${steps.a.n ?? 5} == 5", None),
            ("${input.absent ?? 5} == 5", True),
            ("size(steps.a.list) == 0", None),
            ("'x' in steps.a.tags", None),
            (True, True),
            (False, False),
        ],
        ids=str,
    )
    def test_holds_where_what_is_known_decides(
        self, book: UnknownBook, text: str | bool, expected: bool | None
    ) -> None:
        assert compile_condition(text).decide(scope_with(book, n=3), book.is_known) is expected

    def test_fails_where_it_would_whatever_is_not_known(self, book: UnknownBook) -> None:
        with pytest.raises(ConditionError, match="absent"):
            compile_condition("input.absent > 1").decide(scope_with(book, n=3), book.is_known)
