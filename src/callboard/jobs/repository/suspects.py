"""Suspects: how many wait to be run alone, and letting one go that got further. Called by `jobs/suspects.py`."""

from uuid import UUID

import sqlalchemy as sa

from callboard.core.clock import now
from callboard.core.database import Database
from callboard.jobs.models import Job, JobStep
from callboard.jobs.repository.readiness import SUSPECTS_INDEX, by_index, is_suspect
from callboard.jobs.status import JobStatus


async def count_suspects(database: Database, *, most: int) -> int:
    """Return how many suspects are queued, `most` at most."""
    query = by_index(Job, SUSPECTS_INDEX, sa.select(Job.id).where(is_suspect()).limit(most))
    async with database.reads() as session:
        return len((await session.scalars(query)).all())


async def absolve(database: Database, job_id: UUID, fence: int) -> bool:
    """Clear a running suspect that has journaled a row since it was last taken over; return whether it has."""
    journaled = sa.select(sa.func.count()).where(JobStep.job_id == Job.id).scalar_subquery()
    mine = (Job.id == job_id, Job.fence == fence, Job.status == JobStatus.PROCESSING)
    is_further = sa.select(Job.id).where(*mine, journaled > Job.journal_rows_at_takeover)
    async with database.reads() as session:
        if (await session.scalar(is_further)) is None:
            return False
    async with database.transaction() as connection:
        await connection.execute(sa.update(Job).where(*mine).values(retry_count=0, updated_at=now()))
    return True
