"""Anthropic's Messages API. `wiring.py` builds the provider when a key is set."""

import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
import structlog
from pydantic import BaseModel, NonNegativeInt, ValidationError

from callboard.core.http_client import HttpClient
from callboard.llm.event_stream import ServerSentEvent
from callboard.llm.output_schemas import close_objects, describe_schema
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse, Usage
from callboard.llm.pricing import ModelPrices
from callboard.llm.wire import Wire, check_key

ANTHROPIC_URL = "https://api.anthropic.com"
# The version after it, 2026-10-21, refuses temperature and top_p with every model; with this one each model
# takes what it takes, so that workflow files with a temperature go on working.
API_VERSION = "2023-06-01"
# The API wants a limit with every request; these are the highest that every model of the kind accepts.
DEFAULT_MAX_TOKENS = 8192
DEFAULT_MAX_TOKENS_CLAUDE_3 = 4096
ANSWER_TOOL = "answer"
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}
_CLAUDE_3 = re.compile(r"^claude-3-(?!5|7)")
# Both spellings of a version: claude-3-5-sonnet-..., claude-sonnet-4-5-20250929. Dates are no minor version.
_VERSION = re.compile(r"^claude-(?:[a-z]+-)?(\d{1,2})(?:-(\d{1,2}))?(?![\d])")
_NATIVE_SCHEMA_SINCE = (4, 5)
_ONE_SAMPLING_PARAMETER_SINCE = (4, 5)
_NO_SAMPLING_SINCE = (4, 7)
_Shape = TypeVar("_Shape", bound=BaseModel)
_log = structlog.get_logger(__name__)


class AnthropicProvider:
    """Anthropic at `base_url`, with or without the /v1 at its end."""

    def __init__(
        self,
        *,
        api_key: str | None,
        http: HttpClient,
        prices: ModelPrices,
        base_url: str = ANTHROPIC_URL,
        name: str = "anthropic",
    ) -> None:
        key = check_key(name, api_key)
        headers = {"anthropic-version": API_VERSION, **({"x-api-key": key} if key else {})}
        url = f"{base_url.rstrip('/').removesuffix('/v1')}/v1/messages"
        self._name = name
        self._prices = prices
        self._wire = Wire(http, provider=name, url=url, headers=headers, key=key)

    def __repr__(self) -> str:
        return f"AnthropicProvider({self._name!r}, {self._wire!r})"

    @property
    def name(self) -> str:
        return self._name

    async def generate(self, request: LLMRequest) -> LLMResponse:
        """Return the whole answer to `request`."""
        started = time.monotonic()
        body = await self._wire.post(self._payload(request), timeout_seconds=request.timeout_seconds)
        message = self._read(_Message, body, request.model)
        answer = _Answer()
        answer.take_message(message)
        answer.texts.extend(block.whole_text for block in message.content)
        return self._finish(answer, request, started)

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        """Yield the answer in pieces as they come, and last the chunk that carries the response."""
        started = time.monotonic()
        payload = {**self._payload(request), "stream": True}
        answer = _Answer()
        events = self._wire.stream(payload, timeout_seconds=request.timeout_seconds, is_end=_is_end)
        async with aclosing(events) as events:
            async for event in events:
                text = self._take(event, answer, request.model)
                if text:
                    answer.texts.append(text)
                    yield LLMChunk(text=text)
        yield LLMChunk(response=self._finish(answer, request, started))

    async def close(self) -> None:
        """Nothing is held here: the connections are the HTTP client's."""

    def _payload(self, request: LLMRequest) -> dict[str, Any]:
        system = [message.content for message in request.messages if message.role == "system"]
        turns = [{"role": turn.role, "content": turn.content} for turn in request.messages if turn.role != "system"]
        if not turns:  # the API wants a turn of the user
            system, turns = [], [{"role": "user", "content": "\n\n".join(system)}]
        payload: dict[str, Any] = {
            "model": request.model,
            "max_tokens": request.max_tokens if request.max_tokens is not None else default_max_tokens(request.model),
            "messages": turns,
            **self._sampling(request),
        }
        if request.output_schema is not None:
            system.extend(_ask_for_schema(payload, request.output_schema))
        if system:
            payload["system"] = "\n\n".join(system)
        return payload

    def _sampling(self, request: LLMRequest) -> dict[str, float]:
        """Return the sampling parameters that the model takes; newer ones refuse the request otherwise."""
        asked = {"temperature": request.temperature, "top_p": request.top_p}
        given = {name: value for name, value in asked.items() if value is not None}
        version = _version_of(request.model)
        dropped: set[str] = set()
        if version >= _NO_SAMPLING_SINCE:
            dropped = set(given)
        elif version >= _ONE_SAMPLING_PARAMETER_SINCE and len(given) > 1:
            dropped = {"top_p"}
        for name in sorted(dropped):
            _log.info("llm.parameter_dropped", provider=self._name, model=request.model, parameter=name)
        return {name: value for name, value in given.items() if name not in dropped}

    def _take(self, event: ServerSentEvent, answer: "_Answer", model: str) -> str:
        """Add one event of a stream to `answer`; return the text that it brought."""
        body = self._wire.parse(event.data, model)
        match body.get("type"):
            case "error":
                raise self._wire.vendor_failure(body.get("error"), model)
            case "message_start":
                answer.take_message(self._read(_Message, body.get("message"), model))
            case "content_block_start":
                return self._read(_Block, body.get("content_block"), model).text
            case "content_block_delta":
                return self._read(_Delta, body.get("delta"), model).new_text
            case "message_delta":
                answer.take_end(self._read(_MessageDelta, body, model))
        return ""  # pings, ends of blocks, and whatever comes to be

    def _read(self, shape: type[_Shape], value: Any, model: str) -> _Shape:
        try:
            return shape.model_validate(value)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "a part"
            raise self._wire.unusable(model, f"{where} is not as it should be") from error

    def _finish(self, answer: "_Answer", request: LLMRequest, started: float) -> LLMResponse:
        if not answer.has_message:
            raise self._wire.unusable(request.model, "there is no message in it")
        usage = answer.usage.as_usage()
        model = answer.model or request.model
        is_forced_tool = request.output_schema is not None and answer.finish_reason == "tool_calls"
        return LLMResponse(
            content="".join(answer.texts),
            model=model,
            provider=self._name,
            usage=usage,
            cost=self._prices.cost(provider=self._name, models=(model, request.model), usage=usage),
            duration_ms=round((time.monotonic() - started) * 1000),
            finish_reason="stop" if is_forced_tool else answer.finish_reason,
            response_id=answer.response_id,
        )


