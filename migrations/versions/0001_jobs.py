"""Jobs, their journal, events, workers, usage, outbox, bundles, idempotency keys and API keys."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from callboard.core.database import JsonText, Money, UtcDateTime

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=20), nullable=False),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("route", sa.String(length=100), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("created_id", sa.Uuid(), nullable=False),
        sa.Column("answer", JsonText(), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "route", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_created_at"), "idempotency_keys", ["created_at"])

    op.create_table(
        "llm_workflow_jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("celery_task_id", sa.String(length=255), nullable=False),
        sa.Column("workflow_name", sa.String(length=100), nullable=False),
        sa.Column("workflow_version", sa.String(length=50), nullable=False),
        sa.Column("definition_hash", sa.String(length=64), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=True),
        sa.Column("webhook_secret", sa.String(length=255), nullable=True),
        sa.Column("user_id", sa.String(length=255), nullable=True),
        sa.Column("run_name", sa.String(length=255), nullable=True),
        sa.Column("username", sa.String(length=255), nullable=True),
        sa.Column("action", sa.String(length=255), nullable=True),
        sa.Column("metadata", JsonText(), nullable=True),
        sa.Column("related_entity_type", sa.String(length=100), nullable=True),
        sa.Column("related_entity_id", sa.String(length=255), nullable=True),
        sa.Column("debug_mode", sa.Boolean(), nullable=False),
        sa.Column("forked_from", sa.Uuid(), nullable=True),
        sa.Column("status", sa.String(length=50), nullable=False),
        sa.Column("input_data", JsonText(), nullable=False),
        sa.Column("result_data", JsonText(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error", JsonText(), nullable=True),
        sa.Column("owner", sa.Uuid(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("retry_count", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("journal_rows_at_takeover", sa.Integer(), nullable=False),
        sa.Column("claimed_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("active_ms", sa.BigInteger(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("wake_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("current_step", sa.String(length=50), nullable=True),
        sa.Column("steps_completed", sa.Integer(), nullable=False),
        sa.Column("total_steps", sa.Integer(), nullable=False),
        sa.Column("last_event_id", sa.Integer(), nullable=False),
        sa.Column("budget_usd", Money(precision=24, scale=12), nullable=True),
        sa.Column("cost_usd", Money(precision=24, scale=12), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("queued_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("completed_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("is_stale", sa.Boolean(), nullable=False),
        sa.Column("stale_reason", sa.String(length=100), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_at", UtcDateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending','queued','processing','waiting','completed','failed','cancelled')",
            name=op.f("ck_llm_workflow_jobs_status"),
        ),
        sa.CheckConstraint("priority BETWEEN 0 AND 10", name=op.f("ck_llm_workflow_jobs_priority")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_workflow_jobs")),
        sa.UniqueConstraint("celery_task_id", name=op.f("uq_llm_workflow_jobs_celery_task_id")),
        postgresql_with={"fillfactor": 50},  # room for the next version of each row, see jobs/models.py
    )
    op.create_index(
        "idx_workflow_jobs_ready",
        "llm_workflow_jobs",
        [sa.text("priority DESC"), "id"],
        postgresql_where=sa.text("status = 'queued'"),
        sqlite_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        "idx_workflow_jobs_cancel",
        "llm_workflow_jobs",
        ["owner"],
        postgresql_where=sa.text("cancel_requested_at IS NOT NULL"),
        sqlite_where=sa.text("cancel_requested_at IS NOT NULL"),
    )
    op.create_index("idx_workflow_jobs_created_at", "llm_workflow_jobs", ["created_at"])
    op.create_index(
        "idx_workflow_jobs_owner",
        "llm_workflow_jobs",
        ["owner"],
        postgresql_where=sa.text("owner IS NOT NULL"),
        sqlite_where=sa.text("owner IS NOT NULL"),
    )
    op.create_index(
        "idx_workflow_jobs_stale",
        "llm_workflow_jobs",
        ["is_stale"],
        postgresql_where=sa.text("is_stale"),
        sqlite_where=sa.text("is_stale"),
    )
    op.create_index("idx_workflow_jobs_status", "llm_workflow_jobs", ["status"])
    op.create_index("idx_workflow_jobs_user_id", "llm_workflow_jobs", ["tenant_id", "user_id", "id"])
    op.create_index("idx_workflow_jobs_workflow_name", "llm_workflow_jobs", ["tenant_id", "workflow_name", "id"])

    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(length=50), nullable=False),
        sa.Column("payload", JsonText(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("consumed_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_job_id", "outbox", ["job_id"])
    op.create_index(
        "ix_outbox_open",
        "outbox",
        ["id"],
        postgresql_where=sa.text("consumed_at IS NULL"),
        sqlite_where=sa.text("consumed_at IS NULL"),
    )

    op.create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("boot_id", sa.String(length=100), nullable=False),
        sa.Column("pid_namespace", sa.String(length=100), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_started_at", sa.String(length=50), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("lease_until", UtcDateTime(timezone=True), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("dead_at", UtcDateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_index(
        "ix_workers_alive",
        "workers",
        ["lease_until"],
        postgresql_where=sa.text("dead_at IS NULL AND stopped_at IS NULL"),
        sqlite_where=sa.text("dead_at IS NULL AND stopped_at IS NULL"),
    )

    op.create_table(
        "workflow_bundles",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("workflow_name", sa.String(length=100), nullable=False),
        sa.Column("workflow_version", sa.String(length=50), nullable=False),
        sa.Column("content", JsonText(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_workflow_bundles")),
    )
    op.create_table(
        "job_events",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(length=50), nullable=False),
        sa.Column("data", JsonText(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["llm_workflow_jobs.id"],
            name=op.f("fk_job_events_job_id_llm_workflow_jobs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "event_id", name=op.f("pk_job_events")),
    )
    op.create_table(
        "llm_job_steps",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("step_id", sa.String(length=50), nullable=False),
        sa.Column("step_type", sa.String(length=50), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("output", JsonText(), nullable=True),
        sa.Column("choice", sa.String(length=100), nullable=True),
        sa.Column("error", JsonText(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("completed_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["llm_workflow_jobs.id"],
            name=op.f("fk_llm_job_steps_job_id_llm_workflow_jobs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "path", name=op.f("pk_llm_job_steps")),
    )
    op.create_table(
        "llm_provider_usage",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("call", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("workflow_name", sa.String(length=100), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=True),
        sa.Column("task_name", sa.String(length=255), nullable=False),
        sa.Column("service", sa.String(length=100), nullable=False),
        sa.Column("provider", sa.String(length=50), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("total_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", Money(precision=24, scale=12), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=True),
        sa.Column("related_entity_type", sa.String(length=100), nullable=True),
        sa.Column("related_entity_id", sa.String(length=255), nullable=True),
        sa.Column("metadata", JsonText(), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["llm_workflow_jobs.id"],
            name=op.f("fk_llm_provider_usage_job_id_llm_workflow_jobs"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_provider_usage")),
        sa.UniqueConstraint(
            "job_id", "path", "fence", "call", name=op.f("uq_llm_provider_usage_job_id_path_fence_call")
        ),
    )
    op.create_index("idx_provider_usage_created_at", "llm_provider_usage", ["created_at"])
    op.create_index("idx_provider_usage_model", "llm_provider_usage", ["model"])
    op.create_index("idx_provider_usage_provider", "llm_provider_usage", ["provider"])

    op.create_table(
        "llm_webhook_attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_number", sa.Integer(), nullable=False),
        sa.Column("webhook_url", sa.Text(), nullable=False),
        sa.Column("payload", JsonText(), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("response_body", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("attempted_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("next_retry_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["llm_workflow_jobs.id"],
            name=op.f("fk_llm_webhook_attempts_job_id_llm_workflow_jobs"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_llm_webhook_attempts")),
    )
    op.create_index("idx_webhook_attempts_job_id", "llm_webhook_attempts", ["job_id"])
    op.create_index(
        "idx_webhook_attempts_next_retry",
        "llm_webhook_attempts",
        ["next_retry_at"],
        postgresql_where=sa.text("next_retry_at IS NOT NULL"),
        sqlite_where=sa.text("next_retry_at IS NOT NULL"),
    )
    op.create_index("idx_webhook_attempts_status", "llm_webhook_attempts", ["http_status"])


def downgrade() -> None:
    op.drop_table("llm_webhook_attempts")
    op.drop_table("llm_provider_usage")
    op.drop_table("llm_job_steps")
    op.drop_table("job_events")
    op.drop_table("workflow_bundles")
    op.drop_table("workers")
    op.drop_table("outbox")
    op.drop_table("llm_workflow_jobs")
    op.drop_table("idempotency_keys")
    op.drop_table("api_keys")
