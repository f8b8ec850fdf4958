"""Ids: UUIDv7, so that keys sort by age, each with a type of its own."""

from typing import NewType
from uuid import UUID

import uuid_utils.compat

JobId = NewType("JobId", UUID)
WorkerId = NewType("WorkerId", UUID)

DEFAULT_TENANT = "default"


def new_uuid() -> UUID:
    """Return a new UUIDv7. Later ones sort after earlier ones of the same process."""
    return uuid_utils.compat.uuid7()
