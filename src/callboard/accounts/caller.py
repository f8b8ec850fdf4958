"""Who sends a request: made by `service.py` from a key, handed by `auth.py` to every router."""

from dataclasses import dataclass

from callboard.accounts.scopes import KeyScope
from callboard.core.repository import TenantScope


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The owner of a valid key.

    `tenant` is whose rows they see, `tenant_id` where their new rows go (`default` for the operator's key).
    `user_id` is the one user that the key is bound to, if any. `key_id` names the key in logs.
    """

    tenant: TenantScope
    tenant_id: str
    user_id: str | None
    scopes: frozenset[str]
    key_id: str

    @property
    def is_admin(self) -> bool:
        return KeyScope.ADMIN in self.scopes
