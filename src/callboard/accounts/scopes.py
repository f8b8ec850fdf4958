"""What a key may do: the scopes, and which of them imply others."""

from collections.abc import Iterable
from enum import StrEnum


class KeyScope(StrEnum):
    """One thing that a key may do."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    WORKFLOWS_WRITE = "workflows:write"  # send definitions of one's own
    ADMIN = "admin"  # all of these, and keys, metrics and clean-up


ALL_SCOPES = frozenset(scope.value for scope in KeyScope)


def expand_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Return `scopes` with those that they imply.

    >>> sorted(expand_scopes(["admin"]))
    ['admin', 'jobs:read', 'jobs:write', 'workflows:write']
    """
    given = frozenset(scopes)
    return ALL_SCOPES if KeyScope.ADMIN in given else given
