"""The weather, live: the service on weatherapi.com's API v1. `workbench.py` builds it where there is a key.

A step gets the answer as it came: `location`, `current`, and of a forecast `forecast.forecastday` and `alerts`.
The key travels in the query, so no address is ever shown. Without a key `weatherapi_replay.py` or
`weatherapi_sandbox.py` stands in. Source: weatherapi.com, "API Error Codes" and "Request Parameters".
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel

from callboard.core.errors import StepError
from callboard.core.http_client import HttpClient, HttpRequest, HttpResponse
from callboard.core.json_values import JsonValue
from callboard.core.pricing import NO_COST, Cost, UnitPrice
from callboard.integrations.call_prices import find_own_price
from callboard.integrations.errors import (
    ServiceAnswerError,
    ServiceAuthError,
    ServiceQuotaError,
    ServiceRejectedError,
    ServiceUnavailableError,
)
from callboard.integrations.port import ServiceResult, parse_parameters
from callboard.integrations.vendor_calls import (
    CALL_TIMEOUT_SECONDS,
    MAX_REASON_CHARS,
    build_refusal,
    flatten_text,
    hide_key,
    send,
)
from callboard.integrations.weatherapi_parameters import METHODS, SERVICE, to_query

DEFAULT_BASE_URL = "https://api.weatherapi.com/v1"

KEY_CODES = frozenset({1002, 2006, 2008, 2009})  # no key, a wrong one, a disabled one, one of a smaller plan
QUOTA_CODE = 2007  # comes with 403, and a retry within the month would meet it again
INTERNAL_CODE = 9999  # comes with 400, and is none of the caller's doing


class WeatherApi:
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
        """Return the weather. Raises: the errors of `integrations/errors.py`."""
        parsed = parse_parameters(self, method, parameters)
        started = time.monotonic()
        response = await self._send(method, parsed)
        if response.status != 200:
            raise self._refusal(method, response)
        return ServiceResult(
            data=_read_data(method, response.body),
            status_code=response.status,
            units=1,
            cost=price_call(method, self._prices),
            duration_ms=round((time.monotonic() - started) * 1000),
        )

    async def close(self) -> None:
        """The connections belong to the HTTP client, which `wiring` closes."""

    async def _send(self, method: str, parsed: BaseModel) -> HttpResponse:
        request = HttpRequest(
            method="GET",
            url=f"{self._base_url}/{method}.json",
            timeout_seconds=self._timeout_seconds,
            headers={},
            params={"key": self._api_key, **to_query(parsed)},
        )
        return await send(self._http, request, service=SERVICE, address_hint="Correct WEATHERAPI_BASE_URL.")

    def _refusal(self, method: str, response: HttpResponse) -> StepError:
        """Return the error for an answer that is none, by their own code where there is one, without our key."""
        code, reason = _read_refusal(response.body)
        reason = hide_key(reason, self._api_key)[:MAX_REASON_CHARS] or "no reason given"
        message = f"weatherapi.com refused {method} ({response.status}): {reason}"
        details: dict[str, Any] = {"service": SERVICE, "method": method, "http_status": response.status}
        if code is not None:
            details["weatherapi_code"] = code
        if code in KEY_CODES:
            return ServiceAuthError(f"{message} (check WEATHERAPI_API_KEY and its plan)", details=details)
        if code == QUOTA_CODE:
            return ServiceQuotaError(f"{message} (the plan's calls of this month are used up)", details=details)
        if code == INTERNAL_CODE:
            return ServiceUnavailableError(message, details=details)
        if code is not None and response.status < 500 and response.status != 429:
            return ServiceRejectedError(message, details=details)
        return build_refusal(message, response, details)


def price_call(method: str, prices: Mapping[str, UnitPrice]) -> Cost:
    """Return the cost of one call by the operator's prices; else nothing, since plans are paid by the month."""
    return find_own_price((f"{SERVICE}.{method}", SERVICE), prices) or NO_COST


def _read_data(method: str, body: bytes) -> JsonValue:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _unreadable(method, str(error)) from error
    wanted = ("location", "current") if method == "current" else ("location", "forecast")
    if not isinstance(answer, dict) or any(not isinstance(answer.get(name), dict) for name in wanted):
        raise _unreadable(method, f"it has no {' and '.join(wanted)}")
    return answer


def _unreadable(method: str, reason: str) -> ServiceAnswerError:
    return ServiceAnswerError(
        f"weatherapi.com answered {method} with something that cannot be read: {reason}.",
        details={"service": SERVICE, "method": method, "http_status": 200},
    )


def _read_refusal(body: bytes) -> tuple[int | None, str]:
    """Return (their code, their message) of an error object; of anything else its beginning."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, flatten_text(body)
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return None, ""
    code = error.get("code")
    return (code if isinstance(code, int) else None), str(error.get("message") or "")
