"""Ids: UUIDv7, so that keys sort by age, each with a type of its own."""

from datetime import datetime
from typing import NewType
from uuid import UUID

import uuid_utils.compat

JobId = NewType("JobId", UUID)
WorkerId = NewType("WorkerId", UUID)

DEFAULT_TENANT = "default"


def new_uuid() -> UUID:
    """Return a new UUIDv7. Later ones sort after earlier ones of the same process."""
    return uuid_utils.compat.uuid7()


def first_uuid_at(moment: datetime, *, plus_seconds: int = 0) -> UUID:
    """Return the UUID that sorts before all UUIDv7 of the millisecond of `moment`, shifted, and after all earlier ones.

    Source: RFC 9562, section 5.7: the first 48 bits are milliseconds since 1970.
    """
    milliseconds = min(max(0, int((moment.timestamp() + plus_seconds) * 1000)), 2**48 - 1)
    return UUID(int=milliseconds << 80)
