"""The outbox, and the attempts to deliver a webhook from it."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from callboard.core.database import Base, JsonText, UtcDateTime


class OutboxMessage(Base):
    """A job's end, written in the transaction that ended it. Consumers get it at least once.

    Deleting a job keeps its messages: whoever waits for the end still hears of it.
    """

    __tablename__ = "outbox"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.String(100))
    job_id: Mapped[UUID]
    event: Mapped[str] = mapped_column(sa.String(50))
    payload: Mapped[str] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    consumed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        sa.Index("ix_outbox_job_id", "job_id"),
        sa.Index(
            "ix_outbox_open",
            "id",
            postgresql_where=sa.text("consumed_at IS NULL"),
            sqlite_where=sa.text("consumed_at IS NULL"),
        ),
        sa.Index(
            "ix_outbox_consumed",
            "consumed_at",
            postgresql_where=sa.text("consumed_at IS NOT NULL"),
            sqlite_where=sa.text("consumed_at IS NOT NULL"),
        ),
    )


class WebhookAttempt(Base):
    """One attempt to deliver a webhook; what failed for good is the dead letter box."""

    __tablename__ = "llm_webhook_attempts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("llm_workflow_jobs.id", ondelete="CASCADE"))
    attempt_number: Mapped[int] = mapped_column(sa.Integer)
    webhook_url: Mapped[str] = mapped_column(sa.Text)
    payload: Mapped[str] = mapped_column(JsonText)
    http_status: Mapped[int | None] = mapped_column(sa.Integer)
    response_body: Mapped[str | None] = mapped_column(sa.Text)
    error_message: Mapped[str | None] = mapped_column(sa.Text)
    attempted_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int | None] = mapped_column(sa.Integer)
    next_retry_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        sa.Index("idx_webhook_attempts_job_id", "job_id"),
        sa.Index("idx_webhook_attempts_status", "http_status"),
        sa.Index(
            "idx_webhook_attempts_next_retry",
            "next_retry_at",
            postgresql_where=sa.text("next_retry_at IS NOT NULL"),
            sqlite_where=sa.text("next_retry_at IS NOT NULL"),
        ),
    )
