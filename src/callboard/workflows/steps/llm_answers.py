"""What becomes of a model's answer: its journal row, its usage row, what is kept of it, the step's output.

Called by `steps/llm.py` and `steps/llm_calls.py`.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from callboard.core.json_values import JsonValue
from callboard.llm.port import LLMResponse
from callboard.workflows.steps.base import UsageRecord

SERVICE = "llm"
CUT_OFF = frozenset({"length", "content_filter"})  # finish reasons of answers that are not whole


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
        "cached": False,
    }


def is_whole(response: LLMResponse) -> bool:
    """Return whether the model said all it wanted. What was cut off is not kept: asked again, it may be whole."""
    return response.finish_reason not in CUT_OFF


def kept_answer(response: LLMResponse) -> dict[str, JsonValue]:
    """Return what is kept of `response` for other steps that ask the same: nothing of what it took."""
    return {
        "content": response.content,
        "provider": response.provider,
        "model": response.model,
        "finish_reason": response.finish_reason,
    }


def journal_kept_answer(kept: Mapping[str, Any], *, duration_ms: int) -> dict[str, JsonValue]:
    """Return a kept answer as the journal keeps it: it used no tokens and cost nothing."""
    return {
        **kept,
        "duration_ms": duration_ms,
        "cost_usd": "0",
        "input_tokens": 0,
        "output_tokens": 0,
        "cached": True,
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
        "cached": all(answer.get("cached", False) for answer in answers),  # rows of older versions have it not
        "cost_usd": cost_usd,
        "usage": usage,
        "llm_usage": {**usage, "cost_usd": cost_usd},
    }


def shape_of_output(output_schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what `build_output` gives, as JSON Schema: what references to the step are checked by."""
    counts = {name: {"type": "integer"} for name in ("input_tokens", "output_tokens", "total_tokens")}
    return {
        "type": "object",
        "properties": {
            "content": {"type": "string"},
            "parsed": {"type": "null"} if output_schema is None else dict(output_schema),
            **{name: {"type": "string"} for name in ("provider", "model", "finish_reason")},
            "duration_ms": {"type": "integer"},
            "cached": {"type": "boolean"},
            "cost_usd": {"type": "number"},
            "usage": {"properties": counts, "additionalProperties": False},
            "llm_usage": {"properties": {**counts, "cost_usd": {"type": "number"}}, "additionalProperties": False},
        },
        "additionalProperties": False,
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
            "cached": False,
        },
    )


def build_kept_usage(kept: Mapping[str, Any], task_name: str, *, duration_ms: int) -> UsageRecord:
    """Return the usage row of a call that was not made, since its answer was kept: no units, no cost."""
    return UsageRecord(
        service=SERVICE,
        provider=kept["provider"],
        model=kept["model"],
        task_name=task_name,
        input_units=0,
        output_units=0,
        cost_usd=Decimal(0),
        duration_ms=duration_ms,
        metadata={"finish_reason": kept["finish_reason"], "cached": True},
    )
