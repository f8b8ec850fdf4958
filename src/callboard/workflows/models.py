"""The table of bundles: what a run keeps from the moment it was submitted."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from callboard.core.database import Base, JsonText, UtcDateTime


class WorkflowBundle(Base):
    """Definition, prompts, schemas and resolved defaults under the hash of their content. Never changed."""

    __tablename__ = "workflow_bundles"

    hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    workflow_name: Mapped[str] = mapped_column(sa.String(100))
    workflow_version: Mapped[str] = mapped_column(sa.String(50))
    content: Mapped[str] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
