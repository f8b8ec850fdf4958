"""Text that both databases store: the type of every free text that a request brings.

Used by the `schemas` and query parameters of the domains. PostgreSQL refuses NUL characters, and lone
surrogates are no text at all; both are the caller's mistake, so they are told at the door.
"""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from callboard.core.json_values import find_unstorable


def check_storable(text: str) -> str:
    """Return `text`. Raises: ValueError, when no database can store it."""
    reason = find_unstorable(text)
    if reason is not None:
        raise ValueError(reason.removeprefix("/: "))
    return text


StorableText: TypeAlias = Annotated[
    str, AfterValidator(check_storable), Field(json_schema_extra={"pattern": r"^[^\u0000]*$"})
]
