"""The answers of the API as typed dictionaries: what came is what you hold, fields of newer servers included."""

from typing import Any, Generic, NotRequired, TypeAlias, TypedDict, TypeVar

Json: TypeAlias = Any  # JSON enters here
Row = TypeVar("Row")

FINAL_STATUSES = frozenset({"completed", "failed", "cancelled"})
LLM_SERVICE = "llm"  # `service` of the calls that are language models'


class SubmittedJob(TypedDict):
    """The answer to a submit: 202, after the job was made durable."""

    job_id: str
    celery_task_id: str
    status: str
    estimated_wait_seconds: float
    status_url: str


class JobError(TypedDict):
    """Why a job failed."""

    type: str
    category: str
    message: str
    retryable: bool
    step_id: str | None
    details: dict[str, Json]


class LLMCallCost(TypedDict):
    """One call to a language model. Durations in milliseconds, money in USD."""

    step_id: str
    path: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    duration_ms: int | None


class ServiceCallCost(TypedDict):
    """One call to an outside service."""

    step_id: str
    path: str
    service: str
    method: str
    units: int
    cost_usd: float
    duration_ms: int | None


class CostData(TypedDict):
    """What a job spent. `cost_usd` is the part of the language models, `total_cost_usd` all of it.

    `unconfirmed_usd` is what calls could have cost at most of which nobody knows whether they were paid.
    """

    provider: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_usd: float
    total_cost_usd: float
    unconfirmed_usd: float
    llm_calls: list[LLMCallCost]
    service_calls: list[ServiceCallCost]


class JobSummary(TypedDict):
    """A job in a list. Times are UTC, ISO-8601; `cost_usd` is what it has cost so far."""

    job_id: str
    celery_task_id: str
    status: str
    workflow_name: str
    workflow_version: str
    run_name: str | None
    priority: int
    user_id: str | None
    created_at: str
    queued_at: str
    started_at: str | None
    completed_at: str | None
    duration_ms: int | None
    current_step: str | None
    steps_completed: int
    total_steps: int
    cost_usd: float
    budget_usd: float | None
    unconfirmed_usd: float
    error_message: str | None
    is_stale: bool
    attempt: int


class Job(JobSummary):
    """A job, whole; `result` is there once it is completed."""

    result: dict[str, Json] | None
    error: JobError | None
    cost_data: CostData
    webhook: dict[str, Json] | None
    metadata: dict[str, Json] | None
    username: str | None
    action: str | None


class JobPage(TypedDict):
    """One page of jobs, the newest first; `next_cursor` is None on the last."""

    jobs: list[JobSummary]
    next_cursor: str | None


class CancelledJob(TypedDict):
    """What became of a cancel: outcome cancelled, stopping or already_ended."""

    job_id: str
    status: str
    outcome: str


class JobStep(TypedDict):
    """A step of a job: ended, or running now (`completed_at` and `duration_ms` are then None)."""

    path: str
    step_id: str
    type: str
    status: str
    attempts: int
    started_at: str
    completed_at: str | None
    duration_ms: int | None
    output: Json
    error: dict[str, Json] | None


class UsageRow(TypedDict):
    """One paid call. Of an outside service, `model` is the method and `input_tokens` its units."""

    step_id: str
    path: str
    service: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_usd: float
    duration_ms: int | None
    created_at: str
    metadata: dict[str, Json] | None


class Page(TypedDict, Generic[Row]):
    """One page of a list; `next_cursor` is None on the last."""

    items: list[Row]
    next_cursor: str | None


class UsagePage(Page[UsageRow]):
    """One page of a job's paid calls, the oldest first; `totals` are those of the whole job."""

    totals: CostData


class Model(TypedDict):
    """A language model and its price, in USD per million tokens."""

    provider: str
    model: str
    input_usd_per_million: float
    output_usd_per_million: float
    source: str
    context_window: int | None


class ModelList(TypedDict):
    """The models with a known price at the providers that the server can call."""

    providers: list[str]
    default_provider: str | None
    default_model: str | None
    items: list[Model]
    next_cursor: str | None
    total: int


class ApiKey(TypedDict):
    """An API key without its secret; `key` is there once, in the answer that made it."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    tenant_id: str
    user_id: str | None
    created_at: str
    last_used_at: str | None
    revoked_at: str | None
    key: NotRequired[str | None]


class StaleCleanUp(TypedDict):
    """What was, or would be, failed as stale. `is_complete` is False when the server stopped half-way."""

    dry_run: bool
    older_than_hours: int
    total: int
    by_status: dict[str, int]
    job_ids: list[str]
    is_complete: bool


class RetentionCleanUp(TypedDict):
    """What was, or would be, deleted. `is_complete` is False when the server stopped half-way."""

    dry_run: bool
    older_than_days: int
    jobs: int
    bundles: int
    outbox_rows: int
    job_ids: list[str]
    is_complete: bool


class Erasure(TypedDict):
    """What was, or would be, erased of a user; `left` counts the jobs that are still there."""

    dry_run: bool
    tenant_id: str
    user_id: str
    jobs: int
    cancelling: int
    usage_rows: int
    api_keys: int
    left: int
    left_by_status: dict[str, int]


class Worker(TypedDict):
    """A worker process; `state` is alive, expired, stopped or dead."""

    worker_id: str
    state: str
    host: str
    pid: int
    slots: int
    running: int
    lease_until: str
    started_at: str
    stopped_at: str | None
    dead_at: str | None


class WorkerList(TypedDict):
    """The workers, newest first."""

    items: list[Worker]


class QueueGroup(TypedDict):
    """Jobs that have one of the three in common; `oldest_seconds` is the oldest's time."""

    priority: NotRequired[int]
    workflow_name: NotRequired[str]
    user_id: NotRequired[str | None]
    jobs: int
    oldest_seconds: float


class Queue(TypedDict):
    """What is ready, what runs and what waits."""

    ready: int
    oldest_seconds: float
    running: int
    waiting: int
    ready_by_priority: list[QueueGroup]
    ready_by_workflow: list[QueueGroup]
    running_by_workflow: list[QueueGroup]
    running_by_user: list[QueueGroup]


def has_ended(job: JobSummary) -> bool:
    """Tell whether nothing of the job will change any more."""
    return job["status"] in FINAL_STATUSES
