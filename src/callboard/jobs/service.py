"""The rules of jobs: submit, read, wait, cancel. Called by `jobs/router.py`.

Submit validates the input, writes the job with its bundle and idempotency key in one transaction (together
with others that come at the same moment), and rings the doorbell.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from callboard.accounts.caller import Caller
from callboard.core.batch_writer import BatchWriter
from callboard.core.clock import now
from callboard.core.database import DATABASE_ERRORS, Database, is_connection_error
from callboard.core.errors import CallboardError, Finding
from callboard.core.idempotency import body_hash
from callboard.core.ids import new_uuid
from callboard.core.json_values import JsonValue, dumps, find_unstorable
from callboard.core.pagination import Page, PageRequest
from callboard.core.telemetry import Telemetry
from callboard.jobs.costs import CostData, summarise_costs
from callboard.jobs.endings import Endings
from callboard.jobs.errors import (
    BudgetTooHighError,
    DatabaseAwayError,
    IdempotencyConflictError,
    InvalidInputError,
    JobNotFoundError,
    NotYetSupportedError,
)
from callboard.jobs.models import Job, JobStep
from callboard.jobs.repository.idempotency import EarlierUse, Idempotency, find_key
from callboard.jobs.repository.jobs import JobFilter, JobRepository, request_cancel
from callboard.jobs.repository.submissions import Accepted, NewJob, insert_jobs
from callboard.jobs.running_limits import Lane
from callboard.jobs.schemas import Cancelled, JobAccepted, JobCreate
from callboard.jobs.status import JobStatus
from callboard.jobs.step_lists import RunningStep, StepCursor
from callboard.jobs.waits import WaitEstimator
from callboard.llm.models import ProviderUsage
from callboard.queues.port import Doorbell
from callboard.workflows.call_budgets import show_usd
from callboard.workflows.service import PreparedWorkflow, WorkflowService

SUBMIT_PATIENCE_SECONDS = 5.0  # a submit waits this long for a database that is away, then answers 503
MAX_WAIT_SECONDS = 30
SUBMIT_ROUTE = "POST /api/v1/workflow"
FIELDS_OF_LATER_FEATURES = ("webhook_url", "webhook_secret", "debug_mode")


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submit, and whether it is a first answer given again."""

    answer: JobAccepted
    is_repeated: bool


@dataclass(frozen=True, slots=True)
class JobWithCosts:
    """A job and what it has cost so far."""

    job: Job
    costs: CostData


@dataclass(frozen=True, slots=True)
class StepList:
    """A page of steps that have ended, and those that run now."""

    ended: Sequence[JobStep]
    running: Sequence[RunningStep]
    has_more: bool


