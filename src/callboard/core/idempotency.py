"""The table of Idempotency-Keys: the same key and body gives the first answer again.

(tenant, route, key) is unique and written in the transaction that creates what the request asked for, so
two requests in a race create one thing. `jobs/service.py` is its first user.
"""

import hashlib
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from callboard.core.database import Base, JsonText, UtcDateTime


class IdempotencyKey(Base):
    """One key that a caller sent, the hash of the body it came with, and what was created for it."""

    __tablename__ = "idempotency_keys"

    tenant_id: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    route: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    body_hash: Mapped[str] = mapped_column(sa.String(64))
    created_id: Mapped[UUID] = mapped_column(index=True)
    answer: Mapped[str | None] = mapped_column(JsonText)  # the first answer, where it is given again as it was
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


def body_hash(body: bytes) -> str:
    """Return the hash by which two request bodies are compared."""
    return hashlib.sha256(body).hexdigest()
