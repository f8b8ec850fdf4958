"""What happens to every request before a router sees it: an id, a log line, a body of bounded size.

`main.py` puts these around the application. Plain ASGI, so that event streams pass through untouched.
"""

import re
import time
from email.message import Message as MimeHeaders

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callboard.core.ids import new_uuid
from callboard.core.problems import problem_response

REQUEST_ID_HEADER = "X-Request-ID"
QUIET_PATHS = ("/health", "/api/v1/health", "/metrics")  # asked every few seconds by machines

_VALID_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

log = structlog.get_logger(__name__)


class RequestIds:
    """Gives each request an id (the caller's, where it is printable ASCII of at most 128 characters) and logs its end.

    The id is in `scope["state"]["request_id"]`, in every log line of the request and in the answer's header.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            _log_end(scope, status, time.perf_counter() - started)


def _request_id(given: str | None) -> str:
    return given if given and _VALID_REQUEST_ID.fullmatch(given) else str(new_uuid())


def _log_end(scope: Scope, status: int, seconds: float) -> None:
    path = scope["path"]
    write = log.debug if path.startswith(QUIET_PATHS) else log.info
    write("http.answered", method=scope["method"], path=path[:200], status=status, duration_ms=round(seconds * 1000, 1))


class BodyLimit:
    """Reads the whole body before the application sees the request: at most `max_bytes`, and UTF-8 where it is JSON.

    Answers 413 at once when the declared length is over it, else as soon as more has come (chunked).
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            await self._refuse_as_too_large(scope, receive, send)
            return
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # the caller is gone: nobody is left to answer
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                await self._refuse_as_too_large(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        if _is_json(headers) and not _is_utf8(body):
            await _refuse_as_not_utf8(scope, receive, send)
            return
        await self._app(scope, _replay(bytes(body), then=receive), send)

    async def _refuse_as_too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"The body has more than {self._max_bytes:,} bytes, the most that is taken (MAX_BODY_BYTES)."
        await problem_response(scope, 413, code="body_too_large", detail=detail)(scope, receive, send)


async def _refuse_as_not_utf8(scope: Scope, receive: Receive, send: Send) -> None:
    detail = "The body is not UTF-8, the only encoding of JSON that is taken."
    await problem_response(scope, 400, code="invalid_json", detail=detail)(scope, receive, send)


def _is_json(headers: Headers) -> bool:
    mime = MimeHeaders()
    mime["content-type"] = headers.get("content-type", "")
    return mime.get_content_subtype() == "json" or mime.get_content_subtype().endswith("+json")


def _is_utf8(body: bytearray) -> bool:
    if 0 in body:
        return False  # UTF-16 or UTF-32, which Python's parser would take; in JSON a NUL is always escaped
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _replay(body: bytes, *, then: Receive) -> Receive:
    """Return a `receive` that gives the whole body once, then what the server sends (the caller's leaving)."""
    is_given = False

    async def receive() -> Message:
        nonlocal is_given
        if is_given:
            return await then()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
