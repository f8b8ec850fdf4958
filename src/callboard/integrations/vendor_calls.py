"""What every service that speaks HTTP does alike: send a request, and name what went wrong. No retries here.

Called by `google_places.py`, `weatherapi.py` and `http.py`; a service of one's own may use it as well.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from callboard.core.errors import StepError
from callboard.core.http_client import (
    AnswerTooLargeError,
    CallTimeoutError,
    ConnectionFailedError,
    HttpClient,
    HttpRequest,
    HttpResponse,
    InvalidUrlError,
)
from callboard.core.retry_after import read_retry_after
from callboard.integrations.errors import (
    ServiceAnswerUnusableError,
    ServiceAuthError,
    ServiceRateLimitedError,
    ServiceRejectedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)

CALL_TIMEOUT_SECONDS = 30.0  # a vendor's API answers within one; a step's own limit may be shorter
MAX_REASON_CHARS = 500


async def send(
    http: HttpClient, request: HttpRequest, *, service: str, address_hint: str = "", size_hint: str = ""
) -> HttpResponse:
    """Return the answer to `request`, whatever its status.

    `address_hint` says where to correct an address that is no URL, `size_hint` where to allow more bytes.

    Raises: the errors of `integrations/errors.py`; UrlRefusedError where `http` has a guard.
    """
    try:
        return await http.send(request)
    except CallTimeoutError as error:
        late = ServiceTimeoutError(f"{service}: {error.message}")
        late.is_unpaid = error.is_unpaid
        raise late from error
    except ConnectionFailedError as error:
        unreachable = ServiceUnavailableError(f"{service}: {error.message}")
        unreachable.is_unpaid = error.is_unpaid
        raise unreachable from error
    except AnswerTooLargeError as error:
        raise ServiceAnswerUnusableError(f"{service}: {error.message} {size_hint}".rstrip()) from error
    except InvalidUrlError as error:
        raise ServiceRejectedError(f"{service}: {error.message} {address_hint}".rstrip()) from error


def build_refusal(message: str, response: HttpResponse, details: Mapping[str, Any]) -> StepError:
    """Return the error for an answer that is none, by its status, with the wait that the service asks for."""
    wait = read_retry_after(response.headers, now=datetime.now(UTC))
    if response.status in (401, 403):
        return ServiceAuthError(message, details=dict(details))
    if response.status in (425, 429):
        return ServiceRateLimitedError(message, retry_after_seconds=wait, details=dict(details))
    if response.status in (408, 504):
        return ServiceTimeoutError(message, retry_after_seconds=wait, details=dict(details))
    if response.status >= 500:
        failed = ServiceUnavailableError(message, retry_after_seconds=wait, details=dict(details))
        failed.is_unpaid = True  # an answer that says no
        return failed
    return ServiceRejectedError(message, details=dict(details))


def hide_key(text: str, key: str) -> str:
    """Return `text` without `key`, as it is or percent-encoded in whatever way.

    >>> hide_key("no such key: a%2Fb", "a/b")
    'no such key: [key]'
    """
    pattern = "".join(char if char.isalnum() else f"(?:{re.escape(char)}|{quote(char, safe='')})" for char in key)
    return re.sub(pattern, "[key]", text, flags=re.IGNORECASE)


def flatten_text(body: bytes, *, max_chars: int = MAX_REASON_CHARS) -> str:
    """Return the beginning of `body` as one line, for an error message.

    >>> flatten_text(b"<h1>Bad\\n  Gateway</h1>", max_chars=15)
    '<h1>Bad Gateway'
    """
    return " ".join(body[: 4 * max_chars].decode(errors="replace").split())[:max_chars]
