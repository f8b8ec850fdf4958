"""The table of everything that was called and paid for, models and outside services alike.

Rows are only added. They carry copies of workflow, user and tenant, so reports join nothing, and they
outlive their jobs (`job_id` is set to null when a job is deleted).
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from callboard.core.database import Base, JsonText, Money, UtcDateTime


class ProviderUsage(Base):
    """One finished outside call. Keyed by (job, path, fence, call): the same call is counted once."""

    __tablename__ = "llm_provider_usage"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("llm_workflow_jobs.id", ondelete="SET NULL"))
    path: Mapped[str] = mapped_column(sa.Text)
    fence: Mapped[int] = mapped_column(sa.BigInteger)
    call: Mapped[int] = mapped_column(sa.Integer)
    tenant_id: Mapped[str] = mapped_column(sa.String(100))
    workflow_name: Mapped[str] = mapped_column(sa.String(100))
    user_id: Mapped[str | None] = mapped_column(sa.String(255))
    task_name: Mapped[str] = mapped_column(sa.String(255))  # the step's id
    service: Mapped[str] = mapped_column(sa.String(100))  # "llm", or the outside service
    provider: Mapped[str] = mapped_column(sa.String(50))
    model: Mapped[str] = mapped_column(sa.String(200))
    input_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # units of an outside service
    output_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    total_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    cost_usd: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    duration_ms: Mapped[int | None] = mapped_column(sa.BigInteger)
    related_entity_type: Mapped[str | None] = mapped_column(sa.String(100))
    related_entity_id: Mapped[str | None] = mapped_column(sa.String(255))
    usage_metadata: Mapped[str | None] = mapped_column("metadata", JsonText)  # matched price id, unit price, source
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        sa.UniqueConstraint("job_id", "path", "fence", "call"),
        sa.Index("idx_provider_usage_provider", "provider"),
        sa.Index("idx_provider_usage_model", "model"),
        sa.Index("idx_provider_usage_created_at", "created_at"),
        sa.Index("ix_llm_provider_usage_spender", "tenant_id", "user_id", "created_at"),
    )
