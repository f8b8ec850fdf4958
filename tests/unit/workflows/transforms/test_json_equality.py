"""When two JSON values are the same, as a comparison and as what a set is made of."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.workflows.transforms.json_equality import equal, identity_of

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, 2, 0.0, 1.0, 2.0, -0.0, 2.0**53, 2**53 + 1, 1e300])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)

CASES = [
    pytest.param(1, 1.0, True, id="whole and fractional"),
    pytest.param(0, -0.0, True, id="minus nothing"),
    pytest.param(2**53 + 1, float(2**53), False, id="numbers that fractional ones cannot tell apart"),
    pytest.param(1, True, False, id="one and true"),
    pytest.param(0, False, False, id="nothing and false"),
    pytest.param([1], [True], False, id="inside a list"),
    pytest.param({"a": [0]}, {"a": [False]}, False, id="further inside"),
    pytest.param([1, [2]], [1.0, [2.0]], True, id="numbers inside lists"),
    pytest.param("1", 1, False, id="text and number"),
    pytest.param(None, False, False, id="null and false"),
    pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, True, id="order of keys"),
    pytest.param({"a": 1}, {"a": 1, "b": None}, False, id="a key more"),
    pytest.param([1, 2], [2, 1], False, id="order of items"),
    pytest.param([1], [1, 1], False, id="an item more"),
    pytest.param([], {}, False, id="list and object"),
    pytest.param("[1]", [1], False, id="a list and its text"),
    pytest.param(1e300, 1e300, True, id="large"),
    pytest.param([1e300], [1e300], True, id="large inside a list"),
]


class TestEqual:
    @pytest.mark.parametrize(("left", "right", "are_equal"), CASES)
    def test_compares_as_json(self, left: Any, right: Any, are_equal: bool) -> None:
        assert equal(left, right) is are_equal
        assert equal(right, left) is are_equal


class TestIdentityOf:
    @pytest.mark.parametrize(("left", "right", "are_equal"), CASES)
    def test_is_shared_by_equal_values_alone(self, left: Any, right: Any, are_equal: bool) -> None:
        assert (identity_of(left) == identity_of(right)) is are_equal

    @given(VALUES, VALUES)
    def test_says_the_same_as_a_comparison(self, left: Any, right: Any) -> None:
        assert (identity_of(left) == identity_of(right)) is equal(left, right)
        assert not equal(left, right) or hash(identity_of(left)) == hash(identity_of(right))

    @given(VALUES)
    def test_takes_a_value_for_itself(self, value: Any) -> None:
        assert equal(value, value)
