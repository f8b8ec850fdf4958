"""What a step gets of an HTTP answer: JSON parsed, text as text, and what is neither refused. Used by `http.py`."""

from collections.abc import Mapping
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

import orjson

from callboard.core.http_client import HttpResponse
from callboard.core.json_values import JsonValue
from callboard.integrations.errors import ServiceAnswerError, ServiceAnswerUnusableError

_PRIVATE_HEADERS = frozenset({"set-cookie", "set-cookie2"})  # a session of the other side's, kept for nobody


def read_data(method: str, response: HttpResponse, host: str) -> JsonValue:
    """Return the data of a step.

    JSON by its content type, else text by its charset (UTF-8 where it names none), null for an empty body. `head`
    and `options` have nothing but headers, so they give {"headers": {name in small letters: value}}, and a
    redirect gives {"location": where it points}.

    Raises: ServiceAnswerError, ServiceAnswerUnusableError.
    """
    if method in ("head", "options"):
        return {"headers": _headers_of(response)}
    if is_redirect(response):
        return {"location": response.headers["Location"]}
    if not response.body:
        return None
    content_type = _read_content_type(response.headers)
    media_type = content_type.get_content_type()
    if media_type in ("application/json", "text/json") or media_type.endswith("+json"):
        return _read_json(response, host)
    return _read_text(response, host, content_type)


def is_redirect(response: HttpResponse) -> bool:
    """Return whether the answer points elsewhere."""
    return 300 <= response.status < 400 and "Location" in response.headers


def show_location(response: HttpResponse) -> str:
    """Return where a redirect points, without a query: keys like to stand there."""
    try:
        parts = urlsplit(response.headers["Location"])
    except ValueError:
        return "an address that cannot be read"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _headers_of(response: HttpResponse) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        if key not in _PRIVATE_HEADERS:
            found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _read_json(response: HttpResponse, host: str) -> JsonValue:
    try:
        return orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        raise ServiceAnswerError(
            f"{host} answered with something that it calls JSON and that cannot be read: {error}.",
            details=_details(response, host),
        ) from error


def _read_text(response: HttpResponse, host: str, content_type: Message) -> str:
    charset = content_type.get_content_charset("utf-8")
    try:
        text = response.body.removeprefix(b"\xef\xbb\xbf").decode(charset)
    except (UnicodeDecodeError, LookupError) as error:
        raise _no_text(response, host, content_type) from error
    if "\x00" in text:
        raise _no_text(response, host, content_type)
    return text


def _no_text(response: HttpResponse, host: str, content_type: Message) -> ServiceAnswerUnusableError:
    given = "Content-Type" in response.headers
    kind = content_type.get_content_type() if given else "something without a content type"
    return ServiceAnswerUnusableError(
        f"{host} answered with {kind}, {len(response.body):,} bytes that are neither JSON nor text in the charset they "
        "name. A step keeps JSON alone: ask for another form (an Accept header), or keep the address and not the file.",
        details=_details(response, host),
    )


def _details(response: HttpResponse, host: str) -> dict[str, Any]:
    return {"service": "http", "host": host, "http_status": response.status}


def _read_content_type(headers: Mapping[str, str]) -> Message:
    message = Message()  # the standard library's reader of `type/subtype; charset=...`
    message["Content-Type"] = headers.get("Content-Type", "text/plain")
    return message
