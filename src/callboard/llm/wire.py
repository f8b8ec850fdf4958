"""What both wire formats share: send JSON, read JSON or events, and name what went wrong.

Called by `openai_compatible.py` and `anthropic.py`. The key lives here and in no message, repr or log.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from callboard.core.http_client import (
    AnswerBrokenOffError,
    AnswerTooLargeError,
    CallTimeoutError,
    ConnectionFailedError,
    HttpClient,
    HttpRequest,
    InvalidUrlError,
)
from callboard.core.json_values import JsonValue
from callboard.llm.errors import (
    LLMError,
    ProviderBadRequestError,
    ProviderConnectionError,
    ProviderTimeoutError,
    UnusableAnswerError,
    clean_vendor_message,
    error_from_status,
)
from callboard.llm.event_stream import ServerSentEvent, read_events

# What vendors write instead of a status where an error stands inside an answer of status 200.
_STATUS_OF_CODE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "billing_error": 402,
    "insufficient_quota": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 504,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 529,
}
_STATUS_OF_UNKNOWN_CODE = 502
MAX_ERROR_BYTES = 8192
MAX_EXCERPT = 120  # characters of an answer that cannot be read


class InvalidKeyError(ValueError):
    """An API key has characters that cannot stand in an HTTP header."""


@dataclass(frozen=True, slots=True)
class VendorError:
    """What a vendor's error body says. `status` is the status that its code stands for, if any."""

    message: str
    code: str | None = None
    status: int | None = None


def check_key(provider: str, key: str | None) -> str | None:
    """Return `key` without surrounding white space, None when there is none.

    Raises: InvalidKeyError, which does not show it.
    """
    key = (key or "").strip()
    if not all("!" <= char <= "~" for char in key):
        raise InvalidKeyError(f"The API key of {provider} holds a space, a line break or a character beyond ASCII.")
    return key or None


