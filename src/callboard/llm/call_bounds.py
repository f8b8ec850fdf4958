"""How many tokens a call to a model takes, before it is made: what is likely, and what it cannot pass.

Called by dry runs. The upper bound is the one by which budgets reserve. There is no tokenizer here: none
covers all providers, and those there are fetch their tables from the network.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

LIKELY_CHARS_PER_TOKEN: Final = Decimal(4)  # of English; characters beyond ASCII count as their UTF-8 bytes
MANY_CHARS_PER_TOKEN: Final = Decimal(5)  # plain prose
FEW_CHARS_PER_TOKEN: Final = Decimal("2.5")  # numbers, code, JSON
TOKENS_PER_MESSAGE = 4  # what providers add for the role of each
UNKNOWN_OUTPUT_LIMIT = 16_384  # of a model of which nobody knows one; no common model gives more unasked


@dataclass(frozen=True, slots=True)
class CallTokens:
    """The tokens of one call."""

    input_tokens: int
    output_tokens: int


def text_weight(text: str) -> int:
    """Return the characters of `text` as tokens are counted by them: one beyond ASCII is its UTF-8 bytes.

    A Chinese character is about one token, not a quarter of one.

    >>> text_weight("abc"), text_weight("日本")
    (3, 6)
    """
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def tokens_of(chars: int, *, per_token: Decimal = LIKELY_CHARS_PER_TOKEN, messages: int = 1) -> int:
    """Return the input tokens of a prompt of so many characters (`text_weight`) in so many messages.

    >>> tokens_of(400, messages=2)  # 400 / 4 + 2 x 4
    108
    """
    return math.ceil(chars / per_token) + messages * TOKENS_PER_MESSAGE


def upper_bound_of_call(
    prompt_chars: int, *, max_tokens: int | None, output_limit: int | None, messages: int = 1
) -> CallTokens:
    """Return the tokens that one call cannot pass: 2.5 characters each, and the longest answer allowed.

    `prompt_chars` is the `text_weight` of all that is sent. `output_limit` is the model's own, which counts
    where the call sets none; None where nobody knows it.

    >>> upper_bound_of_call(1000, max_tokens=600, output_limit=None)  # 1000 / 2.5 + 4
    CallTokens(input_tokens=404, output_tokens=600)
    """
    longest = max_tokens if max_tokens is not None else output_limit
    return CallTokens(
        input_tokens=tokens_of(prompt_chars, per_token=FEW_CHARS_PER_TOKEN, messages=messages),
        output_tokens=UNKNOWN_OUTPUT_LIMIT if longest is None else longest,
    )
