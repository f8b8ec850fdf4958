"""What a language model provider is to Callboard. Every adapter in this folder keeps this contract.

`workflows/steps/llm.py` builds an `LLMRequest`; `llm/client.py` picks a `Provider` and hands it over;
the contract suite in `tests/contract/test_llm_providers.py` runs against every adapter.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol, TypeAlias

from callboard.core.pricing import Cost

CALL_TIMEOUT_SECONDS = 120.0  # one call; a step's `timeout_seconds` may set another

Role: TypeAlias = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMRequest:
    """One call, in no provider's dialect. `output_schema` is JSON Schema that the answer should fit."""

    model: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    output_schema: Mapping[str, Any] | None = None
    timeout_seconds: float = CALL_TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them. `reported_cost_usd` where it also tells the price (OpenRouter).

    `cached_input_tokens` is the part of `input_tokens` that the provider had in its cache, at a lower price.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    reported_cost_usd: Decimal | None = None
    cached_input_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMResponse:
    """One finished answer. `model` is the name the provider answered with, `finish_reason` one of
    stop, length, content_filter, tool_calls, other."""

    content: str
    model: str
    provider: str
    usage: Usage
    cost: Cost
    duration_ms: int
    finish_reason: str
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class LLMChunk:
    """A piece of a streamed answer; the last one has the whole `response` and an empty `text`."""

    text: str = ""
    response: LLMResponse | None = field(default=None)


class Provider(Protocol):
    """A place where models answer. Raises only what `llm/errors.py` names; never retries by itself."""

    @property
    def name(self) -> str: ...

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Return the whole answer to `request`."""
        ...

    def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        """Yield the answer in pieces as they come, and last the chunk that carries the response."""
        ...

    async def close(self) -> None:
        """Give up the connections. A closed provider is not used again."""
        ...
