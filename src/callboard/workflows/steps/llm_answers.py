"""What becomes of a model's answer: the JSON in it, its journal row, its usage row, the step's output.

Called by `steps/llm.py`.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson

from callboard.core.json_values import JsonValue, find_unstorable
from callboard.llm.port import LLMResponse
from callboard.workflows.steps.base import UsageRecord

SERVICE = "llm"

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


def journal_answer(response: LLMResponse) -> dict[str, JsonValue]:
    """Return `response` as the journal keeps it."""
    return {
        "content": response.content,
        "provider": response.provider,
        "model": response.model,
        "finish_reason": response.finish_reason,
        "duration_ms": response.duration_ms,
        "cost_usd": str(response.cost.usd),
        "input_tokens": response.usage.input_tokens,
        "output_tokens": response.usage.output_tokens,
    }


def build_output(answers: list[dict[str, Any]], *, parsed: JsonValue) -> JsonValue:
    """Return the step's output: the last answer, with what all of them together took."""
    last = answers[-1]
    input_tokens = sum(answer["input_tokens"] for answer in answers)
    output_tokens = sum(answer["output_tokens"] for answer in answers)
    cost_usd = float(sum((Decimal(answer["cost_usd"]) for answer in answers), Decimal(0)))
    usage = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    return {
        "content": last["content"],
        "parsed": parsed,
        "provider": last["provider"],
        "model": last["model"],
        "finish_reason": last["finish_reason"],
        "duration_ms": sum(answer["duration_ms"] for answer in answers),
        "cost_usd": cost_usd,
        "usage": usage,
        "llm_usage": {**usage, "cost_usd": cost_usd},
    }


def build_usage(response: LLMResponse, task_name: str) -> UsageRecord:
    """Return the usage row of the call that `response` answered."""
    price = response.cost.price
    return UsageRecord(
        service=SERVICE,
        provider=response.provider,
        model=response.model,
        task_name=task_name,
        input_units=response.usage.input_tokens,
        output_units=response.usage.output_tokens,
        cost_usd=response.cost.usd,
        duration_ms=response.duration_ms,
        metadata={
            "price_source": response.cost.source,
            "price_id": response.cost.price_id,
            "input_usd": None if price is None else str(price.input_usd),
            "output_usd": None if price is None else str(price.output_usd),
            "cached_input_tokens": response.usage.cached_input_tokens,
            "finish_reason": response.finish_reason,
            "response_id": response.response_id,
        },
    )
