"""What can go wrong with keys."""

import math

from callboard.core.config import SettingsError
from callboard.core.errors import CallboardError, ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError
from callboard.core.limits import RateDecision


class InvalidKeyError(UnauthenticatedError):
    """This API key is not known or was revoked; send a valid one in the X-API-Key header."""

    code = "invalid_api_key"


class MissingScopeError(ForbiddenError):
    """This key lacks the scope that this needs."""

    code = "missing_scope"


class OtherTenantError(ForbiddenError):
    """Only the operator's key (ADMIN_API_KEY) reaches other tenants."""

    code = "other_tenant"


class ApiKeyNotFoundError(NotFoundError):
    """There is no API key with this id."""

    code = "api_key_not_found"


class KeyReusedError(ConflictError):
    """This Idempotency-Key was used with another body; send a new one, or the first body."""

    code = "idempotency_conflict"


class TooManyRequestsError(CallboardError):
    """There were too many requests; try again when `retry_after_seconds` have passed."""

    code = "too_many_requests"
    status = 429
    retryable = True

    def __init__(self, who: str, decision: RateDecision, *, wait_seconds: float) -> None:
        self.decision = decision
        self.retry_after_seconds = max(1, math.ceil(wait_seconds))
        seconds = "1 second" if self.retry_after_seconds == 1 else f"{self.retry_after_seconds} seconds"
        super().__init__(f"{who} has made as many requests as it may ({decision.limit}). Try again in {seconds}.")


class MissingKeysError(SettingsError):
    """Production needs keys and secrets that the operator sets; the message names each that is missing."""