class Wire:
    """One endpoint of one provider, and the headers that open it."""

    def __init__(
        self, http: HttpClient, *, provider: str, url: str, headers: Mapping[str, str], key: str | None
    ) -> None:
        self._http = http
        self._provider = provider
        self._url = url
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        self._key = key

    def __repr__(self) -> str:
        return f"Wire({self._provider!r}, {self._url!r})"

    async def post(self, payload: Mapping[str, Any], *, timeout_seconds: float) -> Mapping[str, Any]:
        """Return the JSON object that the provider answers. Raises what `llm/errors.py` names."""
        model = str(payload["model"])
        with self._naming_faults(model):
            answer = await self._http.send(self._request(payload, timeout_seconds, accept="application/json"))
        return self._read_object(answer.status, answer.headers, answer.body, model)

    async def stream(
        self,
        payload: Mapping[str, Any],
        *,
        timeout_seconds: float,
        is_end: Callable[[ServerSentEvent], bool],
    ) -> AsyncGenerator[ServerSentEvent, None]:
        """Yield the events that the provider sends before the one for which `is_end` is true.

        Closing the iterator hangs up. Raises: what `llm/errors.py` names, also when no such event comes.
        """
        model = str(payload["model"])
        with self._naming_faults(model):
            request = self._request(payload, timeout_seconds, accept="text/event-stream")
            async with self._http.open(request) as answer:
                if answer.status != 200 or "event-stream" not in answer.headers.get("Content-Type", ""):
                    self._read_object(answer.status, answer.headers, await answer.read(), model)
                    raise self.unusable(model, "it is no event stream")
                async for event in read_events(answer.chunks()):
                    if is_end(event):
                        await answer.drain()
                        return
                    yield event
                raise self.unusable(model, "the stream ended before its end mark")

    def unusable(self, model: str, why: str) -> UnusableAnswerError:
        """Return the error for an answer that came but cannot be used."""
        return UnusableAnswerError(
            f"{self._provider} gave an answer for {model} that cannot be used: {why}.", details=self._details(model)
        )

    def vendor_failure(self, error: JsonValue, model: str) -> LLMError:
        """Return the error for an error object that stands inside an answer of status 200."""
        found = _read_error(error)
        return error_from_status(
            found.status or _STATUS_OF_UNKNOWN_CODE,
            provider=self._provider,
            model=model,
            vendor_message=clean_vendor_message(found.message, secret=self._key),
            vendor_code=found.code,
        )

    def parse(self, text: str | bytes, model: str) -> Mapping[str, Any]:
        """Return the JSON object in `text`. Raises: UnusableAnswerError."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            data = text.encode() if isinstance(text, str) else text
            what = f"it is no JSON ({self._excerpt(data)})" if data.strip() else "it is empty"
            raise self.unusable(model, what) from error
        if not isinstance(value, dict):
            raise self.unusable(model, "it is no JSON object")
        return value

    def _request(self, payload: Mapping[str, Any], timeout_seconds: float, *, accept: str) -> HttpRequest:
        try:
            body = orjson.dumps(payload)
        except orjson.JSONEncodeError as error:  # a lone surrogate in a prompt, say
            model = str(payload["model"])
            raise ProviderBadRequestError(
                f"The request to {self._provider} cannot be written as JSON: {error}.", details=self._details(model)
            ) from error
        return HttpRequest(
            method="POST",
            url=self._url,
            headers={**self._headers, "Accept": accept},
            body=body,
            timeout_seconds=timeout_seconds,
        )

    def _read_object(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> Mapping[str, Any]:
        if not 200 <= status < 300:
            raise self._status_failure(status, headers, body, model)
        answer = self.parse(body, model)
        if answer.get("error"):
            raise self.vendor_failure(answer["error"], model)
        return answer

    def _status_failure(self, status: int, headers: Mapping[str, str], body: bytes, model: str) -> LLMError:
        found = _read_error_body(body)
        return error_from_status(
            # Anthropic says "no money" with 400, so the words are all there is to go by.
            402 if status == 400 and "credit balance is too low" in found.message else status,
            provider=self._provider,
            model=model,
            vendor_message=clean_vendor_message(found.message, secret=self._key),
            vendor_code=found.code,
            headers=headers,
        )

    @contextmanager
    def _naming_faults(self, model: str) -> Iterator[None]:
        details = self._details(model)
        try:
            yield
        except AnswerBrokenOffError as error:
            raise self.unusable(model, "it broke off in the middle") from error
        except AnswerTooLargeError as error:
            raise self.unusable(model, "it does not end") from error
        except ConnectionFailedError as error:
            unreachable = ProviderConnectionError(f"{self._provider}: {error.message}", details=details)
            unreachable.is_unpaid = error.is_unpaid
            raise unreachable from error
        except CallTimeoutError as error:
            late = ProviderTimeoutError(f"{self._provider} ({model}): {error.message}", details=details)
            late.is_unpaid = error.is_unpaid
            raise late from error
        except InvalidUrlError as error:
            raise ProviderBadRequestError(f"{self._provider}: {error.message}", details=details) from error

    def _details(self, model: str) -> dict[str, Any]:
        return {"provider": self._provider, "model": model}

    def _excerpt(self, data: bytes) -> str:
        begin = clean_vendor_message(_decode(data), secret=self._key)
        return begin if len(begin) <= MAX_EXCERPT else begin[:MAX_EXCERPT] + "..."


def _read_error_body(body: bytes) -> VendorError:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return VendorError(_decode(body))
    if not isinstance(value, dict):
        return VendorError(_decode(body))
    # Ollama: {"error": "text"}; vLLM: the error's fields on top; FastAPI: {"detail": ...}.
    return _read_error(value.get("error") or value.get("detail") or value)


def _decode(data: bytes) -> str:
    return data[:MAX_ERROR_BYTES].decode("utf-8", "replace")


def _read_error(error: JsonValue) -> VendorError:
    if not isinstance(error, Mapping):
        return VendorError(str(error))
    message = error.get("message")
    text = message if isinstance(message, str) else orjson.dumps(dict(error)).decode()
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping) and isinstance(metadata.get("raw"), str):
        text = f"{text}: {metadata['raw']}"  # OpenRouter's own message is only "Provider returned error"
    code = next((error[key] for key in ("code", "type") if isinstance(error.get(key), str | int)), None)
    return VendorError(text, None if code is None else str(code), _status_of(code))


def _status_of(code: str | int | None) -> int | None:
    if isinstance(code, str) and not code.isdecimal():
        return _STATUS_OF_CODE.get(code)
    return int(code) if code is not None and 300 <= int(code) <= 599 else None
