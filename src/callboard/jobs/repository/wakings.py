"""Bringing what ends a wait: people's answers, signals, times that are up; and the inbox of who is asked.

`jobs/approvals.py`, `jobs/signals.py` and the sweeper call it. A job that is parked goes back to the queue in
the transaction that brought the news; the worker of one that runs is told.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.database import Database, ReadSession, utc_now
from callboard.core.ids import JobId
from callboard.core.pagination import Page, PageRequest, encode_cursor
from callboard.core.repository import TenantScope
from callboard.jobs.models import Job, JobAnswer, JobSignal, JobWait
from callboard.jobs.repository.fences import NewEvent, append_events, lock_jobs, update_jobs
from callboard.jobs.repository.idempotency import Idempotency, find_use, take_key
from callboard.jobs.repository.submissions import notify
from callboard.jobs.repository.waits import WaitStatus, tell_watchers
from callboard.jobs.status import JobStatus, ensure_legal
from callboard.workflows.steps.waiting import WaitKind

MAX_WOKEN_AT_ONCE = 500
MAX_SIGNALS_KEPT = 1000  # of one job, that no step has taken


class AnswerOutcome(Enum):
    """What became of an answer to an approval."""

    TAKEN = auto()
    ALREADY_ENDED = auto()  # the approval was answered, timed out or closed
    LATE = auto()  # its time is up, and its run will hear of that
    TWICE = auto()  # this person has answered it


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of an answer, how many are still wanted, and how the job stood (None: it is not there)."""

    outcome: AnswerOutcome
    still_wanted: int = 0
    job_status: JobStatus | None = None


class SignalOutcome(Enum):
    """What became of a signal."""

    KEPT = auto()
    JOB_ENDED = auto()
    TOO_MANY = auto()


@dataclass(frozen=True, slots=True)
class Signalled:
    """What became of a signal; `job_status` is how the job stood, `answer` the first one where a key came again."""

    outcome: SignalOutcome
    job_status: JobStatus | None = None
    body_hash: str | None = None
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class OpenApproval:
    """An approval, the job that asks, and who has answered so far."""

    wait: JobWait
    workflow_name: str
    run_name: str | None
    user_id: str | None
    answers: Sequence[JobAnswer]


async def answer_wait(
    database: Database, job_id: JobId, wait_id: UUID, *, answered_by: str, answer_json: str
) -> Answered:
    """Write one person's answer to an approval, and wake its job when all that are wanted are there."""
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, [job_id], utc_now().label("moment"))
        wait = (await connection.execute(_wait_query(wait_id))).one()
        answered_by_now = (
            await connection.scalars(sa.select(JobAnswer.answered_by).where(JobAnswer.wait_id == wait_id))
        ).all()
        moment = locked[job_id].moment
        status = JobStatus(locked[job_id].status)
        if wait.status != WaitStatus.OPEN or status.is_final:
            return Answered(AnswerOutcome.ALREADY_ENDED, job_status=status)
        if wait.wake_at is not None and wait.wake_at <= moment:
            return Answered(AnswerOutcome.LATE, job_status=status)
        if answered_by in answered_by_now:
            return Answered(AnswerOutcome.TWICE, job_status=status)
        number = len(answered_by_now) + 1
        await connection.execute(
            sa.insert(JobAnswer).values(
                wait_id=wait_id, answered_by=answered_by, number=number, answer=answer_json, answered_at=moment
            )
        )
        still_wanted = wait.required_answers - number
        event = NewEvent(job_id, "step.answered", {"path": wait.path, "wait_id": str(wait_id)})
        if still_wanted:
            await tell_watchers(connection, [event], locked)
        else:
            await connection.execute(
                sa.update(JobWait).where(JobWait.id == wait_id).values(status=WaitStatus.ANSWERED, ended_at=moment)
            )
            await _bring_news(database, connection, event, locked)
    return Answered(AnswerOutcome.TAKEN, still_wanted, status)


async def keep_signal(
    database: Database, job_id: JobId, *, name: str, payload_json: str, sent_by: str, idempotency: Idempotency | None
) -> Signalled:
    """Keep a signal for the step that waits for it, now or later, and wake the job when one does."""
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, [job_id], utc_now().label("moment"))
        moment = locked[job_id].moment
        status = JobStatus(locked[job_id].status)
        if idempotency is not None:
            earlier = await find_use(connection, idempotency)
            if earlier is not None:
                return Signalled(SignalOutcome.KEPT, status, earlier.body_hash, earlier.answer)
        if status.is_final:
            return Signalled(SignalOutcome.JOB_ENDED, status)
        kept, last = (await connection.execute(_count_signals(job_id))).one()
        if kept >= MAX_SIGNALS_KEPT:
            return Signalled(SignalOutcome.TOO_MANY, status)
        if idempotency is not None:
            await take_key(database, connection, idempotency, created_id=job_id, created_at=moment)
        await connection.execute(
            sa.insert(JobSignal).values(
                job_id=job_id, number=(last or 0) + 1, name=name, payload=payload_json, sent_by=sent_by, sent_at=moment
            )
        )
        event = NewEvent(job_id, "job.signalled", {"name": name, "number": (last or 0) + 1})
        is_waited_for = await connection.scalar(
            sa.select(
                sa.exists().where(JobWait.job_id == job_id, JobWait.status == WaitStatus.OPEN, JobWait.name == name)
            )
        )
        if is_waited_for:
            await _bring_news(database, connection, event, locked)
        else:
            await tell_watchers(connection, [event], locked)
    return Signalled(SignalOutcome.KEPT, status)


