"""The table of API keys."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from callboard.core.database import Base, UtcDateTime


class ApiKey(Base):
    """A key, by its hash: the key itself is shown once, when it is made, and never stored."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.String(100))
    name: Mapped[str] = mapped_column(sa.String(100))
    key_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    prefix: Mapped[str] = mapped_column(sa.String(20))  # the first characters, so that people tell keys apart
    scopes: Mapped[str] = mapped_column(sa.String(200))  # separated by spaces
    user_id: Mapped[str | None] = mapped_column(sa.String(255))  # bound to this user alone
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
