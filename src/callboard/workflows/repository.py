"""Reading stored bundles. They are written with the jobs that need them (`jobs/repository/submissions.py`)."""

import sqlalchemy as sa

from callboard.core.database import Database
from callboard.workflows.models import WorkflowBundle


async def find_bundle(database: Database, bundle_hash: str) -> str | None:
    """Return the bundle's content as JSON text, or None when there is none by that hash."""
    async with database.reads() as session:
        return await session.scalar(sa.select(WorkflowBundle.content).where(WorkflowBundle.hash == bundle_hash))
