"""What can be stored as JSON, and what is told when it cannot."""

import datetime as dt
import enum
import time
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.json_values import (
    MAX_DEPTH,
    UnstorableValueError,
    dump_and_load,
    dumps,
    find_unstorable,
    loads,
    locate_unstorable,
)
from tests.fixtures.machine_speed import slowness

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
STORABLE = st.recursive(
    SCALARS | TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)

# what looks like JSON to orjson, or nearly so
ODD = st.sampled_from(
    [
        *(float("nan"), float("inf"), 2**63, 2**63 - 1, -(2**63), 2**64, 2**53, "x\x00", "\\u0000", "\ud800", "null"),
        *(uuid.UUID(int=1), dt.date(2026, 1, 1), b"x", {1, 2}, (1, 2), {1: 2}, {"a\x00": 1}, -0.0, 1e308),
    ]
)
ANYTHING = st.recursive(
    SCALARS | TEXT | ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


class Colour(enum.Enum):
    RED = "red"


class Size(enum.StrEnum):
    LARGE = "large"


@dataclass
class Point:
    x: int = 1


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


class TestDumps:
    @given(STORABLE)
    def test_is_read_back_as_the_same_value(self, value: Any) -> None:
        assert loads(dumps(value)) == value

    @pytest.mark.parametrize(
        ("value", "place", "reason"),
        [
            pytest.param({"a": "x\x00"}, "/a", "NUL", id="NUL"),
            pytest.param({"a\x00": 1}, "/", "in a key", id="NUL in a key"),
            pytest.param(["ok", "\ud800"], "/1", "lone surrogate", id="lone surrogate"),
            pytest.param({"a": {"b": float("nan")}}, "/a/b", "NaN", id="NaN"),
            pytest.param([float("-inf")], "/0", "infinity", id="infinity"),
            pytest.param(2**63, "/", "64 bit", id="integer too large"),
            pytest.param(-(2**63) - 1, "/", "64 bit", id="integer too small"),
            pytest.param({1: "a"}, "/", "not text", id="key is a number"),
            pytest.param({"a/b~c": {1, 2}}, "/a~1b~0c", "set is no JSON", id="a set, escaped pointer"),
            pytest.param(nested(MAX_DEPTH + 1), "/0/0", "nested deeper", id="too deep"),
            pytest.param({"a": uuid.UUID(int=1)}, "/a", "UUID is no JSON", id="a UUID"),
            pytest.param([dt.date(2026, 1, 1)], "/0", "date is no JSON", id="a date"),
            pytest.param([Colour.RED], "/0", "Colour is no JSON", id="an enum"),
            pytest.param({"a": [Point()]}, "/a/0", "Point is no JSON", id="a dataclass"),
            pytest.param([None, 2**64 - 1], "/1", "64 bit", id="an unsigned integer"),
        ],
    )
    def test_refuses_and_says_where(self, value: Any, place: str, reason: str) -> None:
        with pytest.raises(UnstorableValueError) as caught:
            dumps(value)

        assert f": {place}" in caught.value.message
        assert reason in caught.value.message

    def test_takes_the_deepest_nesting_that_is_allowed(self) -> None:
        assert loads(dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            pytest.param((1, (2,)), "[1,[2]]", id="tuples"),
            pytest.param([2**63 - 1, -(2**63)], "[9223372036854775807,-9223372036854775808]", id="largest integers"),
            pytest.param("\\u0000", '"\\\\u0000"', id="text that looks like a NUL"),
            pytest.param([Size.LARGE], '["large"]', id="text of a type of its own"),
            pytest.param([None, True, -0.0], "[null,true,-0.0]", id="null itself"),
        ],
    )
    def test_takes_what_only_looks_odd(self, value: Any, text: str) -> None:
        assert dumps(value) == text

    @pytest.mark.parametrize(("limit", "fits"), [(7, True), (6, False)])  # {"a":1} has 7 bytes
    def test_counts_bytes_of_json(self, limit: int, fits: bool) -> None:
        if fits:
            assert dumps({"a": 1}, max_bytes=limit) == '{"a":1}'
            return

        with pytest.raises(UnstorableValueError) as caught:
            dumps({"a": 1}, max_bytes=limit)

        assert caught.value.details == {"bytes": 7, "max_bytes": 6}

    def test_counts_bytes_and_not_characters(self) -> None:
        with pytest.raises(UnstorableValueError):
            dumps("\u00e4\u00e4", max_bytes=5)  # 2 quotes + 2 x 2 bytes = 6

    def test_looks_at_a_hundred_thousand_objects_in_a_moment(self) -> None:
        value = [{"n": number, "text": f"text {number}", "more": {"id": number}} for number in range(100_000)]
        began = time.perf_counter()

        dumps(value)

        assert time.perf_counter() - began < 0.5 * slowness()  # measured: 0.15 s, where each value was looked at 0.5 s


class TestDumpAndLoad:
    @given(STORABLE)
    def test_gives_what_a_replay_will_read(self, value: Any) -> None:
        text, read = dump_and_load(value)

        assert (text, read) == (dumps(value), loads(text))

    def test_gives_lists_for_tuples(self) -> None:
        assert dump_and_load({"a": (1, 2)}) == ('{"a":[1,2]}', {"a": [1, 2]})

    def test_gives_nothing_of_the_value_itself(self) -> None:
        value = {"a": [1]}

        _, read = dump_and_load(value)

        assert read["a"] is not value["a"]


class TestFindUnstorable:
    @given(ANYTHING)
    def test_finds_what_a_look_at_every_value_finds(self, value: Any) -> None:
        located = locate_unstorable(value)

        assert (find_unstorable(value) is None) == (located is None)

    @pytest.mark.parametrize("levels", range(MAX_DEPTH - 2, MAX_DEPTH + 4))
    @pytest.mark.parametrize("innermost", [[], {}, 1, "x"], ids=repr)
    def test_agrees_with_it_about_depth(self, levels: int, innermost: Any) -> None:
        value = innermost
        for _ in range(levels):
            value = {"a": [value]} if levels % 2 else [value]

        assert (find_unstorable(value) is None) == (locate_unstorable(value) is None)

    @given(STORABLE)
    def test_finds_nothing_in_json(self, value: Any) -> None:
        assert find_unstorable(value) is None

    def test_starts_from_the_given_pointer(self) -> None:
        assert find_unstorable({"a": "\x00"}, "/input_data") == "/input_data/a: a NUL character cannot be stored"
