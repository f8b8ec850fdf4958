"""What requests and answers of `admin_router.py` look like."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from callboard.core.clock import now
from callboard.jobs.models import Worker
from callboard.jobs.schemas import UtcTime
from callboard.jobs.status import JobStatus

DEFAULT_STALE_HOURS = 72
MAX_STALE_HOURS = 87_600
MAX_RETENTION_DAYS = 36_500

_JOB_ID = "019a9f3e-6f00-7000-8000-000000000001"
_WORKER_EXAMPLE: JsonDict = {
    "worker_id": "019a9f3e-6f00-7000-8000-000000000003",
    "state": "alive",
    "host": "worker-1",
    "pid": 4711,
    "slots": 1000,
    "running": 12,
    "lease_until": "2026-11-20T10:01:00Z",
    "started_at": "2026-11-20T09:00:00Z",
    "stopped_at": None,
    "dead_at": None,
}


class StaleCleanUp(BaseModel):
    """Which jobs are to fail as stale."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"older_than_hours": 72, "dry_run": True}]}
    )

    older_than_hours: int = Field(
        DEFAULT_STALE_HOURS, ge=1, le=MAX_STALE_HOURS, strict=True, description="Hours without progress."
    )
    dry_run: bool = Field(default=False, strict=True, description="Only tell what would be done.")


class StaleCleanedUp(BaseModel):
    """What was, or would be, ended as stale."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dry_run": True,
                    "older_than_hours": 72,
                    "total": 3,
                    "by_status": {"pending": 0, "queued": 2, "processing": 1},
                    "job_ids": [_JOB_ID],
                    "is_complete": True,
                }
            ]
        }
    )

    dry_run: bool
    older_than_hours: int
    total: int = Field(description="Jobs that failed as stale, or would.")
    by_status: dict[JobStatus, int] = Field(description="The same, by the status that they had before.")
    job_ids: list[UUID] = Field(description="The first 100 of them.")
    is_complete: bool = Field(description="false: time was up before all were done; send the request again.")


class RetentionCleanUp(BaseModel):
    """Which jobs are to be deleted."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"older_than_days": 90, "dry_run": True}]}
    )

    older_than_days: int | None = Field(
        None,
        ge=1,
        le=MAX_RETENTION_DAYS,
        strict=True,
        description="Days since a job's end. Without it the setting RETENTION_DAYS holds.",
    )
    dry_run: bool = Field(default=False, strict=True, description="Only tell what would be done.")


class RetentionCleanedUp(BaseModel):
    """What was, or would be, deleted."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dry_run": True,
                    "older_than_days": 90,
                    "jobs": 1,
                    "bundles": 1,
                    "outbox_rows": 0,
                    "job_ids": [_JOB_ID],
                    "is_complete": True,
                }
            ]
        }
    )

    dry_run: bool
    older_than_days: int
    jobs: int = Field(description="Jobs, each with its steps, events, result and webhook attempts.")
    bundles: int = Field(description="Stored workflows that no job names any more.")
    outbox_rows: int = Field(description="Ends that everybody has heard of.")
    job_ids: list[UUID] = Field(description="With dry_run the 100 that ended first.")
    is_complete: bool = Field(description="false: time was up before all were deleted; send the request again.")


class Erased(BaseModel):
    """What was, or would be, erased of a user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "dry_run": False,
                    "tenant_id": "default",
                    "user_id": "user-17",
                    "jobs": 12,
                    "cancelling": 1,
                    "usage_rows": 40,
                    "api_keys": 1,
                    "left": 1,
                    "left_by_status": {"processing": 1},
                }
            ]
        }
    )

    dry_run: bool
    tenant_id: str
    user_id: str
    jobs: int = Field(description="Jobs that were deleted, with everything that hangs on them.")
    cancelling: int = Field(description="Jobs that run, and were asked to stop by this request.")
    usage_rows: int = Field(description="Rows of what was paid for that no longer name the user; the numbers stay.")
    api_keys: int = Field(description="Keys bound to the user that were revoked.")
    left: int = Field(description="Jobs of the user that are still there. Not 0: send the request again in a while.")
    left_by_status: dict[JobStatus, int]


