"""What can be stored as JSON, and what is told when it cannot."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.json_values import MAX_DEPTH, UnstorableValueError, dumps, find_unstorable, loads

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
STORABLE = st.recursive(
    SCALARS | TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)


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
        ],
    )
    def test_refuses_and_says_where(self, value: Any, place: str, reason: str) -> None:
        with pytest.raises(UnstorableValueError) as caught:
            dumps(value)

        assert f": {place}" in caught.value.message
        assert reason in caught.value.message

    def test_takes_the_deepest_nesting_that_is_allowed(self) -> None:
        assert loads(dumps(nested(MAX_DEPTH))) == nested(MAX_DEPTH)

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


class TestFindUnstorable:
    @given(STORABLE)
    def test_finds_nothing_in_json(self, value: Any) -> None:
        assert find_unstorable(value) is None

    def test_starts_from_the_given_pointer(self) -> None:
        assert find_unstorable({"a": "\x00"}, "/input_data") == "/input_data/a: a NUL character cannot be stored"
