"""What requests and answers about jobs look like."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.config import JsonDict

from callboard.core.clock import as_utc, to_iso
from callboard.core.database import MONEY_DECIMALS
from callboard.core.json_values import loads
from callboard.core.storable_text import StorableText
from callboard.jobs.costs import CostData, shown_usd
from callboard.jobs.models import Job, JobStep
from callboard.jobs.paths import step_id_of
from callboard.jobs.status import JobStatus
from callboard.jobs.step_lists import RunningStep
from callboard.llm.models import ProviderUsage
from callboard.workflows.call_budgets import MAX_BUDGET_USD

UtcTime = Annotated[
    datetime,
    PlainSerializer(to_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
MAX_CANCELLED_AT_ONCE = 100


def _refuse_numbers(text: str) -> str:
    """Return `text` when it is no number: pydantic would read one as seconds since 1970, which nothing documents."""
    try:
        float(text)
    except ValueError:
        return text
    raise ValueError("is no ISO 8601 time, such as 2026-11-20T10:00:00Z")


def _read_usd(value: Any) -> Any:
    """Return a JSON number as the decimal that was written; what is no number is refused, not converted."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("is a number of US dollars, such as 0.05")
    return Decimal(str(value))


UsdAmount = Annotated[Decimal, BeforeValidator(_read_usd, json_schema_input_type=float)]
Moment = Annotated[datetime, BeforeValidator(_refuse_numbers), AfterValidator(as_utc)]

_JOB_ID = "019a9f3e-6f00-7000-8000-000000000001"
_COST_EXAMPLE: JsonDict = {
    "provider": "openrouter",
    "model": "anthropic/claude-3.5-sonnet",
    "input_tokens": 2100,
    "output_tokens": 900,
    "total_tokens": 3000,
    "cost_usd": 0.0198,
    "total_cost_usd": 0.1158,
    "unconfirmed_usd": 0,
    "llm_calls": [
        {
            "step_id": "analysis",
            "path": "analysis",
            "provider": "openrouter",
            "model": "anthropic/claude-3.5-sonnet",
            "input_tokens": 2100,
            "output_tokens": 900,
            "cost_usd": 0.0198,
            "duration_ms": 8400,
        }
    ],
    "service_calls": [],
}
_SUMMARY_EXAMPLE: JsonDict = {
    "job_id": _JOB_ID,
    "celery_task_id": "019a9f3e-6f00-7000-8000-000000000002",
    "status": "completed",
    "workflow_name": "hello",
    "workflow_version": "1.0.0",
    "run_name": None,
    "priority": 0,
    "user_id": "user-17",
    "created_at": "2026-11-20T10:00:00Z",
    "queued_at": "2026-11-20T10:00:00Z",
    "started_at": "2026-11-20T10:00:00.012Z",
    "completed_at": "2026-11-20T10:00:02.512Z",
    "duration_ms": 2500,
    "current_step": None,
    "steps_completed": 1,
    "total_steps": 1,
    "cost_usd": 0.0198,
    "budget_usd": 0.05,
    "unconfirmed_usd": 0,
    "error_message": None,
    "is_stale": False,
    "attempt": 1,
}


class JobCreate(BaseModel):
    """A job to run. Fields of features that are not built yet are refused, never ignored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"workflow_name": "hello", "input_data": {"name": "Ada"}, "user_id": "user-17", "priority": 5}]
        },
    )

    workflow_name: StorableText = Field(min_length=1, max_length=100, description="Which workflow; see GET /workflows.")
    input_data: Any = Field(
        default_factory=dict, description="The workflow's input, JSON that fits its `input_schema`."
    )
    user_id: StorableText | None = Field(
        None, min_length=1, max_length=255, description="For whom; the id that your application uses."
    )
    priority: int = Field(0, ge=0, le=10, strict=True, description="0 to 10; higher ones run first.")
    run_name: StorableText | None = Field(None, max_length=255, description="A name for people.")
    username: StorableText | None = Field(None, max_length=255, description="The user's name, for people.")
    action: StorableText | None = Field(None, max_length=255, description="What the user did, for people.")
    metadata: dict[str, Any] | None = Field(None, description="Anything that you want back with the job.")
    webhook_url: str | None = Field(None, description="Not built yet: 422 `not_yet_supported`.")
    webhook_secret: str | None = Field(None, description="Not built yet: 422 `not_yet_supported`.")
    budget_usd: UsdAmount | None = Field(
        None,
        gt=0,
        le=MAX_BUDGET_USD,
        decimal_places=MONEY_DECIMALS,
        description="The most that the run may cost, in US dollars to 12 decimals; it can only lower the file's.",
    )
    debug_mode: bool | None = Field(None, strict=True, description="Not built yet: 422 `not_yet_supported`.")


class JobFork(BaseModel):
    """From where a fork of a job begins, and what is different in it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"from_step": "draft", "input_data": {"tone": "formal"}}]}
    )

    from_step: StorableText = Field(
        min_length=1, max_length=50, description="The top-level step with which it begins; those before are kept."
    )
    input_data: Any = Field(None, description="Its input; null: that of the job. What was done keeps what it read.")
    definition: dict[str, Any] | None = Field(
        None, description="Its workflow, whole; null: that of the job. Needs the scope workflows:write."
    )


