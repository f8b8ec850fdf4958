"""The service `http` that sends nothing: it answers with the request that it was given. `workbench.py` builds it."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from callboard.core.pricing import NO_COST
from callboard.integrations.http import parse_call
from callboard.integrations.http_parameters import METHODS, SERVICE, HttpCall
from callboard.integrations.port import ServiceResult

NOTE = "Sandbox: this request was not sent."


class SandboxHttp:
    """Answers {"note", "request"}: method, url, query and body as given, and of the headers their names alone.

    `head` and `options` answer {"headers": {}}, the shape of the live ones. The status is the first that the call
    expects.
    """

    name: Final = SERVICE
    provider: Final = "sandbox"
    methods: Mapping[str, type[BaseModel]] = METHODS

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return the request itself."""
        call = parse_call(self, method, parameters)
        return ServiceResult(
            data={"headers": {}} if method in ("head", "options") else {"note": NOTE, "request": _echo(method, call)},
            status_code=(call.expect_status or [200])[0],
            units=1,
            cost=NO_COST,
            duration_ms=0,
        )

    async def close(self) -> None:
        """Nothing is held here."""


def _echo(method: str, call: HttpCall) -> dict[str, Any]:
    shown = call.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=set(HttpCall.not_recorded))
    if call.headers is not None:
        shown["headers"] = sorted(name.lower() for name in call.headers)
    return {"method": method, **shown}
