"""Reading jobs, and the one change that callers make to a running one: asking to cancel it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import defer

from callboard.core.clock import now
from callboard.core.database import Database, ReadSession, utc_now
from callboard.core.ids import JobId
from callboard.core.json_values import loads
from callboard.core.pagination import Page, PageRequest, encode_cursor
from callboard.core.repository import BaseRepository
from callboard.core.telemetry import QueueNumbers
from callboard.jobs.costs import UsageLine
from callboard.jobs.errors import JobNotFoundError
from callboard.jobs.models import Job, JobEvent, JobStep, Worker
from callboard.jobs.repository.fences import lock_jobs
from callboard.jobs.repository.finishes import ENDING_COLUMNS, Finish, end_locked_jobs
from callboard.jobs.repository.outputs import fill_in_outputs, first_of_a_page
from callboard.jobs.repository.submissions import notify
from callboard.jobs.repository.usage import load_usage
from callboard.jobs.status import FINAL_STATUSES, JobStatus
from callboard.jobs.step_lists import RunningStep, StepCursor
from callboard.llm.models import ProviderUsage

MAX_RUNNING_SHOWN = 200
RECENT_JOBS = 100  # whose mean duration an estimate of the wait rests on


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; what is None or empty is not asked for."""

    statuses: Sequence[JobStatus] = ()
    workflow_name: str | None = None
    user_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    related_entity_type: str | None = None
    related_entity_id: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return the SQL conditions of this filter."""
        exact = ("workflow_name", "user_id", "related_entity_type", "related_entity_id")
        found: list[sa.ColumnElement[bool]] = [
            getattr(Job, name) == getattr(self, name) for name in exact if getattr(self, name) is not None
        ]
        if self.statuses:
            found.append(Job.status.in_(self.statuses))
        if self.created_after is not None:
            found.append(Job.created_at > self.created_after)
        if self.created_before is not None:
            found.append(Job.created_at < self.created_before)
        return found


class JobRepository(BaseRepository[Job]):
    """The jobs of one tenant, and of one user where a caller is bound to one."""

    model = Job
    not_found = JobNotFoundError

    async def list_summaries(self, page: PageRequest, wanted: JobFilter) -> Page[Job]:
        """Return a page of jobs, newest first, without their results."""
        return await self.list_page(page, *wanted.conditions(), options=[defer(Job.result_data)])

    async def find_of_user(self, job_id: UUID, user_id: str | None) -> Job:
        """Return the job, if it is this user's (None: anybody's). Raises: JobNotFoundError otherwise."""
        job = await self.get(job_id)
        if user_id is not None and job.user_id != user_id:
            raise JobNotFoundError(f"There is no job with this id, or it belongs to somebody else: {job_id}.")
        return job

    async def list_ids(self, job_ids: Sequence[UUID], user_id: str | None) -> set[UUID]:
        """Return those of `job_ids` that this tenant has (of this user, if one is given)."""
        query = self.query().with_only_columns(Job.id).where(Job.id.in_(job_ids))
        if user_id is not None:
            query = query.where(Job.user_id == user_id)
        return set((await self.session.scalars(query)).all())

    async def list_steps(self, job_id: UUID, *, after: StepCursor | None, limit: int) -> tuple[Sequence[JobStep], bool]:
        """Return the steps of a job that have ended, in the order in which they began, and whether there are more.

        There are fewer than `limit` where their large outputs would be too much for one answer. Rows of single calls
        (`path#1`) and of a container's choice (`path?`) are not steps.
        """
        query = (
            sa.select(JobStep)
            .where(JobStep.job_id == job_id, JobStep.path.not_like("%#%"), JobStep.path.not_like("%?"))
            .order_by(JobStep.started_at, JobStep.path)
            .limit(limit + 1)
        )
        if after is not None:
            query = query.where(
                sa.or_(
                    JobStep.started_at > after.started_at,
                    sa.and_(JobStep.started_at == after.started_at, JobStep.path > after.path),
                )
            )
        found = (await self.session.scalars(query)).all()
        steps = first_of_a_page(found[:limit])
        await fill_in_outputs(self.session, job_id, steps)
        return steps, len(steps) < len(found)

    async def list_running(self, job_id: UUID) -> list[RunningStep]:
        """Return the steps that were seen to begin and have not ended."""
        started = (
            sa.select(JobEvent.data, JobEvent.created_at)
            .where(JobEvent.job_id == job_id, JobEvent.event == "step.started")
            .order_by(JobEvent.event_id.desc())
            .limit(MAX_RUNNING_SHOWN)
        )
        rows = (await self.session.execute(started)).all()
        begun = {step.path: step for step in (_running_step(row.data, row.created_at) for row in reversed(rows))}
        query = sa.select(JobStep.path).where(JobStep.job_id == job_id, JobStep.path.in_(list(begun)))
        ended = set((await self.session.scalars(query)).all())
        return [step for path, step in begun.items() if path not in ended]

    async def list_usage(self, job_id: UUID, page: PageRequest) -> Page[ProviderUsage]:
        """Return what was called and paid for, oldest first."""
        query = sa.select(ProviderUsage).where(ProviderUsage.job_id == job_id).order_by(ProviderUsage.id)
        if page.after is not None:
            query = query.where(ProviderUsage.id > page.after)
        rows = (await self.session.scalars(query.offset(page.offset).limit(page.limit + 1))).all()
        items = rows[: page.limit]
        return Page(items, encode_cursor(items[-1].id) if len(rows) > page.limit else None)

    async def sum_usage(self, job_id: UUID) -> list[UsageLine]:
        """Return every usage line of a job, for adding up."""
        lines = await load_usage(await self.session.connection(), [job_id])
        return lines.get(job_id, [])


@dataclass(frozen=True, slots=True)
class WaitNumbers:
    """Ready jobs by priority, running ones, the slots of living workers, and how long recent jobs took."""

    ready_by_priority: Mapping[int, int]
    running: int
    slots: int
    mean_seconds: float


async def request_cancel(database: Database, job_ids: Sequence[UUID]) -> dict[UUID, JobStatus]:
    """Ask to cancel jobs and return the status that each had before.

    One that no worker holds ends at once; a running one is marked, and its worker stops it. One that has
    ended stays as it is: what was committed first stands.
    """
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, job_ids, *ENDING_COLUMNS)
        before = {key: JobStatus(row.status) for key, row in locked.items()}
        idle = [key for key, status in before.items() if not status.is_final and status is not JobStatus.PROCESSING]
        ends = [Finish(job_id=JobId(key), fence=locked[key].fence, status=JobStatus.CANCELLED) for key in sorted(idle)]
        await end_locked_jobs(connection, ends, locked)
        running = sorted(key for key, status in before.items() if status is JobStatus.PROCESSING)
        if running:
            await connection.execute(
                sa.update(Job)
                .where(Job.id.in_(running), Job.cancel_requested_at.is_(None))
                .values(cancel_requested_at=now(), updated_at=now())
            )
            for key in running:
                await notify(database, connection, f"cancel {key}")
    return before


async def find_ended(database: Database, job_ids: Sequence[UUID]) -> Sequence[UUID]:
    """Return those of `job_ids` that have ended."""
    query = sa.select(Job.id).where(Job.id.in_(job_ids), Job.status.in_(sorted(FINAL_STATUSES)))
    async with database.reads() as session:
        return (await session.scalars(query)).all()


async def read_queue_numbers(database: Database) -> QueueNumbers:
    """Return how much work there is, over all tenants."""
    counts = sa.select(Job.status, Job.workflow_name, sa.func.count()).group_by(Job.status, Job.workflow_name)
    ready = sa.select(sa.func.count(), sa.func.min(Job.queued_at)).where(Job.status == JobStatus.QUEUED)
    async with database.reads() as session:
        by_status = {(row[0], row[1]): row[2] for row in await session.execute(counts)}
        depth, oldest = (await session.execute(ready)).one()
        workers, _ = await _read_capacity(session)
    oldest_seconds = (now() - oldest).total_seconds() if oldest is not None else 0.0
    return QueueNumbers(workers=workers, depth=depth, oldest_seconds=oldest_seconds, by_status=by_status)


async def read_wait_numbers(database: Database) -> WaitNumbers:
    """Return what an estimate of the wait rests on."""
    ready = sa.select(Job.priority, sa.func.count()).where(Job.status == JobStatus.QUEUED).group_by(Job.priority)
    running = sa.select(sa.func.count()).where(Job.status == JobStatus.PROCESSING)
    recent = (
        sa.select(Job.duration_ms).where(Job.duration_ms.is_not(None)).order_by(Job.id.desc()).limit(RECENT_JOBS)
    ).subquery()
    async with database.reads() as session:
        ready_by_priority = {row[0]: row[1] for row in await session.execute(ready)}
        running_count = await session.scalar(running) or 0
        _, slots = await _read_capacity(session)
        mean_ms = await session.scalar(sa.select(sa.func.avg(recent.c.duration_ms))) or 0
    return WaitNumbers(ready_by_priority, running_count, slots, float(mean_ms) / 1000)


async def _read_capacity(session: ReadSession) -> tuple[int, int]:
    """Return how many workers live, and how many runs they can hold together."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(Worker.slots), 0)).where(
        Worker.dead_at.is_(None), Worker.stopped_at.is_(None), Worker.lease_until > utc_now()
    )
    workers, slots = (await session.execute(query)).one()
    return workers, int(slots)


def _running_step(data: str, started_at: datetime) -> RunningStep:
    about = loads(data)
    return RunningStep(about["path"], about["type"], started_at)