class JobAccepted(BaseModel):
    """The job is stored and will run."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "job_id": _JOB_ID,
                    "celery_task_id": "019a9f3e-6f00-7000-8000-000000000002",
                    "status": "queued",
                    "estimated_wait_seconds": 0,
                    "status_url": f"/api/v1/status/{_JOB_ID}",
                }
            ]
        }
    )

    job_id: UUID
    celery_task_id: str = Field(description="The correlation id of the run, in logs and metrics, whatever the queue.")
    status: Literal["queued"] = "queued"
    estimated_wait_seconds: int = Field(
        description="Seconds until a worker is likely to take it: jobs ahead, free slots, recent durations."
    )
    status_url: str = Field(description="Where to ask how it goes; also in the Location header.")


class JobError(BaseModel):
    """Why a job failed."""

    type: str = Field(description="The kind of error, for programs.")
    category: str = Field(
        description="Whose matter it is: input, workflow, provider, service, timeout, cost, internal."
    )
    message: str = Field(description="What happened, where, and what to do.")
    retryable: bool = Field(description="Whether the same job may succeed when it is sent again.")
    step_id: str | None = Field(description="The step that failed, or null.")
    details: dict[str, Any] = Field(description="More facts, by kind of error.")


class JobSummary(BaseModel):
    """A job in a list."""

    job_id: UUID
    celery_task_id: str
    status: JobStatus
    workflow_name: str
    workflow_version: str
    run_name: str | None
    priority: int
    user_id: str | None
    created_at: UtcTime
    queued_at: UtcTime
    started_at: UtcTime | None
    completed_at: UtcTime | None
    duration_ms: int | None = Field(description="From its start to its end.")
    current_step: str | None = Field(description="The top-level step that runs now, or where it stopped.")
    steps_completed: int
    total_steps: int = Field(description="Top-level steps.")
    cost_usd: float = Field(description="What it has cost so far, models and outside services, in US dollars.")
    budget_usd: float | None = Field(description="The most that it may cost; null: no budget of its own.")
    unconfirmed_usd: float = Field(
        description="What calls could have cost at most of which nobody knows whether they were paid; counts as spent."
    )
    error_message: str | None
    is_stale: bool
    attempt: int = Field(description="1, and one more for every retry that somebody asked for.")

    @classmethod
    def of(cls, job: Job, costs: CostData | None = None) -> "JobSummary":
        return cls(**_summary_values(job, costs))


class JobRead(JobSummary):
    """A job, whole."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_SUMMARY_EXAMPLE,
                    "result": {"greeting": "Hello, Ada!", "cost_data": _COST_EXAMPLE},
                    "error": None,
                    "cost_data": _COST_EXAMPLE,
                    "webhook": None,
                    "metadata": None,
                    "username": None,
                    "action": None,
                }
            ]
        }
    )

    result: dict[str, Any] | None = Field(description="The workflow's outputs and `cost_data`, once it is completed.")
    error: JobError | None
    cost_data: dict[str, Any] = Field(description="Tokens and US dollars of every call so far, also of a failed job.")
    webhook: None = Field(None, description="Always null: webhooks are not built yet.")
    metadata: dict[str, Any] | None
    username: str | None
    action: str | None

    @classmethod
    def of(cls, job: Job, costs: CostData | None = None) -> "JobRead":
        assert costs is not None
        return cls(
            **_summary_values(job, costs),
            result=None if job.result_data is None else loads(job.result_data),
            error=None if job.error is None else loads(job.error),
            cost_data=costs.to_json(),
            metadata=None if job.job_metadata is None else loads(job.job_metadata),
            username=job.username,
            action=job.action,
        )


