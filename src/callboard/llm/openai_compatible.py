"""OpenAI's chat completions: OpenAI itself, OpenRouter, and whatever speaks the same (Ollama, vLLM, ...).

`wiring.py` builds one provider per name. What the servers do not agree on is in their `Dialect`.
"""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from callboard.core.http_client import HttpClient
from callboard.core.json_values import JsonValue
from callboard.llm.event_stream import ServerSentEvent
from callboard.llm.output_schemas import describe_schema, is_strict
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse, Usage
from callboard.llm.pricing import ModelPrices
from callboard.llm.wire import Wire, check_key

END_MARK = "[DONE]"
_FINISH_REASONS = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
# OpenAI's models that always reason refuse the whole request when it sets these.
_WITHOUT_SAMPLING = re.compile(r"^(?:o\d|gpt-5(?!-chat)(?:-|$))")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where the servers that speak this format differ."""

    max_tokens_field: str = "max_tokens"
    asks_for_cost: bool = False
    checks_sampling: bool = False


COMPATIBLE = Dialect()
# OpenAI has deprecated `max_tokens` and its reasoning models refuse it; `max_completion_tokens` works with
# all of its chat models. Others (Ollama, older vLLM) know only `max_tokens`, and OpenRouter translates that.
OPENAI = Dialect(max_tokens_field="max_completion_tokens", checks_sampling=True)
OPENROUTER = Dialect(asks_for_cost=True)
_DIALECTS = {"openai": OPENAI, "openrouter": OPENROUTER}


class OpenAICompatibleProvider:
    """A provider that speaks chat completions at `base_url` (which ends in /v1 or the like)."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str,
        api_key: str | None,
        http: HttpClient,
        prices: ModelPrices,
        dialect: Dialect | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        key = check_key(name, api_key)
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{base_url.rstrip('/')}/chat/completions"
        self._name = name
        self._dialect = dialect or _DIALECTS.get(name, COMPATIBLE)
        self._prices = prices
        self._wire = Wire(http, provider=name, url=url, headers={**authorization, **(headers or {})}, key=key)

    def __repr__(self) -> str:
        return f"OpenAICompatibleProvider({self._name!r}, {self._wire!r})"

    @property
    def name(self) -> str:
        return self._name

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Return the whole answer to `request`."""
        started = time.monotonic()
        payload = self._payload(request)
        body = await self._wire.post(payload, timeout_seconds=request.timeout_seconds)
        answer = _Answer()
        self._take(body, answer, request.model)
        return self._finish(answer, request, started)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        """Yield the answer in pieces as they come, and last the chunk that carries the response."""
        started = time.monotonic()
        payload = {**self._payload(request), "stream": True, "stream_options": {"include_usage": True}}
        answer = _Answer()
        events = self._wire.stream(payload, timeout_seconds=request.timeout_seconds, is_end=_is_end)
        async with aclosing(events) as events:
            async for event in events:
                text = self._take(self._wire.parse(event.data, request.model), answer, request.model)
                if text:
                    yield LLMChunk(text=text)
        yield LLMChunk(response=self._finish(answer, request, started))

    async def close(self) -> None:
        """Nothing is held here: the connections are the HTTP client's."""

    def _payload(self, request: LLMRequest) -> dict[str, Any]:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        payload: dict[str, Any] = {"model": request.model, "messages": messages}
        if request.max_tokens is not None:
            payload[self._dialect.max_tokens_field] = request.max_tokens
        sampling = {"temperature": request.temperature, "top_p": request.top_p}
        payload.update(
            {
                name: value
                for name, value in sampling.items()
                if value is not None and self._takes_sampling(request.model, name)
            }
        )
        if request.output_schema is not None:
            _ask_for_schema(payload, request.output_schema)
        if self._dialect.asks_for_cost:
            payload["usage"] = {"include": True}
        return payload

    def _takes_sampling(self, model: str, parameter: str) -> bool:
        if not (self._dialect.checks_sampling and _WITHOUT_SAMPLING.match(model)):
            return True
        _log.info("llm.parameter_dropped", provider=self._name, model=model, parameter=parameter)
        return False

    def _take(self, body: Mapping[str, Any], answer: "_Answer", model: str) -> str:
        """Add an answer, or a piece of a streamed one, to `answer`; return the text that it brought."""
        if body.get("error"):
            raise self._wire.vendor_failure(body["error"], model)
        try:
            piece = _Completion.model_validate(body)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise self._wire.unusable(model, f"{where} is not as it should be") from error
        answer.response_id = answer.response_id or piece.id
        answer.model = piece.model or answer.model
        answer.usage = piece.usage or answer.usage
        if not piece.choices:
            return ""
        choice = piece.choices[0]
        if choice.error or choice.finish_reason == "error":
            raise self._wire.vendor_failure(choice.error or {"message": "the model failed"}, model)
        return answer.take_choice(choice)

    def _finish(self, answer: "_Answer", request: LLMRequest, started: float) -> LLMResponse:
        if not answer.has_choice:
            raise self._wire.unusable(request.model, "there is no choice in it")
        if answer.usage is None:
            _log.warning("llm.usage_missing", provider=self._name, model=request.model)
        usage = (answer.usage or _Usage()).as_usage()
        model = answer.model or request.model
        return LLMResponse(
            content="".join(answer.texts),
            model=model,
            provider=self._name,
            usage=usage,
            cost=self._prices.cost(provider=self._name, models=(model, request.model), usage=usage),
            duration_ms=round((time.monotonic() - started) * 1000),
            finish_reason=answer.finish_reason,
            response_id=answer.response_id,
        )


def _is_end(event: ServerSentEvent) -> bool:
    return event.data.strip() == END_MARK


def _ask_for_schema(payload: dict[str, Any], schema: Mapping[str, Any]) -> None:
    if schema.get("type") != "object":  # structured output answers objects only
        payload["messages"] = [{"role": "system", "content": describe_schema(schema)}, *payload["messages"]]
        return
    payload["response_format"] = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": dict(schema), "strict": is_strict(schema)},
    }


class _Details(BaseModel):
    cached_tokens: NonNegativeInt | None = None


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt = 0
    completion_tokens: NonNegativeInt = 0
    cost: Annotated[Decimal, Field(ge=0)] | None = None
    prompt_tokens_details: _Details | None = None

    def as_usage(self) -> Usage:
        details = self.prompt_tokens_details
        return Usage(
            input_tokens=self.prompt_tokens,
            output_tokens=self.completion_tokens,
            reported_cost_usd=self.cost,
            cached_input_tokens=(details.cached_tokens if details else None) or 0,
        )


class _Part(BaseModel):
    text: str = ""


class _Message(BaseModel):
    content: str | list[_Part] | None = None
    refusal: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class _Choice(BaseModel):
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None
    error: JsonValue = None


class _Completion(BaseModel):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] = []
    usage: _Usage | None = None


@dataclass(slots=True)
class _Answer:
    """What of an answer is here so far."""

    texts: list[str] = field(default_factory=list)
    finish_reason: str = "other"
    model: str | None = None
    response_id: str | None = None
    usage: _Usage | None = None
    has_choice: bool = False

    def take_choice(self, choice: _Choice) -> str:
        message = choice.message or choice.delta
        if message is not None:
            self.has_choice = True
        if choice.finish_reason:
            self.finish_reason = _FINISH_REASONS.get(choice.finish_reason, "other")
        text = message.text if message else ""
        if message and message.refusal and not text:
            self.finish_reason, text = "content_filter", message.refusal
        if text:
            self.texts.append(text)
        return text
