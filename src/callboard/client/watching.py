"""A job as it happens: its steps, with what they cost, one after another until it ends.

Called by `callboard jobs watch`, `submit --watch` and `demo`. It asks again and again, each request held by
the server for a second; a server that restarts meanwhile is waited for, since the job is durable and goes on.
"""

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from callboard.client.client import CallboardClient, pause
from callboard.client.errors import CallboardApiError, ServerAwayError
from callboard.client.models import Job, JobStep, UsageRow, has_ended

HOLD_SECONDS = 1  # how late a step is shown at most; the end of the job is seen at once
PATIENCE_SECONDS = 60.0  # how long a server may be away; a restart takes less


@dataclass(frozen=True, slots=True)
class StepSeen:
    """A step has ended; `usage` are the calls that it paid for."""

    step: JobStep
    usage: tuple[UsageRow, ...]


@dataclass(frozen=True, slots=True)
class JobSeen:
    """The job has another status, current step or progress than before. The last one seen has ended."""

    job: Job


@dataclass(frozen=True, slots=True)
class ServerGone:
    """The server is away or busy; it is asked again."""

    reason: str


Sight: TypeAlias = StepSeen | JobSeen | ServerGone


async def watch(
    client: CallboardClient, job_id: str, *, patience_seconds: float = PATIENCE_SECONDS
) -> AsyncIterator[Sight]:
    """Give what happens to a job, steps in the order in which they ended, until it has ended.

    Raises: CallboardApiError; ServerAwayError at once when the first request has no answer, later when the
    server was away for `patience_seconds`.
    """
    shown: set[tuple[str, str, str]] = set()
    progress: tuple[object, ...] = ()
    answered_at: float | None = None
    is_gone = False
    while True:
        try:
            job = await client.status(job_id, hold_seconds=HOLD_SECONDS if answered_at is not None else 0)
            steps = [seen async for seen in _new_steps(client, job, shown)]
        except (ServerAwayError, CallboardApiError) as error:
            if not _is_worth_waiting(error, answered_at, patience_seconds):
                raise
            if not is_gone:
                yield ServerGone(str(error))
            is_gone = True
            await pause(error)
            continue
        answered_at, is_gone = time.monotonic(), False
        now = (job["status"], job["current_step"], job["steps_completed"])
        if now != progress and not has_ended(job):
            yield JobSeen(job)
        progress = now
        for seen in steps:
            yield seen
        if has_ended(job):
            yield JobSeen(job)
            return


async def usage_by_step(client: CallboardClient, job_id: str) -> dict[str, list[UsageRow]]:
    """Return the paid calls of a job by the path of the step that made them."""
    rows: dict[str, list[UsageRow]] = defaultdict(list)
    async for row in client.iterate_usage(job_id):
        rows[path_of_step(row["path"])].append(row)
    return rows


def path_of_step(path: str) -> str:
    """Return the path of the step that a journal path belongs to: calls inside it end in `#n`.

    >>> path_of_step("places/[0]/analysis#2")
    'places/[0]/analysis'
    """
    return path.split("#", 1)[0]


async def _new_steps(client: CallboardClient, job: Job, shown: set[tuple[str, str, str]]) -> AsyncIterator[StepSeen]:
    ended = [step async for step in client.iterate_steps(job["job_id"]) if step["completed_at"] is not None]
    new = [step for step in ended if _identity(step) not in shown]
    usage = await usage_by_step(client, job["job_id"]) if new else {}
    for step in in_order(new):
        shown.add(_identity(step))
        yield StepSeen(step, tuple(usage.get(step["path"], ())))


def in_order(steps: Iterable[JobStep]) -> list[JobStep]:
    """Return steps in the order in which they ended, those that run last."""
    return sorted(steps, key=lambda step: (step["completed_at"] is None, step["completed_at"] or "", step["path"]))


def _identity(step: JobStep) -> tuple[str, str, str]:
    return step["path"], step["status"], step["completed_at"] or ""


def _is_worth_waiting(
    error: ServerAwayError | CallboardApiError, answered_at: float | None, patience_seconds: float
) -> bool:
    if isinstance(error, CallboardApiError) and not error.is_temporary:
        return False
    return answered_at is not None and time.monotonic() - answered_at < patience_seconds
