"""Tokens before a call is made."""

from hypothesis import given
from hypothesis import strategies as st

from callboard.llm.call_bounds import (
    UNKNOWN_OUTPUT_LIMIT,
    CallTokens,
    text_weight,
    tokens_of,
    upper_bound_of_call,
)


class TestUpperBoundOfCall:
    def test_counts_two_and_a_half_characters_a_token_and_the_longest_answer(self) -> None:
        bound = upper_bound_of_call(1_000, max_tokens=600, output_limit=8_000)

        assert bound == CallTokens(404, 600)  # 1000 / 2.5 + 4

    def test_takes_the_models_limit_where_the_call_sets_none(self) -> None:
        assert upper_bound_of_call(0, max_tokens=None, output_limit=8_000).output_tokens == 8_000

    def test_takes_a_large_number_where_nobody_knows_a_limit(self) -> None:
        assert upper_bound_of_call(0, max_tokens=None, output_limit=None).output_tokens == UNKNOWN_OUTPUT_LIMIT

    @given(st.text())
    def test_is_never_below_what_is_likely(self, text: str) -> None:
        weight = text_weight(text)

        assert upper_bound_of_call(weight, max_tokens=1, output_limit=None).input_tokens >= tokens_of(weight)


class TestTextWeight:
    def test_counts_characters_beyond_ascii_by_their_bytes(self) -> None:
        assert (text_weight("abc"), text_weight("é"), text_weight("日本"), text_weight("🚀")) == (3, 2, 6, 4)
