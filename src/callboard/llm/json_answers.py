"""The JSON in a model's answer, also where the model wrote something around it.

Called by the llm step (`workflows/steps/llm.py`) and by `llm/agents.py`.
"""

import json
import re
from collections.abc import Iterator

import orjson

from callboard.core.json_values import JsonValue, find_unstorable

_FENCE = re.compile(r"```[A-Za-z]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_DECODER = json.JSONDecoder()
MAX_STARTS = 50  # an answer full of brackets is read from the first few only


class NotJsonError(ValueError):
    """The answer holds no JSON value."""

    message = "the answer holds no JSON value that can be read"


def read_json_answer(content: str) -> JsonValue:
    r"""Return the JSON value of `content`: the whole of it, what stands in its fence, or its first object or list.

    >>> read_json_answer('Here you are:\n```json\n{"a": 1}\n```')
    {'a': 1}
    >>> read_json_answer('Sure! {"a": [1]} Anything else?')
    {'a': [1]}

    Raises: NotJsonError.
    """
    for candidate in _candidates(content):
        try:
            return orjson.loads(candidate)
        except orjson.JSONDecodeError:
            continue
    for match in list(re.finditer(r"[{\[]", content))[:MAX_STARTS]:
        try:
            value, _ = _DECODER.raw_decode(content, match.start())
        except (ValueError, RecursionError):
            continue
        if find_unstorable(value) is None:  # the decoder takes NaN too
            return value
    raise NotJsonError(NotJsonError.message)


def _candidates(content: str) -> Iterator[str]:
    yield content
    for match in _FENCE.finditer(content):
        yield match.group(1)
