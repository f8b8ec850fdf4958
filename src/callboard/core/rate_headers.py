"""`RateLimit-*` headers: what a caller has left, on every answer to a request that was counted.

`accounts/auth.py` notes the decision in the request's scope, `RateHeaders` writes it into the answer (also
into errors that come later), and `describe_rate_limits` tells the API's description of both.
"""

import math
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callboard.core.limits import RateDecision
from callboard.core.problems import problem_responses

RATE_HEADERS = {
    "RateLimit-Limit": "Requests that may be made in a window.",
    "RateLimit-Remaining": "Requests that may follow now.",
    "RateLimit-Reset": "Seconds until it is more again.",
}

_NOTED = "rate_decision"


def note_rate(scope: Scope, decision: RateDecision | None) -> None:
    """Let the answer to the request in `scope` tell the decision; None tells nothing."""
    scope.setdefault("state", {})[_NOTED] = decision


def rate_of(scope: Scope) -> RateDecision | None:
    """Return the decision that was noted for the request in `scope`."""
    decision: RateDecision | None = scope.get("state", {}).get(_NOTED)
    return decision


class RateHeaders:
    """Writes the decision that was noted for a request into its answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_rate(message: Message) -> None:
            decision = rate_of(scope)
            if decision is not None and message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Limit"] = str(decision.limit)
                headers["RateLimit-Remaining"] = str(decision.remaining)
                headers["RateLimit-Reset"] = str(math.ceil(decision.reset_seconds))
            await send(message)

        await self._app(scope, receive, send_with_rate)


def describe_rate_limits(openapi: dict[str, Any]) -> None:
    """Add to every operation that needs a key that it may answer 429, and the headers of its answers."""
    headers = {name: _describe(text) for name, text in RATE_HEADERS.items()}
    openapi.setdefault("components", {}).setdefault("headers", {}).update(headers)
    for path in openapi["paths"].values():
        for operation in path.values():
            if operation.get("security"):
                answers = operation["responses"]
                answers.update({str(status): answer for status, answer in problem_responses(429).items()})
                for answer in answers.values():
                    answer.setdefault("headers", {}).update(_references())


def _describe(text: str) -> dict[str, Any]:
    return {"description": f"{text} Not there where nothing is limited.", "schema": {"type": "integer", "minimum": 0}}


def _references() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in RATE_HEADERS}
