"""The keys that the operator gives in settings, and those that a first start in development makes.

`wiring.py` calls `prepare_keys` before anything else is opened: production without keys ends there. None
of these keys is ever in the database; each is compared, in constant time, with what a request brings.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from callboard.accounts.caller import Caller
from callboard.accounts.errors import MissingKeysError
from callboard.accounts.scopes import ALL_SCOPES, KeyScope
from callboard.core.config import Settings
from callboard.core.ids import DEFAULT_TENANT
from callboard.core.repository import TenantScope
from callboard.core.security import keep_secret, new_api_key, new_secret

API_KEY_FILE = "api_key"
SECRET_KEY_FILE = "secret_key"  # noqa: S105 - the name of a file


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """A key that is no row in the database, and who its owner is."""

    key: str = field(repr=False)
    caller: Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedKeys:
    """The secret that keys are hashed with, and the keys that settings or the first start gave."""

    secret_key: str = field(repr=False)
    operator_keys: tuple[OperatorKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentKeys:
    """The key and the secret that are kept in CALLBOARD_HOME; `is_new` when they were made just now."""

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    is_new: bool


def prepare_keys(settings: Settings, *, announce: Callable[[str], None] | None = None) -> PreparedKeys:
    """Return the keys of this process; in development, make and `announce` what is missing (once).

    Raises: MissingKeysError, in production, naming every setting that is missing.
    """
    require_production_keys(settings)
    configured = _configured_keys(settings)
    secret_key = _plain(settings.secret_key)
    if secret_key is None:
        secret_key = keep_secret(settings.callboard_home / SECRET_KEY_FILE, new_secret()).value
    if not configured:
        configured = (_development_key(settings.callboard_home, announce or _print),)
    return PreparedKeys(secret_key=secret_key, operator_keys=configured)


def require_production_keys(settings: Settings) -> None:
    """Return when the settings hold what production needs, or this is not production.

    Raises: MissingKeysError, naming every setting that is missing.
    """
    if settings.environment != "production":
        return
    missing = []
    if settings.llm_microservice_api_key is None and settings.admin_api_key is None:
        missing.append("LLM_MICROSERVICE_API_KEY or ADMIN_API_KEY: the key that callers send, 16 characters at least.")
    if settings.secret_key is None:
        missing.append("SECRET_KEY: what keys are hashed with, 32 random characters at least.")
    if missing:
        lines = "\n".join(missing)
        raise MissingKeysError(f"ENVIRONMENT=production makes no keys of its own. Set\n{lines}")


def ensure_development_keys(home: Path) -> DevelopmentKeys:
    """Return the key and the secret kept in `home`, made now where there are none (files of mode 600)."""
    secret = keep_secret(home / SECRET_KEY_FILE, new_secret())
    key = keep_secret(home / API_KEY_FILE, new_api_key())
    return DevelopmentKeys(api_key=key.value, secret_key=secret.value, is_new=key.is_new)


def _development_key(home: Path, announce: Callable[[str], None]) -> OperatorKey:
    keys = ensure_development_keys(home)
    if keys.is_new:
        path = home / API_KEY_FILE
        announce(f"Made an API key for development, kept in {path} (readable by you alone):\n\n  {keys.api_key}\n")
    return OperatorKey(keys.api_key, _operator("development"))


def _configured_keys(settings: Settings) -> tuple[OperatorKey, ...]:
    keys = []
    admin, service = _plain(settings.admin_api_key), _plain(settings.llm_microservice_api_key)
    if admin is not None:
        keys.append(OperatorKey(admin, _operator("ADMIN_API_KEY")))
    if service is not None:
        keys.append(OperatorKey(service, _service("LLM_MICROSERVICE_API_KEY")))
    return tuple(keys)


def _operator(name: str) -> Caller:
    return Caller(
        tenant=TenantScope.every_tenant(), tenant_id=DEFAULT_TENANT, user_id=None, scopes=ALL_SCOPES, key_id=name
    )


def _service(name: str) -> Caller:
    return Caller(
        tenant=TenantScope(DEFAULT_TENANT),
        tenant_id=DEFAULT_TENANT,
        user_id=None,
        scopes=frozenset({KeyScope.JOBS_READ.value, KeyScope.JOBS_WRITE.value}),
        key_id=name,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _print(text: str) -> None:
    sys.stderr.write(text + "\n")
