"""What can go wrong with keys."""

from callboard.core.config import SettingsError
from callboard.core.errors import ConflictError, ForbiddenError, NotFoundError, UnauthenticatedError


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


class MissingKeysError(SettingsError):
    """Production needs keys and secrets that the operator sets; the message names each that is missing."""
