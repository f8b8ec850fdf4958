"""The provider `sandbox`: no model, no network, no cost, and the same answer to the same request.

It lets a workflow be tried before there is a key. Every answer says what it is. `wiring.py` always builds it.
"""

import re
import time
from collections.abc import AsyncIterator

import orjson

from callboard.core.pricing import NO_COST
from callboard.core.replay import hash_request
from callboard.llm.errors import SandboxSchemaError
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse, Usage
from callboard.llm.replay import SERVICE, recorded_request
from callboard.llm.sandbox_values import UnfittingSchemaError, make_value

MODEL = "sandbox"
CHARACTERS_PER_TOKEN = 4
QUOTED_CHARACTERS = 160


class SandboxProvider:
    """Answers without a model. With an `output_schema` the answer is JSON that fits it."""

    def __init__(self, *, name: str = "sandbox") -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Return the made-up answer. Raises: SandboxSchemaError, when it cannot fit the `output_schema`."""
        started = time.monotonic()
        seed = hash_request(SERVICE, recorded_request(request))
        content = _say_what_it_is(request, seed) if request.output_schema is None else _fill_schema(request, seed)
        prompt_characters = sum(len(message.content) for message in request.messages)
        return LLMResponse(
            content=content,
            model=MODEL,
            provider=self._name,
            usage=Usage(input_tokens=_tokens(prompt_characters), output_tokens=_tokens(len(content))),
            cost=NO_COST,
            duration_ms=round((time.monotonic() - started) * 1000),
            finish_reason="stop",
            response_id=f"sandbox-{seed[:16]}",
        )

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        """Yield the made-up answer word by word, and last the response."""
        response = await self.generate(request)
        for piece in re.findall(r"\s*\S+|\s+$", response.content):
            yield LLMChunk(text=piece)
        yield LLMChunk(response=response)

    async def close(self) -> None:
        """Nothing is held here."""


def _say_what_it_is(request: LLMRequest, seed: str) -> str:
    asked = " ".join(request.messages[-1].content.split()) if request.messages else ""
    quoted = asked if len(asked) <= QUOTED_CHARACTERS else asked[:QUOTED_CHARACTERS] + "..."
    return (
        f"[sandbox] No model wrote this. Callboard's sandbox answers the request {seed[:8]} to {request.model} "
        f"in its place, always with the same text. The last message was: {quoted!r}. "
        "Set a provider's key, such as OPENROUTER_API_KEY, to get a real answer."
    )


def _fill_schema(request: LLMRequest, seed: str) -> str:
    try:
        return orjson.dumps(make_value(dict(request.output_schema or {}), seed=seed)).decode()
    except UnfittingSchemaError as error:
        raise SandboxSchemaError(
            f"The sandbox cannot make a value that fits this output_schema: {error}. "
            "Use a real provider, or replay, for this step.",
            details={"model": request.model},
        ) from error


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)
