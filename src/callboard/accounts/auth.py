"""Who calls, and may they: the dependency that every protected operation has.

    caller: Annotated[Caller, Depends(require("jobs:write"))]

Every domain's router uses it. Answers 401 without a valid key and 403 without the scope.
"""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from callboard.accounts.caller import Caller
from callboard.accounts.errors import MissingScopeError
from callboard.accounts.scopes import ALL_SCOPES
from callboard.accounts.service import ApiKeyService
from callboard.core.errors import UnauthenticatedError
from callboard.core.logging import bind

__all__ = ["Caller", "authenticate", "check_scope", "require"]  # routers take all of them from here

KEY_HEADER = APIKeyHeader(
    name="X-API-Key",
    scheme_name="ApiKey",
    description="A key of this server: `callboard keys create` makes one, a first start in development prints one.",
    auto_error=False,
)


async def authenticate(request: Request, key: Annotated[str | None, Security(KEY_HEADER)]) -> Caller:
    """Return who sends this request. Raises: UnauthenticatedError, InvalidKeyError."""
    if not key:
        raise UnauthenticatedError
    api_keys: ApiKeyService = request.app.state.api_keys
    caller = await api_keys.authenticate(key)
    bind(key_id=caller.key_id, tenant_id=caller.tenant_id)
    return caller


@cache  # the same function for the same scope, so that FastAPI resolves it once per request
def require(scope: str) -> Callable[[Caller], Awaitable[Caller]]:
    """Return a dependency that gives the caller of a request, when their key has `scope`.

    Raises (in the request): UnauthenticatedError, InvalidKeyError, MissingScopeError.
    """
    if scope not in ALL_SCOPES:
        raise ValueError(f"there is no scope {scope!r}; there are {', '.join(sorted(ALL_SCOPES))}")

    async def check(caller: Annotated[Caller, Depends(authenticate)]) -> Caller:
        check_scope(caller, scope)
        return caller

    return check


def check_scope(caller: Caller, scope: str) -> None:
    """Return when the caller's key has `scope`. Raises: MissingScopeError, naming the scopes it has."""
    if scope not in caller.scopes:
        has = ", ".join(sorted(caller.scopes))
        raise MissingScopeError(f"This needs a key with the scope {scope}; this one has {has}.")
