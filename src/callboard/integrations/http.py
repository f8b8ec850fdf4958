"""Requests to any host that the operator allows: the live service `http`. `workbench.py` builds it.

It is there where HTTP_ALLOWED_HOSTS names a host; otherwise `http_replay.py` or `http_sandbox.py` stands in.
The URL guard decides where a request may go. Redirects are not followed: each address is one that was checked.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from callboard.core.errors import StepError
from callboard.core.http_client import HttpClient, HttpResponse
from callboard.core.pricing import UnitPrice
from callboard.core.url_guard import AllowedHosts, UrlGuard, UrlRefusedError
from callboard.integrations.errors import ServiceRejectedError
from callboard.integrations.http_answers import is_redirect, read_data, show_location
from callboard.integrations.http_parameters import METHODS, SERVICE, HttpCall, host_of, to_request
from callboard.integrations.http_pricing import price_request
from callboard.integrations.port import ServiceResult, parse_parameters
from callboard.integrations.vendor_calls import build_refusal, flatten_text, send

SETTING = "HTTP_ALLOWED_HOSTS"
_REASON_CHARS = 200
_BODY_START_CHARS = 500


class Http:
    """The live service. It has connections of its own, which are checked by the guard. `prices` are the operator's."""

    name: Final = SERVICE
    provider: Final = SERVICE
    methods: Mapping[str, type[BaseModel]] = METHODS

    def __init__(self, allowed: AllowedHosts, *, prices: Mapping[str, UnitPrice] | None = None) -> None:
        self._guard = UrlGuard(allowed, setting=SETTING, only_allowed=True)
        self._http = HttpClient(guard=self._guard)
        self._prices = dict(prices or {})

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return what the host answers. Raises: the errors of `integrations/errors.py`; UrlRefusedError."""
        call = parse_call(self, method, parameters)
        request = to_request(method, call)
        host = host_of(self._guard.check(request.url).url)
        started = time.monotonic()
        response = await send(self._http, request, service=SERVICE, size_hint="`max_bytes` raises that.")
        if not call.expects(response.status):
            raise _refusal(method, host, response)
        return ServiceResult(
            data=read_data(method, response, host),
            status_code=response.status,
            units=1,
            cost=price_request(host, self._prices),
            duration_ms=round((time.monotonic() - started) * 1000),
        )

    def host_of(self, parameters: Mapping[str, Any]) -> str:
        """Return the host of the call, for its circuit and its rate limit; "" for one that may not be called."""
        url = parameters.get("url")
        try:
            return host_of(self._guard.check(url).url) if isinstance(url, str) else ""
        except UrlRefusedError:  # no circuit for each name that somebody makes up
            return ""

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()


def parse_call(service: Any, method: str, parameters: Mapping[str, Any]) -> HttpCall:
    """Return `parameters` as `service`, a variant of `http`, reads them. Raises: as `parse_parameters`."""
    parsed = parse_parameters(service, method, parameters)
    if not isinstance(parsed, HttpCall):
        raise TypeError(f"{type(parsed).__name__} belongs to no method of http")
    return parsed


def _refusal(method: str, host: str, response: HttpResponse) -> StepError:
    details: dict[str, Any] = {
        "service": SERVICE,
        "method": method,
        "host": host,
        "http_status": response.status,
        "body_start": flatten_text(response.body, max_chars=_BODY_START_CHARS),
    }
    if is_redirect(response):
        return ServiceRejectedError(
            f"{host} answered {method} with {response.status} and points to {show_location(response)}. Redirects are "
            "not followed: call that address, or take the answer as it is with `expect_status`.",
            details=details,
        )
    reason = flatten_text(response.body, max_chars=_REASON_CHARS) or "no reason given"
    return build_refusal(f"{host} answered {method} with {response.status}: {reason}", response, details)
