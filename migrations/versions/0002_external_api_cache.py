"""Answers of outside calls that are kept for a while (`cache_ttl`)."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from callboard.core.database import JsonText, UtcDateTime

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "external_api_cache",
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", JsonText(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "key", name=op.f("pk_external_api_cache")),
    )
    op.create_index(op.f("ix_external_api_cache_expires_at"), "external_api_cache", ["expires_at"])


def downgrade() -> None:
    op.drop_table("external_api_cache")
