"""Who calls, and may they: the dependency that every protected operation has.

    caller: Annotated[Caller, Depends(require("jobs:write"))]

Every domain's router uses it. Answers 401 without a valid key, 403 without the scope, and 429 to too many
requests (`rate_limits.py`).
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from callboard.accounts.caller import Caller
from callboard.accounts.errors import MissingScopeError, TooManyRequestsError
from callboard.accounts.rate_limits import RequestLimits, limited_address, tighter
from callboard.accounts.scopes import ALL_SCOPES
from callboard.accounts.service import ApiKeyService
from callboard.core.errors import UnauthenticatedError
from callboard.core.logging import bind
from callboard.core.rate_headers import note_rate, rate_of

__all__ = ["Caller", "authenticate", "check_scope", "count_for_user", "require"]  # routers take all of them from here

UNLIMITED_PATHS = frozenset({"/metrics"})  # asked by machines that watch the server; other such paths need no key
KEY_HEADER = APIKeyHeader(
    name="X-API-Key",
    scheme_name="ApiKey",
    description="A key of this server: `callboard keys create` makes one, a first start in development prints one.",
    auto_error=False,
)


async def authenticate(request: Request, key: Annotated[str | None, Security(KEY_HEADER)]) -> Caller:
    """Return who sends this request, and count it.

    Raises: UnauthenticatedError, InvalidKeyError, TooManyRequestsError.
    """
    limits = _limits(request)
    with _told(request):
        caller = await _identify(request, key, limits)
        bind(key_id=caller.key_id, tenant_id=caller.tenant_id)
        if request.scope["path"] not in UNLIMITED_PATHS:
            note_rate(request.scope, await limits.count_caller(caller))
    return caller


async def count_for_user(request: Request, caller: Caller, user_id: str | None) -> None:
    """Count this request for the user whom it names, when the key is not bound to one and was counted as theirs.

    Raises: TooManyRequestsError.
    """
    if caller.user_id is not None:
        return
    with _told(request):
        decision = await _limits(request).count_user(caller.tenant_id, user_id)
        note_rate(request.scope, tighter(decision, rate_of(request.scope)))


async def _identify(request: Request, key: str | None, limits: RequestLimits) -> Caller:
    """Return whose key it is; one that nobody has counts against the address it comes from."""
    address = limited_address(request.client.host if request.client else None)
    limits.check_address(address, key)
    try:
        caller = await _owner_of(key, request.app.state.api_keys)
    except UnauthenticatedError:
        note_rate(request.scope, await limits.count_refused(address))
        raise
    limits.note_valid(address, key or "")
    return caller


async def _owner_of(key: str | None, api_keys: ApiKeyService) -> Caller:
    if not key:
        raise UnauthenticatedError
    return await api_keys.authenticate(key)


@contextmanager
def _told(request: Request) -> Iterator[None]:
    """Put what was left into the answer also when the request is refused for it."""
    try:
        yield
    except TooManyRequestsError as error:
        note_rate(request.scope, error.decision)
        raise


def _limits(request: Request) -> RequestLimits:
    limits: RequestLimits = request.app.state.rate_limits
    return limits


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
