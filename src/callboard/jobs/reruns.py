"""The rules of running again: retry a job from its failed step, fork a new one from a step of another.

Called by `jobs/router.py`. What was journaled is kept in both, so nothing that was paid is paid again.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from callboard.accounts.caller import Caller
from callboard.core.clock import now
from callboard.core.database import Database
from callboard.core.errors import Finding
from callboard.core.idempotency import body_hash
from callboard.core.ids import JobId, new_uuid
from callboard.core.json_values import JsonValue, dumps, find_unstorable
from callboard.jobs.errors import ForkRefusedError, IdempotencyConflictError, InvalidInputError
from callboard.jobs.models import Job
from callboard.jobs.repository.idempotency import EarlierUse, Idempotency
from callboard.jobs.repository.jobs import JobRepository
from callboard.jobs.repository.reruns import insert_fork, list_done_steps, read_input, retry_job
from callboard.jobs.repository.submissions import Accepted, NewJob
from callboard.jobs.rousing import Rousing
from callboard.jobs.schemas import JobAccepted, JobFork
from callboard.jobs.service import Submitted, bundle_values
from callboard.jobs.status import JobStatus
from callboard.jobs.waits import WaitEstimator
from callboard.workflows.bundles import Bundle
from callboard.workflows.service import BundleStore, PreparedWorkflow, WorkflowService

COPIED_COLUMNS = (
    *("tenant_id", "priority", "user_id", "run_name", "username", "action", "related_entity_type"),
    *("related_entity_id", "debug_mode", "budget_usd", "webhook_url", "webhook_secret", "timeout_seconds"),
)


class RerunService:
    """Retries and forks of jobs, within the caller's tenant and user."""

    def __init__(
        self,
        database: Database,
        *,
        workflows: WorkflowService,
        bundles: BundleStore,
        estimator: WaitEstimator,
        rousing: Rousing,
        keys_valid_since: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._bundles = bundles
        self._estimator = estimator
        self._rousing = rousing
        self._keys_valid_since = keys_valid_since

    async def retry(
        self, caller: Caller, job_id: UUID, *, user_id: str | None, idempotency_key: str | None
    ) -> Submitted:
        """Begin a failed or cancelled job anew from the step where it ended, and return the answer for its caller.

        Raises: JobNotFoundError; IllegalMoveError, for a job in another state.
        """
        job = await self._find(caller, job_id, user_id)
        answer = await self._answer_for(job.id, job.celery_task_id, job.priority)
        key = self._key(caller, f"retry {job_id}", idempotency_key, None, answer)
        earlier = await retry_job(self._database, JobId(job_id), key)
        if earlier is None:
            self._rousing.ring()
        return Submitted(answer, is_repeated=earlier is not None)

    async def fork(
        self, caller: Caller, job_id: UUID, request: JobFork, *, user_id: str | None, idempotency_key: str | None
    ) -> Submitted:
        """Accept a new job that takes over what `job_id` has journaled before `from_step`, at no cost.

        Raises: JobNotFoundError; ForkRefusedError, with what stands in the way; InvalidInputError;
        InvalidWorkflowError, for a definition that cannot run; IdempotencyConflictError.
        """
        source = await self._find(caller, job_id, user_id)
        content = await self._bundles.read(source.definition_hash)
        definition = Bundle.from_json(content).definition
        kept = _steps_before(request.definition or definition, request.from_step)
        prepared = await self._prepare(request, definition, kept)
        await self._refuse_unfinished(job_id, kept, request.from_step)
        input_json = await self._input_of(source, request, prepared)
        values = _fork_values(source, prepared, input_json)
        answer = await self._answer_for(values["id"], values["celery_task_id"], source.priority)
        job = NewJob(
            values=values,
            bundle=_stored_bundle(source, content) if prepared is None else bundle_values(prepared),
            idempotency=self._key(caller, f"fork {job_id}", idempotency_key, request, answer),
        )
        accepted = await insert_fork(self._database, job, source_id=job_id, step_ids=kept)
        self._rousing.ring()
        return _first_answer(accepted, request) if not accepted.is_new else Submitted(answer, is_repeated=False)

    async def _find(self, caller: Caller, job_id: UUID, user_id: str | None) -> Job:
        async with self._database.reads() as session:
            return await JobRepository(session, caller.tenant).find_of_user(job_id, caller.acting_for(user_id))

    async def _prepare(
        self, request: JobFork, definition: Mapping[str, Any], kept: Sequence[str]
    ) -> PreparedWorkflow | None:
        """Return the definition that came with the request, or None where the source's own is kept."""
        if request.definition is None:
            return None
        old, new = _raw_steps(definition), _raw_steps(request.definition)
        for index, step_id in enumerate(kept):
            if index >= len(old) or old[index] != new[index]:
                message = f'The step "{step_id}" stands before "{request.from_step}" and may not change.'
                raise ForkRefusedError(message, errors=[Finding(f"/body/definition/steps/{index}", message)])
        return await self._workflows.prepare_definition(request.definition)

    async def _refuse_unfinished(self, job_id: UUID, kept: Sequence[str], from_step: str) -> None:
        done = await list_done_steps(self._database, job_id, kept)
        missing = [step_id for step_id in kept if step_id not in done]
        if missing:
            raise ForkRefusedError(
                f'Job {job_id} has not finished "{missing[0]}", which stands before "{from_step}"; '
                f'fork from "{missing[0]}" or an earlier step, or wait until it is done.'
            )

    async def _input_of(self, source: Job, request: JobFork, prepared: PreparedWorkflow | None) -> str:
        compiled = prepared.compiled if prepared is not None else await self._bundles.load(source.definition_hash)
        if request.input_data is None:
            return await read_input(self._database, source.id)
        reason = find_unstorable(request.input_data, "/body/input_data")
        if reason is not None:
            raise InvalidInputError(f"input_data cannot be stored: {reason}.")
        findings = compiled.validate_input(request.input_data)
        if findings:
            errors = [Finding(f"/body/input_data{each.pointer}", each.message, each.code) for each in findings]
            raise InvalidInputError(f'The input does not fit "{compiled.name}": {errors[0].message}', errors=errors)
        return dumps(compiled.complete_input(request.input_data))

    async def _answer_for(self, job_id: UUID, celery_task_id: str, priority: int) -> JobAccepted:
        return JobAccepted(
            job_id=job_id,
            celery_task_id=celery_task_id,
            estimated_wait_seconds=await self._estimator.estimate(priority),
            status_url=f"/api/v1/status/{job_id}",
        )

    def _key(
        self, caller: Caller, route: str, key: str | None, request: JobFork | None, answer: JobAccepted
    ) -> Idempotency | None:
        if key is None:
            return None
        return Idempotency(
            tenant_id=caller.tenant_id,
            route=route,
            key=key,
            body_hash=_hash_of(request),
            answer=answer.model_dump_json(),
            valid_since=self._keys_valid_since(),
        )


def _steps_before(definition: Mapping[str, Any], from_step: str) -> list[str]:
    """Return the ids of the top-level steps before `from_step`. Raises: ForkRefusedError."""
    ids = [str(step.get("id")) for step in _raw_steps(definition)]
    if from_step not in ids:
        message = f'The workflow has no top-level step "{from_step}"; it has: {", ".join(ids)}.'
        raise ForkRefusedError(message, errors=[Finding("/body/from_step", message)])
    return ids[: ids.index(from_step)]


def _raw_steps(definition: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
    steps = definition.get("steps")
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _fork_values(source: Job, prepared: PreparedWorkflow | None, input_json: str) -> dict[str, Any]:
    moment = now()
    values = {name: getattr(source, name) for name in COPIED_COLUMNS}
    if prepared is not None:
        values["timeout_seconds"] = round(prepared.compiled.timeout_seconds)
    return {
        **values,
        "id": new_uuid(),
        "celery_task_id": str(new_uuid()),
        "workflow_name": source.workflow_name if prepared is None else prepared.name,
        "workflow_version": source.workflow_version if prepared is None else prepared.version,
        "definition_hash": source.definition_hash if prepared is None else prepared.bundle_hash,
        "metadata": source.job_metadata,
        "forked_from": source.id,
        "fence": 1,  # as if it had been run before: its first run reads the journal that it takes over
        "status": JobStatus.QUEUED,
        "input_data": input_json,
        "total_steps": source.total_steps if prepared is None else prepared.compiled.total_steps,
        "last_event_id": 1,
        "queued_at": moment,
        "created_at": moment,
        "updated_at": moment,
    }


def _stored_bundle(source: Job, content: str) -> dict[str, Any]:
    """Return the row of the bundle that `source` names: it is there, or written anew if it went meanwhile."""
    return {
        "hash": source.definition_hash,
        "workflow_name": source.workflow_name,
        "workflow_version": source.workflow_version,
        "content": content,
        "created_at": now(),
    }


def _first_answer(earlier: Accepted | EarlierUse, request: JobFork) -> Submitted:
    if earlier.body_hash != _hash_of(request):
        raise IdempotencyConflictError
    return Submitted(JobAccepted.model_validate_json(earlier.answer or "{}"), is_repeated=True)


def _hash_of(request: JobFork | None) -> str:
    body = None if request is None else request.model_dump(mode="json", exclude_unset=True)
    return body_hash(orjson.dumps(body, option=orjson.OPT_SORT_KEYS))