class WorkerState(StrEnum):
    """How a worker is."""

    ALIVE = "alive"
    EXPIRED = "expired"  # its lease has run out; another worker's sweeper will say what that means
    STOPPED = "stopped"
    DEAD = "dead"


class WorkerRead(BaseModel):
    """A worker process."""

    worker_id: UUID
    state: WorkerState = Field(
        description="alive; expired: its lease has run out, its jobs are about to be taken over; "
        "stopped: it left in good order; dead: it was marked dead."
    )
    host: str
    pid: int
    slots: int = Field(description="Jobs that it can hold at once.")
    running: int = Field(description="Jobs that it holds.")
    lease_until: UtcTime = Field(description="Until when it counts as alive without being heard of.")
    started_at: UtcTime
    stopped_at: UtcTime | None
    dead_at: UtcTime | None

    @classmethod
    def of(cls, row: Worker, *, is_expired: bool, running: int) -> "WorkerRead":
        return cls(
            worker_id=row.id,
            state=_state_of(row, is_expired=is_expired),
            host=row.host,
            pid=row.pid,
            slots=row.slots,
            running=running,
            lease_until=row.lease_until,
            started_at=row.started_at,
            stopped_at=row.stopped_at,
            dead_at=row.dead_at,
        )


class WorkerList(BaseModel):
    """The workers, newest first, 200 at most."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_WORKER_EXAMPLE]}]})

    items: list[WorkerRead]


class PriorityGroup(BaseModel):
    """The ready jobs of one priority."""

    priority: int
    jobs: int
    oldest_seconds: float = Field(description="For how long the oldest has been ready.")


class WorkflowGroup(BaseModel):
    """Jobs of one workflow."""

    workflow_name: str
    jobs: int
    oldest_seconds: float = Field(description="For how long the oldest has been ready, or with its worker.")


class UserGroup(BaseModel):
    """Running jobs of one user."""

    user_id: str | None = Field(description="null: of nobody.")
    jobs: int
    oldest_seconds: float = Field(description="For how long the oldest has been with its worker.")


class QueueRead(BaseModel):
    """What is ready, what runs and what waits."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ready": 40,
                    "oldest_seconds": 12.5,
                    "running": 20,
                    "waiting": 3,
                    "ready_by_priority": [{"priority": 0, "jobs": 40, "oldest_seconds": 12.5}],
                    "ready_by_workflow": [{"workflow_name": "hello", "jobs": 40, "oldest_seconds": 12.5}],
                    "running_by_workflow": [{"workflow_name": "hello", "jobs": 20, "oldest_seconds": 3.1}],
                    "running_by_user": [{"user_id": "user-17", "jobs": 20, "oldest_seconds": 3.1}],
                }
            ]
        }
    )

    ready: int = Field(description="Jobs that a worker could take now.")
    oldest_seconds: float = Field(description="For how long the oldest of them has been ready; 0 where there is none.")
    running: int
    waiting: int = Field(description="Jobs that wait for a person, a signal or a timer.")
    ready_by_priority: list[PriorityGroup] = Field(description="The most urgent first.")
    ready_by_workflow: list[WorkflowGroup] = Field(description="The 10 with the most.")
    running_by_workflow: list[WorkflowGroup] = Field(description="The 10 with the most.")
    running_by_user: list[UserGroup] = Field(description="The 10 with the most.")


def seconds_since(moment: datetime | None) -> float:
    """Return the seconds since `moment`, to the millisecond and never below 0; 0 for none."""
    return 0.0 if moment is None else max(0.0, round((now() - moment).total_seconds(), 3))


def _state_of(row: Worker, *, is_expired: bool) -> WorkerState:
    if row.dead_at is not None:
        return WorkerState.DEAD
    if row.stopped_at is not None:
        return WorkerState.STOPPED
    return WorkerState.EXPIRED if is_expired else WorkerState.ALIVE
