"""The queue and its workers at a glance, for whoever operates them. Called by `admin_router.py`."""

from collections.abc import Sequence
from dataclasses import dataclass

from callboard.core.database import Database
from callboard.core.repository import TenantScope
from callboard.jobs.repository.overview import Group, QueueRepository, WorkerRow, list_workers
from callboard.jobs.status import JobStatus

TOP = 10  # of workflows and of users
MAX_WORKERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOverview:
    """What is ready, what runs and what waits. The groups of workflows and users are the `TOP` largest."""

    ready: int
    running: int
    waiting: int
    ready_by_priority: Sequence[Group]
    ready_by_workflow: Sequence[Group]
    running_by_workflow: Sequence[Group]
    running_by_user: Sequence[Group]


class OverviewService:
    """Reads the numbers when asked; nothing is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_workers(self, *, include_gone: bool) -> list[WorkerRow]:
        """Return the workers, newest first, `MAX_WORKERS` at most."""
        return await list_workers(self._database, include_gone=include_gone, limit=MAX_WORKERS)

    async def read_queue(self, scope: TenantScope) -> QueueOverview:
        """Return the queue as it is now."""
        async with self._database.reads() as session:
            queue = QueueRepository(session, scope)
            by_priority = await queue.ready_by_priority()
            return QueueOverview(
                ready=sum(group.jobs for group in by_priority),
                running=await queue.count(JobStatus.PROCESSING),
                waiting=await queue.count(JobStatus.WAITING),
                ready_by_priority=by_priority,
                ready_by_workflow=await queue.ready_by_workflow(TOP),
                running_by_workflow=await queue.running_by_workflow(TOP),
                running_by_user=await queue.running_by_user(TOP),
            )
