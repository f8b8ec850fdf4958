"""Google Places, live: the service on the Places API (New). `wiring.py` builds it where there is a key.

Steps keep the parameters and the shape of results that files written for the older API use; what Google
gets and answers is in `google_places_wire.py`. When there is no key `google_places_replay.py` or
`google_places_sandbox.py` stands in.
"""

import re
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel

from callboard.core.errors import StepError
from callboard.core.http_client import HttpClient, HttpRequest, HttpResponse
from callboard.core.json_values import JsonValue
from callboard.core.pricing import UnitPrice
from callboard.integrations.errors import ServiceAnswerError, ServiceAuthError
from callboard.integrations.google_places_parameters import METHODS
from callboard.integrations.google_places_pricing import SERVICE, price_call
from callboard.integrations.google_places_wire import UnreadableAnswerError, WireRequest, from_wire, to_wire
from callboard.integrations.port import ServiceResult, parse_parameters
from callboard.integrations.vendor_calls import (
    CALL_TIMEOUT_SECONDS,
    MAX_REASON_CHARS,
    build_refusal,
    flatten_text,
    hide_key,
    send,
)

DEFAULT_BASE_URL = "https://places.googleapis.com"
_GOOGLE_KEY = re.compile(r"AIza[0-9A-Za-z_\-]{10,}")  # Google's own refusals quote the key they refuse


class GooglePlaces:
    """The live service. `prices` are the operator's; `http` belongs to the process and stays open."""

    name: Final = SERVICE
    provider: Final = SERVICE
    methods: Mapping[str, type[BaseModel]] = METHODS

    def __init__(
        self,
        *,
        http: HttpClient,
        api_key: str,
        base_url: str = DEFAULT_BASE_URL,
        prices: Mapping[str, UnitPrice] | None = None,
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
    ) -> None:
        self._http = http
        self._api_key = api_key
        self._base_url = base_url.rstrip("/")
        self._prices = dict(prices or {})
        self._timeout_seconds = timeout_seconds

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return the places that Google finds. Raises: the errors of `integrations/errors.py`."""
        parsed = parse_parameters(self, method, parameters)
        started = time.monotonic()
        response = await self._send(to_wire(parsed))
        if response.status != 200:
            raise self._refusal(method, response)
        return ServiceResult(
            data=_read_data(method, parsed, response.body),
            status_code=response.status,
            units=1,
            cost=price_call(method, self._prices),
            duration_ms=round((time.monotonic() - started) * 1000),
        )

    async def close(self) -> None:
        """The connections belong to the HTTP client, which `wiring` closes."""

    async def _send(self, wire: WireRequest) -> HttpResponse:
        headers = {"X-Goog-Api-Key": self._api_key, "X-Goog-FieldMask": wire.field_mask}
        if wire.body is not None:
            headers["Content-Type"] = "application/json"
        request = HttpRequest(
            method=wire.method,
            url=self._base_url + wire.path,
            timeout_seconds=self._timeout_seconds,
            headers=headers,
            params=wire.query,
            body=None if wire.body is None else orjson.dumps(wire.body),
        )
        return await send(self._http, request, service=SERVICE, address_hint="Correct GOOGLE_PLACES_BASE_URL.")

    def _refusal(self, method: str, response: HttpResponse) -> StepError:
        """Return the error for an answer that is none, with Google's reason and without our key."""
        reason, google_status, is_key_invalid = _read_refusal(response.body)
        reason = _GOOGLE_KEY.sub("[key]", hide_key(reason, self._api_key))[:MAX_REASON_CHARS]
        message = f"Google Places refused {method} ({response.status}): {reason or 'no reason given'}"
        details = {"service": SERVICE, "method": method, "http_status": response.status}
        if google_status:
            details["google_status"] = google_status
        if response.status in (401, 403) or is_key_invalid:
            return ServiceAuthError(f"{message} (check GOOGLE_PLACES_API_KEY)", details=details)
        return build_refusal(message, response, details)


def _read_data(method: str, parsed: BaseModel, body: bytes) -> JsonValue:
    try:
        return from_wire(parsed, orjson.loads(body))
    except (orjson.JSONDecodeError, UnreadableAnswerError) as error:
        raise ServiceAnswerError(
            f"Google Places answered {method} with something that cannot be read: {error}.",
            details={"service": SERVICE, "method": method, "http_status": 200},
        ) from error


def _read_refusal(body: bytes) -> tuple[str, str | None, bool]:
    """Return (message, status name, whether it is about the key) of Google's error object."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return flatten_text(body), None, False
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return "", None, False
    # An unknown key is refused with 400 INVALID_ARGUMENT; only this reason tells it from a bad parameter.
    reasons = [item.get("reason") for item in error.get("details") or [] if isinstance(item, dict)]
    status = error.get("status")
    is_key_invalid = "API_KEY_INVALID" in reasons
    return str(error.get("message") or ""), status if isinstance(status, str) else None, is_key_invalid
