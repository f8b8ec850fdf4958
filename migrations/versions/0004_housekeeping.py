"""Indexes by which housekeeping finds what is old, and what is one user's, without reading whole tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("idx_workflow_jobs_definition_hash", "llm_workflow_jobs", ["definition_hash"])
    op.create_index(
        "idx_workflow_jobs_completed_at",
        "llm_workflow_jobs",
        ["completed_at"],
        postgresql_where=sa.text("completed_at IS NOT NULL"),
        sqlite_where=sa.text("completed_at IS NOT NULL"),
    )
    op.create_index(
        "ix_outbox_consumed",
        "outbox",
        ["consumed_at"],
        postgresql_where=sa.text("consumed_at IS NOT NULL"),
        sqlite_where=sa.text("consumed_at IS NOT NULL"),
    )
    op.create_index("ix_idempotency_keys_created_id", "idempotency_keys", ["created_id"])


def downgrade() -> None:
    op.drop_index("ix_idempotency_keys_created_id", "idempotency_keys")
    op.drop_index("ix_outbox_consumed", "outbox")
    op.drop_index("idx_workflow_jobs_completed_at", "llm_workflow_jobs")
    op.drop_index("idx_workflow_jobs_definition_hash", "llm_workflow_jobs")