class JobService:
    """What callers may do with jobs, within their tenant and user."""

    def __init__(
        self,
        database: Database,
        *,
        workflows: WorkflowService,
        doorbell: Doorbell,
        endings: Endings,
        estimator: WaitEstimator,
        telemetry: Telemetry,
        keys_valid_since: Callable[[], datetime],
        abort_run: Callable[[UUID], None],
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._doorbell = doorbell
        self._endings = endings
        self._estimator = estimator
        self._keys_valid_since = keys_valid_since
        self._abort_run = abort_run
        self._writer: BatchWriter[NewJob, Accepted] = BatchWriter(
            lambda jobs: insert_jobs(database, jobs),
            name="submits",
            keep_trying=lambda waited_seconds: waited_seconds < SUBMIT_PATIENCE_SECONDS,
            on_flush=telemetry.flushed,
        )
        telemetry.watch_writer("submits", lambda: self._writer.waiting)

    async def submit(self, caller: Caller, request: JobCreate, *, idempotency_key: str | None) -> Submitted:
        """Accept a job and return the answer for its caller; it is durable by then.

        Raises: WorkflowNotFoundError, InvalidWorkflowError, InvalidInputError (every error at once),
        BudgetTooHighError, NotYetSupportedError, IdempotencyConflictError, DatabaseAwayError.
        """
        _refuse_later_features(request)
        _refuse_unstorable_values(request)
        try:
            workflow = self._workflows.prepare(request.workflow_name)
            _refuse_unfit_input(workflow, request)
            _refuse_raised_budget(workflow, request)
        except CallboardError:  # the file may have changed since this key was answered first
            earlier = await self._find_earlier(caller, idempotency_key)
            if earlier is None:
                raise
            return _first_answer(caller, request, earlier)
        user_id = caller.acting_for(request.user_id)
        values = _column_values(caller, request, workflow, user_id)
        answer = JobAccepted(
            job_id=values["id"],
            celery_task_id=values["celery_task_id"],
            estimated_wait_seconds=await self._estimator.estimate(request.priority, _lane_of(values)),
            status_url=f"/api/v1/status/{values['id']}",
        )
        accepted = await self._write(
            NewJob(
                values=values,
                bundle=bundle_values(workflow),
                idempotency=self._idempotency(caller, request, idempotency_key, answer),
            )
        )
        if accepted.is_new:
            self._doorbell.ring(priority=request.priority)
        return Submitted(answer, is_repeated=False) if accepted.is_new else _first_answer(caller, request, accepted)

    async def get(self, caller: Caller, job_id: UUID, *, user_id: str | None = None) -> JobWithCosts:
        """Return a job. Raises: JobNotFoundError, also for somebody else's."""
        async with self._database.reads() as session:
            repository = JobRepository(session, caller.tenant)
            job = await repository.find_of_user(job_id, caller.acting_for(user_id))
            costs = summarise_costs(await repository.sum_usage(job_id), job.unconfirmed_usd)
        return JobWithCosts(job, costs)

    async def wait(self, caller: Caller, job_id: UUID, *, user_id: str | None, seconds: float) -> JobWithCosts:
        """Return a job when it has ended, or as it is after `seconds`. No session is held meanwhile."""
        found = await self.get(caller, job_id, user_id=user_id)
        if seconds <= 0 or JobStatus(found.job.status).is_final:
            return found
        await self._endings.wait(job_id, seconds=min(seconds, MAX_WAIT_SECONDS))
        return await self.get(caller, job_id, user_id=user_id)

    async def list_page(self, caller: Caller, page: PageRequest, wanted: JobFilter) -> Page[Job]:
        """Return a page of jobs, newest first."""
        wanted = replace(wanted, user_id=caller.acting_for(wanted.user_id))
        async with self._database.reads() as session:
            return await JobRepository(session, caller.tenant).list_summaries(page, wanted)

    async def list_steps(
        self, caller: Caller, job_id: UUID, *, user_id: str | None, after: StepCursor | None, limit: int
    ) -> StepList:
        """Return a page of a job's steps, in the order in which they began; the first has what runs now, last.

        Raises: JobNotFoundError.
        """
        async with self._database.reads() as session:
            repository = JobRepository(session, caller.tenant)
            job = await repository.find_of_user(job_id, caller.acting_for(user_id))
            ended, has_more = await repository.list_steps(job_id, after=after, limit=limit)
            is_begun = job.status in {JobStatus.PROCESSING, JobStatus.WAITING}
            shows_running = after is None and is_begun and not has_more
            running = await repository.list_running(job_id) if shows_running else []
        return StepList(ended, running, has_more=has_more)

    async def list_usage(
        self, caller: Caller, job_id: UUID, page: PageRequest, *, user_id: str | None
    ) -> tuple[Page[ProviderUsage], CostData]:
        """Return a page of a job's calls, oldest first, and the sums over all of them. Raises: JobNotFoundError."""
        async with self._database.reads() as session:
            repository = JobRepository(session, caller.tenant)
            job = await repository.find_of_user(job_id, caller.acting_for(user_id))
            costs = summarise_costs(await repository.sum_usage(job_id), job.unconfirmed_usd)
            return await repository.list_usage(job_id, page), costs

    async def cancel(self, caller: Caller, job_id: UUID, *, user_id: str | None) -> Cancelled:
        """Stop a job and return what became of it. Raises: JobNotFoundError."""
        (outcome,) = await self.cancel_many(caller, [job_id], user_id=user_id)
        if outcome.status is None:
            raise JobNotFoundError(f"There is no job with this id, or it belongs to somebody else: {job_id}.")
        return outcome

    async def cancel_many(self, caller: Caller, job_ids: Sequence[UUID], *, user_id: str | None) -> list[Cancelled]:
        """Stop jobs and return what became of each, in the order of `job_ids`."""
        async with self._database.reads() as session:
            visible = await JobRepository(session, caller.tenant).list_ids(job_ids, caller.acting_for(user_id))
        before = await request_cancel(self._database, sorted(visible)) if visible else {}
        for job_id, status in before.items():
            if status is JobStatus.PROCESSING:
                self._abort_run(job_id)
            elif not status.is_final:
                self._endings.announce(job_id)
        return [_cancelled(job_id, before.get(job_id)) for job_id in job_ids]

    async def close(self) -> None:
        """Return when every accepted job is written; wake whoever waits for an end."""
        await self._writer.close()
        await self._endings.close()

    async def _write(self, job: NewJob) -> Accepted:
        if self._writer.is_full:
            rows, _ = self._writer.waiting
            raise DatabaseAwayError(
                f"The database is behind: {rows} submits wait to be written. This one was not accepted; send it again."
            )
        try:
            return await self._writer.write(job, size_bytes=len(job.values["input_data"]))
        except DATABASE_ERRORS as error:
            if is_connection_error(error):
                raise DatabaseAwayError from error
            raise

    def _idempotency(
        self, caller: Caller, request: JobCreate, key: str | None, answer: JobAccepted
    ) -> Idempotency | None:
        if key is None:
            return None
        return Idempotency(
            tenant_id=caller.tenant_id,
            route=SUBMIT_ROUTE,
            key=key,
            body_hash=_hash_of(caller, request),
            answer=answer.model_dump_json(),
            valid_since=self._keys_valid_since(),
        )

    async def _find_earlier(self, caller: Caller, key: str | None) -> EarlierUse | None:
        if key is None:
            return None
        return await find_key(self._database, caller.tenant_id, SUBMIT_ROUTE, key, valid_since=self._keys_valid_since())


def _refuse_later_features(request: JobCreate) -> None:
    fields = {name: getattr(request, name) for name in FIELDS_OF_LATER_FEATURES}
    given = [name for name, value in fields.items() if value is not None and value is not False]
    if given:
        raise NotYetSupportedError(
            f"Not built yet, leave away: {', '.join(given)}.",
            errors=[
                Finding(f"/body/{name}", "not built yet; leave it away", NotYetSupportedError.code) for name in given
            ],
        )


def _refuse_unstorable_values(request: JobCreate) -> None:
    for name in ("input_data", "metadata"):
        reason = find_unstorable(getattr(request, name), f"/body/{name}")
        if reason is not None:
            pointer, _, message = reason.partition(": ")
            raise InvalidInputError(f"{name} cannot be stored: {reason}.", errors=[Finding(pointer, message)])


def _refuse_unfit_input(workflow: PreparedWorkflow, request: JobCreate) -> None:
    """Raise with everything that is wrong with the input, each with its pointer into the body."""
    findings = workflow.compiled.validate_input(request.input_data)
    if findings:
        errors = [Finding(f"/body/input_data{f.pointer}", f.message, f.code) for f in findings]
        things = "1 thing is" if len(errors) == 1 else f"{len(errors)} things are"
        raise InvalidInputError(
            f'{things} wrong with the input of "{workflow.name}". The first: {errors[0].pointer}: {errors[0].message}',
            errors=errors,
        )


def _refuse_raised_budget(workflow: PreparedWorkflow, request: JobCreate) -> None:
    """Raise when the submit would let the run cost more than its file does."""
    allowed, asked = workflow.compiled.budget_usd, request.budget_usd
    if allowed is not None and asked is not None and asked > allowed:
        message = (
            f'budget_usd is {show_usd(asked)}, but the file of "{workflow.name}" allows {show_usd(allowed)}: '
            "a submit can only lower it."
        )
        raise BudgetTooHighError(message, errors=[Finding("/body/budget_usd", message, BudgetTooHighError.code)])


def _first_answer(caller: Caller, request: JobCreate, earlier: Accepted | EarlierUse) -> Submitted:
    if earlier.body_hash != _hash_of(caller, request):
        raise IdempotencyConflictError
    return Submitted(JobAccepted.model_validate_json(earlier.answer or "{}"), is_repeated=True)


def _column_values(
    caller: Caller, request: JobCreate, workflow: PreparedWorkflow, user_id: str | None
) -> dict[str, Any]:
    """Return the new job's row. Every column is named: rows of one statement have one shape."""
    moment = now()
    return {
        "id": new_uuid(),
        "tenant_id": caller.tenant_id,
        "celery_task_id": str(new_uuid()),
        "workflow_name": workflow.name,
        "workflow_version": workflow.version,
        "definition_hash": workflow.bundle_hash,
        "priority": request.priority,
        "user_id": user_id,
        "run_name": request.run_name,
        "username": request.username,
        "action": request.action,
        "metadata": None if request.metadata is None else dumps(request.metadata),
        "status": JobStatus.QUEUED,
        "input_data": dumps(workflow.compiled.complete_input(request.input_data)),
        "timeout_seconds": math.ceil(workflow.compiled.timeout_seconds),
        "total_steps": workflow.compiled.total_steps,
        "budget_usd": workflow.compiled.budget_usd if request.budget_usd is None else request.budget_usd,
        "last_event_id": 1,
        "queued_at": moment,
        "created_at": moment,
        "updated_at": moment,
    }


def bundle_values(workflow: PreparedWorkflow) -> dict[str, Any]:
    """Return the row of the bundle that a job of `workflow` keeps."""
    return {
        "hash": workflow.bundle_hash,
        "workflow_name": workflow.name,
        "workflow_version": workflow.version,
        "content": workflow.content,
        "created_at": now(),
    }


def _hash_of(caller: Caller, request: JobCreate) -> str:
    """Return the hash by which two submits with one key are compared: the body, and for which user."""
    body: JsonValue = {"user": caller.user_id, "body": request.model_dump(mode="json", exclude_unset=True)}
    return body_hash(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))


def _cancelled(job_id: UUID, before: JobStatus | None) -> Cancelled:
    if before is None:
        return Cancelled(job_id=job_id, status=None, outcome="not_found")
    if before.is_final:
        return Cancelled(job_id=job_id, status=before, outcome="already_ended")
    if before is JobStatus.PROCESSING:
        return Cancelled(job_id=job_id, status=before, outcome="stopping")
    return Cancelled(job_id=job_id, status=JobStatus.CANCELLED, outcome="cancelled")


def _lane_of(values: Mapping[str, Any]) -> Lane:
    """Return the lane of a job to be written."""
    return Lane(values["tenant_id"], values["user_id"] or "", values["workflow_name"])