class JobPage(BaseModel):
    """One page of jobs, newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"jobs": [_SUMMARY_EXAMPLE], "next_cursor": None}]})

    jobs: list[JobSummary]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")


class StepRead(BaseModel):
    """A step instance: ended, or running now."""

    path: str = Field(description="Step ids joined by /, [i] per item of a loop.")
    step_id: str
    type: str
    status: str = Field(description="running, succeeded, skipped, continued, defaulted or failed.")
    attempts: int
    started_at: UtcTime
    completed_at: UtcTime | None
    duration_ms: int | None
    output: Any = Field(description="What it gave; null for containers, whose output is that of the steps in them.")
    error: dict[str, Any] | None

    @classmethod
    def of(cls, row: JobStep) -> "StepRead":
        return cls(
            path=row.path,
            step_id=row.step_id,
            type=row.step_type,
            status=row.status,
            attempts=row.attempts,
            started_at=row.started_at,
            completed_at=row.completed_at,
            duration_ms=row.duration_ms,
            output=None if row.output is None else loads(row.output),
            error=None if row.error is None else loads(row.error),
        )

    @classmethod
    def of_running(cls, step: RunningStep) -> "StepRead":
        return cls(
            path=step.path,
            step_id=step_id_of(step.path),
            type=step.step_type,
            status="running",
            attempts=1,
            started_at=step.started_at,
            completed_at=None,
            duration_ms=None,
            output=None,
            error=None,
        )


class StepPage(BaseModel):
    """One page of a job's steps, in the order in which they began."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "path": "greet",
                            "step_id": "greet",
                            "type": "llm",
                            "status": "succeeded",
                            "attempts": 1,
                            "started_at": "2026-11-20T10:00:00.012Z",
                            "completed_at": "2026-11-20T10:00:02.5Z",
                            "duration_ms": 2488,
                            "output": {"content": "Hello, Ada!"},
                            "error": None,
                        }
                    ],
                    "next_cursor": None,
                }
            ]
        }
    )

    items: list[StepRead]
    next_cursor: str | None


class UsageRead(BaseModel):
    """One finished outside call and what it cost."""

    step_id: str
    path: str
    service: str = Field(description="llm, or the outside service.")
    provider: str
    model: str = Field(description="The model, or the outside service's method.")
    input_tokens: int = Field(description="Tokens, or units of an outside service.")
    output_tokens: int
    total_tokens: int
    cost_usd: float
    duration_ms: int | None
    created_at: UtcTime
    metadata: dict[str, Any] | None = Field(description="The matched price id, the price used, and its source.")

    @classmethod
    def of(cls, row: ProviderUsage) -> "UsageRead":
        return cls(
            step_id=row.task_name,
            path=row.path,
            service=row.service,
            provider=row.provider,
            model=row.model,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            total_tokens=row.total_tokens,
            cost_usd=shown_usd(row.cost_usd),
            duration_ms=row.duration_ms,
            created_at=row.created_at,
            metadata=None if row.usage_metadata is None else loads(row.usage_metadata),
        )


class UsagePage(BaseModel):
    """One page of a job's calls, oldest first, and the sums over all of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "step_id": "analysis",
                            "path": "analysis",
                            "service": "llm",
                            "provider": "openrouter",
                            "model": "anthropic/claude-3.5-sonnet",
                            "input_tokens": 2100,
                            "output_tokens": 900,
                            "total_tokens": 3000,
                            "cost_usd": 0.0198,
                            "duration_ms": 8400,
                            "created_at": "2026-11-20T10:00:02.5Z",
                            "metadata": None,
                        }
                    ],
                    "totals": _COST_EXAMPLE,
                    "next_cursor": None,
                }
            ]
        }
    )

    items: list[UsageRead]
    totals: dict[str, Any] = Field(description="`cost_data` of the whole job.")
    next_cursor: str | None


class CancelMany(BaseModel):
    """Jobs to cancel."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"job_ids": [_JOB_ID]}]})

    job_ids: list[UUID] = Field(min_length=1, max_length=MAX_CANCELLED_AT_ONCE)


class Cancelled(BaseModel):
    """What became of a cancel."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"job_id": _JOB_ID, "status": "processing", "outcome": "stopping"}]}
    )

    job_id: UUID
    status: JobStatus | None = Field(description="The job's status now; null where there is no such job.")
    outcome: Literal["cancelled", "stopping", "already_ended", "not_found"] = Field(
        description="cancelled: it had not begun. stopping: its calls are aborted within a second. "
        "already_ended: nothing was changed."
    )


class CancelledMany(BaseModel):
    """What became of each cancel, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"items": [{"job_id": _JOB_ID, "status": "processing", "outcome": "stopping"}]}]
        }
    )

    items: list[Cancelled]


def _summary_values(job: Job, costs: CostData | None) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "celery_task_id": job.celery_task_id,
        "status": job.status,
        "workflow_name": job.workflow_name,
        "workflow_version": job.workflow_version,
        "run_name": job.run_name,
        "priority": job.priority,
        "user_id": job.user_id,
        "created_at": job.created_at,
        "queued_at": job.queued_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "duration_ms": job.duration_ms,
        "current_step": job.current_step,
        "steps_completed": job.steps_completed,
        "total_steps": job.total_steps,
        "cost_usd": shown_usd(job.cost_usd if costs is None else costs.total_cost_usd),
        "budget_usd": None if job.budget_usd is None else shown_usd(job.budget_usd),
        "unconfirmed_usd": shown_usd(job.unconfirmed_usd if costs is None else costs.unconfirmed_usd),
        "error_message": job.error_message,
        "is_stale": job.is_stale,
        "attempt": job.attempt,
    }
