"""What whoever operates the queue looks at: workers, and what waits and runs where. `jobs/overview.py` calls it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from callboard.core.database import Database, ReadSession, utc_now
from callboard.core.repository import TenantScope
from callboard.jobs.models import Job, Worker
from callboard.jobs.status import JobStatus


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker's row, whether its lease has run out by the database's clock, and how many jobs it holds."""

    row: Worker
    is_expired: bool
    running: int


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that have something in common: a priority, a workflow's name, a user. `oldest_at` is the oldest's."""

    name: Any
    jobs: int
    oldest_at: datetime | None


async def list_workers(database: Database, *, include_gone: bool, limit: int) -> list[WorkerRow]:
    """Return the newest workers, newest first; without `include_gone` those that have neither left nor died."""
    running = (
        sa.select(sa.func.count(Job.id))
        .where(Job.owner == Worker.id, Job.status == JobStatus.PROCESSING)
        .scalar_subquery()
    )
    query = sa.select(Worker, (Worker.lease_until < utc_now()).label("is_expired"), running.label("running"))
    if not include_gone:
        query = query.where(Worker.dead_at.is_(None), Worker.stopped_at.is_(None))
    async with database.reads() as session:
        rows = (await session.execute(query.order_by(Worker.id.desc()).limit(limit))).all()
    return [WorkerRow(row.Worker, bool(row.is_expired), row.running) for row in rows]


class QueueRepository:
    """The groups of jobs in one tenant, or in all."""

    def __init__(self, session: ReadSession, scope: TenantScope) -> None:
        self._session = session
        self._scope = scope

    async def count(self, status: JobStatus) -> int:
        """Return how many jobs are in `status`."""
        query = sa.select(sa.func.count(Job.id)).where(*self._are(status))
        return await self._session.scalar(query) or 0

    async def ready_by_priority(self) -> list[Group]:
        """Return the ready jobs by priority, the most urgent first."""
        query = self._groups(Job.priority, Job.queued_at, JobStatus.QUEUED).order_by(Job.priority.desc())
        return await self._read(query)

    async def ready_by_workflow(self, limit: int) -> list[Group]:
        """Return the workflows with the most ready jobs."""
        return await self._read(self._most(Job.workflow_name, Job.queued_at, JobStatus.QUEUED, limit))

    async def running_by_workflow(self, limit: int) -> list[Group]:
        """Return the workflows with the most running jobs."""
        return await self._read(self._most(Job.workflow_name, Job.claimed_at, JobStatus.PROCESSING, limit))

    async def running_by_user(self, limit: int) -> list[Group]:
        """Return the users with the most running jobs; those of nobody are one group, named None."""
        return await self._read(self._most(Job.user_id, Job.claimed_at, JobStatus.PROCESSING, limit))

    def _groups(self, column: Any, since: Any, status: JobStatus) -> sa.Select[Any]:
        oldest = sa.func.min(since).label("oldest_at")
        counted = sa.func.count(Job.id).label("jobs")
        return sa.select(column.label("name"), counted, oldest).where(*self._are(status)).group_by(column)

    def _most(self, column: Any, since: Any, status: JobStatus, limit: int) -> sa.Select[Any]:
        return self._groups(column, since, status).order_by(sa.desc("jobs"), column).limit(limit)

    def _are(self, status: JobStatus) -> Sequence[sa.ColumnElement[bool]]:
        tenant = [] if self._scope.tenant_id is None else [Job.tenant_id == self._scope.tenant_id]
        return [Job.status == status, *tenant]

    async def _read(self, query: sa.Select[Any]) -> list[Group]:
        return [Group(row.name, row.jobs, row.oldest_at) for row in await self._session.execute(query)]
