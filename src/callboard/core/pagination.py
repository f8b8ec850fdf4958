"""Pages of a list: a limit, an opaque cursor, an offset for older clients."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from callboard.core.errors import Finding, UnprocessableError

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_OFFSET = 1_000_000  # beyond it a cursor is the way; databases count through an offset row by row

Row = TypeVar("Row")


class InvalidCursorError(UnprocessableError):
    """The cursor is none that a list gave out; leave it away to begin at the first page."""

    code = "invalid_cursor"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which page a caller asks for. `after` is the id of the last row they have seen."""

    limit: int = DEFAULT_LIMIT
    after: UUID | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """One page and the cursor of the next one, None on the last."""

    items: Sequence[Row]
    next_cursor: str | None
    total: int | None = None


def encode_cursor(last_id: UUID) -> str:
    """Return the cursor that goes on after `last_id`."""
    return base64.urlsafe_b64encode(last_id.bytes).decode().rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """Return the id that `cursor` goes on after. Raises: InvalidCursorError.

    >>> last = UUID("019a9f3e-0000-7000-8000-000000000001")
    >>> decode_cursor(encode_cursor(last)) == last
    True
    """
    try:
        return UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidCursorError(errors=[Finding("/query/cursor", "is no cursor of this list")]) from error
