"""Indexes for claims under limits, for suspects, and for jobs of a related entity."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JOBS = "llm_workflow_jobs"
URGENCY: list[str | sa.TextClause] = [sa.text("priority DESC"), "id"]
LANE: list[str | sa.TextClause] = ["tenant_id", sa.text("coalesce(user_id, '')"), "workflow_name"]
INDEXES: dict[str, tuple[list[str | sa.TextClause], str]] = {
    "idx_workflow_jobs_lanes": ([*LANE, *URGENCY], "status = 'queued'"),
    "idx_workflow_jobs_suspects": (URGENCY, "status = 'queued' AND retry_count >= 2"),
    "idx_workflow_jobs_related": (["tenant_id", "related_entity_id", "id"], "related_entity_id IS NOT NULL"),
}


def upgrade() -> None:
    for name, (columns, condition) in INDEXES.items():
        op.create_index(name, JOBS, columns, postgresql_where=sa.text(condition), sqlite_where=sa.text(condition))


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name=JOBS)