async def wake_due_jobs(database: Database) -> int:
    """Put parked jobs whose time is up back into the queue, at most `MAX_WOKEN_AT_ONCE`; return how many."""
    due = (
        sa.select(Job.id)
        .where(Job.status == sa.literal_column("'waiting'"), Job.wake_at.is_not(None), Job.wake_at <= utc_now())
        .order_by(Job.wake_at)
        .limit(MAX_WOKEN_AT_ONCE)
    )
    async with database.reads() as session:
        ids = (await session.scalars(due)).all()
    if not ids:
        return 0
    async with database.transaction() as connection:
        locked = await lock_jobs(connection, ids, Job.wake_at, utc_now().label("moment"))
        still_due = {
            key: row
            for key, row in locked.items()
            if row.status == JobStatus.WAITING and row.wake_at is not None and row.wake_at <= row.moment
        }
        await _requeue(connection, still_due, reason="time_is_up")
        await notify(database, connection)
    return len(still_due)


async def find_approval(session: ReadSession, scope: TenantScope, job_id: UUID, name: str) -> list[JobWait]:
    """Return the approvals of a job that `name` may mean: by its id, or by its step's id, the newest first."""
    try:
        wanted = JobWait.id == UUID(name)
    except ValueError:
        wanted = JobWait.step_id == name
    query = (
        sa.select(JobWait)
        .where(JobWait.job_id == job_id, JobWait.kind == WaitKind.APPROVAL, wanted)
        .order_by(JobWait.id.desc())
    )
    if scope.tenant_id is not None:
        query = query.where(JobWait.tenant_id == scope.tenant_id)
    return list((await session.scalars(query)).all())


async def list_approvals(
    session: ReadSession, scope: TenantScope, page: PageRequest, *, user_id: str | None
) -> Page[OpenApproval]:
    """Return a page of open approvals, the oldest first."""
    query = _approvals().where(JobWait.status == sa.literal_column("'open'")).order_by(JobWait.id)
    if scope.tenant_id is not None:
        query = query.where(JobWait.tenant_id == scope.tenant_id)
    if user_id is not None:
        query = query.where(Job.user_id == user_id)
    if page.after is not None:
        query = query.where(JobWait.id > page.after)
    rows = (await session.execute(query.offset(page.offset).limit(page.limit + 1))).all()
    shown = await _with_answers(session, rows[: page.limit])
    return Page(shown, encode_cursor(shown[-1].wait.id) if len(rows) > page.limit else None)


async def list_approvals_of(session: ReadSession, job_id: UUID) -> list[OpenApproval]:
    """Return every approval of a job, open or not, the oldest first."""
    query = _approvals().where(JobWait.job_id == job_id).order_by(JobWait.id)
    return await _with_answers(session, (await session.execute(query)).all())


async def _bring_news(
    database: Database, connection: AsyncConnection, event: NewEvent, locked: Mapping[UUID, Any]
) -> None:
    """Tell the worker that runs the job, or put the job back into the queue when none does."""
    status = locked[event.job_id].status
    if status == JobStatus.WAITING:
        await _requeue(connection, locked, reason="news", first=event)
        await notify(database, connection)
        return
    await tell_watchers(connection, [event], locked)
    if status == JobStatus.PROCESSING:
        await notify(database, connection, f"wake {event.job_id}")


async def _requeue(
    connection: AsyncConnection, jobs: Mapping[UUID, Any], *, reason: str, first: NewEvent | None = None
) -> None:
    if not jobs:
        return
    ensure_legal(JobStatus.WAITING, JobStatus.QUEUED)
    events = [NewEvent(key, "job.requeued", {"reason": reason}) for key in sorted(jobs)]
    last_events = await append_events(connection, events if first is None else [first, *events], jobs)
    rows = [
        {
            "job_id": key,
            "status": JobStatus.QUEUED,
            "wake_at": None,
            "last_event_id": last_events[key],
            "updated_at": jobs[key].moment,
        }
        for key in sorted(jobs)
    ]
    await update_jobs(connection, rows)


def _is_waited_for(job_id: UUID, name: str) -> sa.Select[Any]:
    return sa.select(
        sa.exists().where(JobWait.job_id == job_id, JobWait.status == WaitStatus.OPEN, JobWait.name == name)
    )


def _wait_query(wait_id: UUID) -> sa.Select[*tuple[Any, ...]]:
    columns = (JobWait.status, JobWait.path, JobWait.wake_at, JobWait.required_answers)
    return sa.select(*columns).where(JobWait.id == wait_id)


def _count_signals(job_id: UUID) -> sa.Select[Any]:
    """Return the query of how many signals nobody has taken, and the number of the last one."""
    is_kept = sa.case((JobSignal.taken_by.is_(None), 1), else_=0)
    return sa.select(sa.func.coalesce(sa.func.sum(is_kept), 0), sa.func.max(JobSignal.number)).where(
        JobSignal.job_id == job_id
    )


def _approvals() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(JobWait, Job.workflow_name, Job.run_name, Job.user_id)
        .join(Job, Job.id == JobWait.job_id)
        .where(JobWait.kind == sa.literal_column("'approval'"))
    )


async def _with_answers(session: ReadSession, rows: Sequence[Any]) -> list[OpenApproval]:
    ids = [row.JobWait.id for row in rows]
    query = sa.select(JobAnswer).where(JobAnswer.wait_id.in_(ids)).order_by(JobAnswer.number)
    answers = (await session.scalars(query)).all() if ids else []
    return [
        OpenApproval(
            wait=row.JobWait,
            workflow_name=row.workflow_name,
            run_name=row.run_name,
            user_id=row.user_id,
            answers=[answer for answer in answers if answer.wait_id == row.JobWait.id],
        )
        for row in rows
    ]
