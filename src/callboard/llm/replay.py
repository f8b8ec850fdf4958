"""The provider `replay`: answers that were kept in files beside the prompts. `wiring.py` always builds it.

It serves the demo and tests without a key. Tokens and cost are those of the recorded call, by today's prices
where the recording has none.
"""

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from callboard.core.pricing import Cost, PriceSource
from callboard.core.replay import RecordedAnswers
from callboard.llm.errors import ReplayMissError
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse, Usage
from callboard.llm.pricing import ModelPrices

SERVICE = "llm"
CHUNK_CHARACTERS = 80


class _Recorded(BaseModel):
    content: str
    model: str
    provider: str
    input_tokens: NonNegativeInt
    output_tokens: NonNegativeInt
    duration_ms: NonNegativeInt = 0
    finish_reason: str = "stop"
    cost_usd: Decimal | None = Field(None, ge=0)
    price_source: PriceSource = "none"


class ReplayProvider:
    """Answers what was recorded for exactly this request, and nothing else."""

    def __init__(self, answers: RecordedAnswers, prices: ModelPrices, *, name: str = "replay") -> None:
        self._answers = answers
        self._prices = prices
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Return the recorded answer. Raises: ReplayMissError, with the ways out."""
        asked = recorded_request(request)
        found = self._answers.find(SERVICE, asked)
        if found is None:
            raise self._miss(request, asked)
        return read_response(found.response, self._prices, provider=self._name, file=found.path.name)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        """Yield the recorded answer in pieces of `CHUNK_CHARACTERS`, and last the response."""
        response = await self.generate(request)
        for start in range(0, len(response.content), CHUNK_CHARACTERS):
            yield LLMChunk(text=response.content[start : start + CHUNK_CHARACTERS])
        yield LLMChunk(response=response)

    async def close(self) -> None:
        """Nothing is held here."""

    def _miss(self, request: LLMRequest, asked: dict[str, Any]) -> ReplayMissError:
        nearest = self._answers.find_nearest(SERVICE, asked)
        hint = ""
        if nearest is not None:
            hint = f" The nearest one, in {nearest.answer.path.name}, differs in {', '.join(nearest.differing)}."
        return ReplayMissError(
            f"replay has no recorded answer for this request to {request.model}.{hint} Restore the input that was "
            "recorded, set a key (OPENROUTER_API_KEY, ANTHROPIC_API_KEY or OPENAI_API_KEY), "
            "or choose DEFAULT_LLM_PROVIDER=sandbox.",
            details={"provider": self._name, "model": request.model},
        )


def read_response(
    response: Mapping[str, Any], prices: ModelPrices, *, provider: str, file: str = "the recording"
) -> LLMResponse:
    """Return a recorded `response` as `provider` gives it: at the recorded cost, else by today's prices.

    Raises: ReplayMissError, naming what is wrong in it.
    """
    try:
        recorded = _Recorded.model_validate(response)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ReplayMissError(
            f"The answer recorded in {file} cannot be used: response.{where} is not as it should be.",
            details={"file": file},
        ) from error
    usage = Usage(input_tokens=recorded.input_tokens, output_tokens=recorded.output_tokens)
    if recorded.cost_usd is None:
        cost = prices.cost(provider=recorded.provider, models=(recorded.model,), usage=usage)
    else:
        cost = Cost(usd=recorded.cost_usd, source=recorded.price_source)
    return LLMResponse(
        content=recorded.content,
        model=recorded.model,
        provider=provider,
        usage=usage,
        cost=cost,
        duration_ms=recorded.duration_ms,
        finish_reason=recorded.finish_reason,
    )


def recorded_request(request: LLMRequest) -> dict[str, Any]:
    """Return the form in which a replay file keeps `request`: what shapes the answer, without nulls.

    >>> from callboard.llm.port import Message
    >>> recorded_request(LLMRequest(model="m", messages=(Message("user", "Hi"),), max_tokens=5))
    {'model': 'm', 'messages': [{'role': 'user', 'content': 'Hi'}], 'max_tokens': 5}
    """
    form: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "top_p": request.top_p,
        "output_schema": None if request.output_schema is None else dict(request.output_schema),
    }
    return {key: value for key, value in form.items() if value is not None}


def recorded_response(response: LLMResponse) -> dict[str, Any]:
    """Return the form in which a replay file keeps `response`."""
    return {
        "content": response.content,
        "model": response.model,
        "provider": response.provider,
        "input_tokens": response.usage.input_tokens,
        "output_tokens": response.usage.output_tokens,
        "duration_ms": response.duration_ms,
        "finish_reason": response.finish_reason,
        "cost_usd": str(response.cost.usd),
        "price_source": response.cost.source,
    }
