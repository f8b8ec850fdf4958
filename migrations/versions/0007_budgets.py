"""Budgets: accounts, what is reserved in them, and limits of users and tenants."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from callboard.core.database import JsonText, Money, UtcDateTime

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_IS_OF_JOB = sa.text("job_id IS NOT NULL")


def upgrade() -> None:
    op.add_column(
        "llm_workflow_jobs",
        sa.Column("unconfirmed_usd", Money(precision=24, scale=12), nullable=False, server_default="0"),
    )
    op.create_table(
        "budget_accounts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("period", sa.String(length=10), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("spent_usd", Money(precision=24, scale=12), nullable=False),
        sa.Column("reserved_usd", Money(precision=24, scale=12), nullable=False),
        sa.Column("unconfirmed_usd", Money(precision=24, scale=12), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["llm_workflow_jobs.id"],
            name=op.f("fk_budget_accounts_job_id_llm_workflow_jobs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_budget_accounts")),
    )
    op.create_index("ix_budget_accounts_listed", "budget_accounts", ["tenant_id", "scope", "period", "subject"])
    op.create_index(
        "ix_budget_accounts_job_id",
        "budget_accounts",
        ["job_id"],
        postgresql_where=_IS_OF_JOB,
        sqlite_where=_IS_OF_JOB,
    )
    op.create_table(
        "budget_reservations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("call", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("amount_usd", Money(precision=24, scale=12), nullable=False),
        sa.Column("accounts", JsonText(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('open','unconfirmed')", name=op.f("ck_budget_reservations_state")),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["llm_workflow_jobs.id"],
            name=op.f("fk_budget_reservations_job_id_llm_workflow_jobs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_reservations")),
    )
    op.create_index(op.f("ix_budget_reservations_job_id"), "budget_reservations", ["job_id"])
    op.create_table(
        "spending_limits",
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("period", sa.String(length=10), nullable=False),
        sa.Column("limit_usd", Money(precision=24, scale=12), nullable=True),
        sa.Column("updated_at", UtcDateTime(timezone=True), nullable=False),
        sa.CheckConstraint("period IN ('day','month')", name=op.f("ck_spending_limits_period")),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "period", name=op.f("pk_spending_limits")),
    )
    # what the first call under a limit looks up: all that its user or tenant has spent in the period
    op.create_index("ix_llm_provider_usage_spender", "llm_provider_usage", ["tenant_id", "user_id", "created_at"])


def downgrade() -> None:
    op.drop_index("ix_llm_provider_usage_spender", table_name="llm_provider_usage")
    op.drop_table("spending_limits")
    op.drop_table("budget_reservations")
    op.drop_table("budget_accounts")
    op.drop_column("llm_workflow_jobs", "unconfirmed_usd")