def _is_end(event: ServerSentEvent) -> bool:
    return event.name == "message_stop"


def _version_of(model: str) -> tuple[int, int]:
    """Return the generation in a model's name; a name that tells none counts as the newest."""
    found = _VERSION.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else (99, 0)


def default_max_tokens(model: str) -> int:
    """Return the `max_tokens` of a call that sets none: this API does not go without."""
    return DEFAULT_MAX_TOKENS_CLAUDE_3 if _CLAUDE_3.match(model) else DEFAULT_MAX_TOKENS


def _ask_for_schema(payload: dict[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Add `schema` to the request; return what the system prompt has to say about it.

    Since Claude 4.5 the API takes a schema for the answer (`output_config.format`), in a part of JSON Schema.
    Older models know only the detour of a tool that they must use; the newest refuse a forced tool while
    they think. What neither takes is said in words.
    """
    if _version_of(str(payload["model"])) >= _NATIVE_SCHEMA_SINCE:
        closed = close_objects(schema)
        if closed is not None:
            payload["output_config"] = {"format": {"type": "json_schema", "schema": closed}}
            return []
    elif schema.get("type") == "object":
        payload["tools"] = [{"name": ANSWER_TOOL, "description": "Give the answer.", "input_schema": dict(schema)}]
        payload["tool_choice"] = {"type": "tool", "name": ANSWER_TOOL}
        return []
    return [describe_schema(schema)]


class _Usage(BaseModel):
    input_tokens: NonNegativeInt | None = None
    output_tokens: NonNegativeInt | None = None
    cache_creation_input_tokens: NonNegativeInt | None = None
    cache_read_input_tokens: NonNegativeInt | None = None

    def as_usage(self) -> Usage:
        # Anthropic counts the cached part beside `input_tokens`, everyone else within.
        cached = self.cache_read_input_tokens or 0
        return Usage(
            input_tokens=(self.input_tokens or 0) + (self.cache_creation_input_tokens or 0) + cached,
            output_tokens=self.output_tokens or 0,
            cached_input_tokens=cached,
        )


class _Block(BaseModel):
    type: str = ""
    text: str = ""
    input: Any = None

    @property
    def whole_text(self) -> str:
        return orjson.dumps(self.input).decode() if self.type == "tool_use" else self.text


class _Message(BaseModel):
    id: str | None = None
    model: str | None = None
    content: list[_Block]
    stop_reason: str | None = None
    usage: _Usage = _Usage()


class _Delta(BaseModel):
    text: str = ""
    partial_json: str = ""

    @property
    def new_text(self) -> str:
        return self.text or self.partial_json


class _End(BaseModel):
    stop_reason: str | None = None


class _MessageDelta(BaseModel):
    delta: _End = _End()
    usage: _Usage = _Usage()


@dataclass(slots=True)
class _Answer:
    """What of an answer is here so far."""

    texts: list[str] = field(default_factory=list)
    finish_reason: str = "other"
    model: str | None = None
    response_id: str | None = None
    usage: _Usage = field(default_factory=_Usage)
    has_message: bool = False

    def take_message(self, message: _Message) -> None:
        self.has_message = True
        self.response_id, self.model, self.usage = message.id, message.model, message.usage
        self._take_reason(message.stop_reason)

    def take_end(self, end: _MessageDelta) -> None:
        self._take_reason(end.delta.stop_reason)
        # Its counts are totals, not increments, and only of what it names.
        self.usage = self.usage.model_copy(update=end.usage.model_dump(exclude_none=True))

    def _take_reason(self, reason: str | None) -> None:
        if reason is not None:
            self.finish_reason = _FINISH_REASONS.get(reason, "other")
