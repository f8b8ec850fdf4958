"""What jobs wait for: approvals with their answers, signals, timers."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from callboard.core.database import JsonText, UtcDateTime

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_IS_OPEN = sa.text("status = 'open'")
_IS_OPEN_APPROVAL = sa.text("status = 'open' AND kind = 'approval'")
_HAS_TIMER = sa.text("status = 'waiting' AND wake_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "job_waits",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("step_id", sa.String(length=50), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("instructions", sa.Text(), nullable=True),
        sa.Column("form_schema", JsonText(), nullable=True),
        sa.Column("required_answers", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("payload", JsonText(), nullable=True),
        sa.Column("wake_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("opened_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("ended_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("taken_at", UtcDateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('approval','event','timer','back_off')", name=op.f("ck_job_waits_kind")),
        sa.CheckConstraint("status IN ('open','answered','timed_out','closed')", name=op.f("ck_job_waits_status")),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["llm_workflow_jobs.id"],
            name=op.f("fk_job_waits_job_id_llm_workflow_jobs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_waits")),
        sa.UniqueConstraint("job_id", "path", "attempt", name=op.f("uq_job_waits_job_id_path_attempt")),
    )
    op.create_index(
        "ix_job_waits_inbox",
        "job_waits",
        ["tenant_id", "id"],
        postgresql_where=_IS_OPEN_APPROVAL,
        sqlite_where=_IS_OPEN_APPROVAL,
    )
    op.create_index("ix_job_waits_open", "job_waits", ["job_id"], postgresql_where=_IS_OPEN, sqlite_where=_IS_OPEN)
    op.create_table(
        "job_answers",
        sa.Column("wait_id", sa.Uuid(), nullable=False),
        sa.Column("answered_by", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("answer", JsonText(), nullable=False),
        sa.Column("answered_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["wait_id"], ["job_waits.id"], name=op.f("fk_job_answers_wait_id_job_waits"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("wait_id", "answered_by", name=op.f("pk_job_answers")),
    )
    op.create_table(
        "job_signals",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("payload", JsonText(), nullable=False),
        sa.Column("sent_by", sa.String(length=255), nullable=False),
        sa.Column("sent_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("taken_by", sa.Uuid(), nullable=True),
        sa.Column("taken_at", UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["llm_workflow_jobs.id"],
            name=op.f("fk_job_signals_job_id_llm_workflow_jobs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_job_signals")),
    )
    op.create_index(
        "idx_workflow_jobs_wake",
        "llm_workflow_jobs",
        ["wake_at"],
        postgresql_where=_HAS_TIMER,
        sqlite_where=_HAS_TIMER,
    )
    # A downgrade dropped what these waited for; a worker that runs them again asks anew.
    op.execute("UPDATE llm_workflow_jobs SET status = 'queued', wake_at = NULL WHERE status = 'waiting'")


def downgrade() -> None:
    op.drop_index("idx_workflow_jobs_wake", table_name="llm_workflow_jobs")
    op.drop_table("job_signals")
    op.drop_table("job_answers")
    op.drop_table("job_waits")
