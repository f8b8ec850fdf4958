"""Who sends a request: made by `service.py` from a key, handed by `auth.py` to every router."""

from dataclasses import dataclass

from callboard.accounts.scopes import KeyScope
from callboard.core.errors import ForbiddenError
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

    def user_for(self, user_id: str | None) -> str | None:
        """Return whose things are meant: the user that the key is bound to, or the one that a service names.

        Raises: ForbiddenError, when a key that is bound to a user names another.
        """
        if self.user_id is None:
            return user_id
        if user_id not in (None, self.user_id):
            raise ForbiddenError(f"This key is bound to the user {self.user_id}; it cannot act for another.")
        return self.user_id

    @property
    def is_admin(self) -> bool:
        return KeyScope.ADMIN in self.scopes
