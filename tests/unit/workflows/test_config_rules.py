"""Rules about several fields: told at a field, and together with what else is wrong."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import ConfigDict, Field, ValidationError

from callboard.workflows.config_rules import RuledConfig


class Choice(RuledConfig):
    """One of two fields, and a third that has nothing to do with them."""

    model_config = ConfigDict(extra="forbid")

    left: int | None = None
    right: int | None = None
    size: int = Field(1, ge=1)

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if "left" in given and "right" in given:
            yield "right", "Not both, {really}."
        if "left" not in given and "right" not in given:
            yield "", "Give one."


class Outer(RuledConfig):
    """A model that holds another one with rules."""

    choice: Choice

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        yield from ()


def told(model: type[RuledConfig], value: object) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return [(line["loc"], line["msg"]) for line in caught.value.errors()]


class TestRuledConfig:
    def test_takes_what_breaks_no_rule(self) -> None:
        assert Choice.model_validate({"left": 1}).left == 1

    def test_points_at_the_field(self) -> None:
        assert told(Choice, {"left": 1, "right": 2}) == [(("right",), "Not both, {really}.")]

    def test_tells_a_broken_rule_beside_the_fault_of_a_field(self) -> None:
        found = told(Choice, {"left": 1, "right": 2, "size": 0})

        assert [place for place, _ in found] == [("size",), ("right",)]

    def test_leaves_out_what_is_missing_where_an_unknown_field_may_be_it(self) -> None:
        assert [place for place, _ in told(Choice, {"lft": 1})] == [("lft",)]
        assert told(Choice, {}) == [((), "Give one.")]

    def test_keeps_the_place_inside_another_model(self) -> None:
        assert told(Outer, {"choice": {"left": 1, "right": 2}}) == [(("choice", "right"), "Not both, {really}.")]

    def test_leaves_what_is_no_object_to_the_model(self) -> None:
        assert [place for place, _ in told(Choice, [])] == [()]
