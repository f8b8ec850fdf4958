"""Outputs that are too large for a journal row, compressed in a table of their own."""

import zlib
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from callboard.core.database import JsonText, UtcDateTime

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STEPS = sa.table(
    "llm_job_steps",
    sa.column("job_id", sa.Uuid()),
    sa.column("path", sa.Text()),
    sa.column("output", JsonText()),
    sa.column("large_output_bytes", sa.BigInteger()),
)
OUTPUTS = sa.table(
    "llm_job_outputs",
    sa.column("job_id", sa.Uuid()),
    sa.column("path", sa.Text()),
    sa.column("body", sa.LargeBinary()),
)


def upgrade() -> None:
    op.add_column("llm_job_steps", sa.Column("large_output_bytes", sa.BigInteger(), nullable=True))
    op.create_table(
        "llm_job_outputs",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.String(length=100), nullable=False),
        sa.Column("encoding", sa.String(length=20), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "path"],
            ["llm_job_steps.job_id", "llm_job_steps.path"],
            name=op.f("fk_llm_job_outputs_job_id_path_llm_job_steps"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("job_id", "path", name=op.f("pk_llm_job_outputs")),
    )


def downgrade() -> None:
    _put_outputs_back()
    op.drop_table("llm_job_outputs")
    op.drop_column("llm_job_steps", "large_output_bytes")


def _put_outputs_back() -> None:
    """Write every large output into its journal row, one at a time: together they may not fit into memory."""
    connection = op.get_bind()
    large = sa.select(STEPS.c.job_id, STEPS.c.path).where(STEPS.c.large_output_bytes.is_not(None))
    for job_id, path in connection.execute(large).all():
        body = sa.select(OUTPUTS.c.body).where(OUTPUTS.c.job_id == job_id, OUTPUTS.c.path == path)
        text = zlib.decompress(connection.execute(body).scalar_one()).decode()
        connection.execute(sa.update(STEPS).where(STEPS.c.job_id == job_id, STEPS.c.path == path).values(output=text))
