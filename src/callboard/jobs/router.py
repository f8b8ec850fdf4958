"""The HTTP face of jobs: submit, ask, wait, list, cancel. Every operation calls one method of `service.py`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response, status

from callboard.accounts.auth import check_scope, count_for_user
from callboard.core.pagination import DEFAULT_LIMIT, PageRequest, decode_cursor
from callboard.core.problems import BODY_PROBLEMS, problem_responses
from callboard.core.storable_text import StorableText
from callboard.jobs.dependencies import (
    Cursor,
    IdempotencyKey,
    JobId,
    Jobs,
    Limit,
    Offset,
    Reader,
    Reruns,
    UserId,
    Writer,
    decode_step_cursor,
    encode_step_cursor,
)
from callboard.jobs.repository.jobs import JobFilter
from callboard.jobs.schemas import (
    Cancelled,
    CancelledMany,
    CancelMany,
    JobAccepted,
    JobCreate,
    JobFork,
    JobPage,
    JobRead,
    JobSummary,
    Moment,
    StepPage,
    StepRead,
    UsagePage,
    UsageRead,
)
from callboard.jobs.service import MAX_WAIT_SECONDS, JobWithCosts, Submitted
from callboard.jobs.status import JobStatus

router = APIRouter(prefix="/api/v1", tags=["jobs"])

Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to hold the answer until the job ends.")]
StatusFilter = Literal["pending", "queued", "processing", "running", "waiting", "completed", "failed", "cancelled"]

_ACCEPTED_HEADERS: dict[str, Any] = {
    "Location": {"description": "Where to ask.", "required": True, "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "Stands there when this is a first answer given again.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
_JOB_HEADERS: dict[str, Any] = {
    "ETag": {"description": "Changes with the job; send it as If-None-Match.", "schema": {"type": "string"}},
}
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The job is as it was at the ETag in If-None-Match.", "content": {}}
}


@router.post(
    "/workflow",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Submit a job",
    responses={
        202: {"headers": _ACCEPTED_HEADERS},
        **problem_responses(401, 403, 404, 409, 503, *BODY_PROBLEMS),
    },
)
async def submit_job(
    body: JobCreate,
    caller: Writer,
    jobs: Jobs,
    request: Request,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobAccepted:
    """Accept a job; by the time of this answer it is stored and will run, whatever happens to this server.

    404: there is no such workflow. 422: the input does not fit its `input_schema`; all errors are listed.
    """
    await count_for_user(request, caller, body.user_id)
    return _accepted(await jobs.submit(caller, body, idempotency_key=idempotency_key), response)


@router.delete(
    "/workflow/{job_id:uuid}",  # so that /workflow/validate is not taken for a job
    status_code=status.HTTP_202_ACCEPTED,
    summary="Cancel a job",
    responses={
        200: {"model": Cancelled, "description": "It had already ended; nothing was changed."},
        **problem_responses(401, 403, 404, 422, 503),
    },
)
async def cancel_job(
    job_id: JobId, caller: Writer, jobs: Jobs, response: Response, user_id: UserId = None
) -> Cancelled:
    """Stop a job. Calls that run are aborted within a second; what was paid is kept."""
    outcome = await jobs.cancel(caller, job_id, user_id=user_id)
    if outcome.outcome == "already_ended":
        response.status_code = status.HTTP_200_OK
    return outcome


@router.post(
    "/jobs/{job_id}/retry",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Try a job again",
    responses={202: {"headers": _ACCEPTED_HEADERS}, **problem_responses(401, 403, 404, 409, 422, 503)},
)
async def retry_job(
    job_id: JobId,
    caller: Writer,
    reruns: Reruns,
    response: Response,
    user_id: UserId = None,
    idempotency_key: IdempotencyKey = None,
) -> JobAccepted:
    """Run a failed or cancelled job again from the step where it ended; what was done is kept, and not paid again.

    409: the job is in another state.
    """
    submitted = await reruns.retry(caller, job_id, user_id=user_id, idempotency_key=idempotency_key)
    return _accepted(submitted, response)


@router.post(
    "/jobs/{job_id}/fork",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Fork a job",
    responses={
        202: {"headers": _ACCEPTED_HEADERS},
        **problem_responses(401, 403, 404, 409, 503, *BODY_PROBLEMS),
    },
)
async def fork_job(
    job_id: JobId,
    body: JobFork,
    caller: Writer,
    reruns: Reruns,
    response: Response,
    user_id: UserId = None,
    idempotency_key: IdempotencyKey = None,
) -> JobAccepted:
    """Accept a new job that begins at `from_step` of this one; the steps before are taken over at no cost.

    A definition in the request needs the scope `workflows:write`, and may not change the steps before. 422: what
    stands before is not done, or is changed; the input does not fit.
    """
    if body.definition is not None:
        check_scope(caller, "workflows:write")
    submitted = await reruns.fork(caller, job_id, body, user_id=user_id, idempotency_key=idempotency_key)
    return _accepted(submitted, response)


@router.get(
    "/status/{job_id}",
    summary="Ask how a job goes",
    operation_id="read_status",
    response_model=JobRead,
    responses={200: {"headers": _JOB_HEADERS}, **_NOT_MODIFIED, **problem_responses(401, 403, 404, 422, 503)},
)
@router.get(
    "/jobs/{job_id:uuid}",  # so that /jobs/cancel is not taken for a job
    summary="Get a job",
    response_model=JobRead,
    responses={200: {"headers": _JOB_HEADERS}, **_NOT_MODIFIED, **problem_responses(401, 403, 404, 422, 503)},
)
async def read_job(
    job_id: JobId,
    caller: Reader,
    jobs: Jobs,
    response: Response,
    user_id: UserId = None,
    wait: Wait = 0,
    if_none_match: Annotated[str | None, Header(description="The ETag that you have.")] = None,
) -> JobRead | Response:
    """Return the job; with `wait`, when it has ended or after that many seconds."""
    found = await jobs.wait(caller, job_id, user_id=user_id, seconds=wait)
    etag = _etag_of(found)
    if if_none_match is not None and (etag in if_none_match or if_none_match.strip() == "*"):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return JobRead.of(found.job, found.costs)


@router.get("/jobs", summary="List jobs", responses=problem_responses(401, 403, 422, 503))
async def list_jobs(
    caller: Reader,
    jobs: Jobs,
    status: Annotated[
        list[StatusFilter] | None, Query(description="Only jobs in these states; `running` is `processing`.")
    ] = None,
    workflow_name: Annotated[
        StorableText | None, Query(max_length=100, description="Only jobs of this workflow.")
    ] = None,
    user_id: UserId = None,
    created_after: Annotated[Moment | None, Query(description="ISO 8601; without an offset it is UTC.")] = None,
    created_before: Annotated[Moment | None, Query(description="ISO 8601; without an offset it is UTC.")] = None,
    related_entity: Annotated[
        StorableText | None, Query(max_length=356, description="What the job was made for: `type:id`, or an id.")
    ] = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
    offset: Offset = 0,
) -> JobPage:
    """List your jobs, newest first."""
    entity_type, _, entity_id = (related_entity or "").rpartition(":")
    wanted = JobFilter(
        statuses=[JobStatus.PROCESSING if name == "running" else JobStatus(name) for name in status or ()],
        workflow_name=workflow_name,
        user_id=user_id,
        created_after=created_after,
        created_before=created_before,
        related_entity_type=entity_type or None,
        related_entity_id=entity_id or None,
    )
    after = decode_cursor(cursor) if cursor else None
    page = await jobs.list_page(caller, PageRequest(limit=limit, after=after, offset=offset), wanted)
    return JobPage(jobs=[JobSummary.of(job) for job in page.items], next_cursor=page.next_cursor)


@router.get(
    "/jobs/{job_id}/steps",
    summary="List a job's steps",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def list_steps(
    job_id: JobId,
    caller: Reader,
    jobs: Jobs,
    user_id: UserId = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> StepPage:
    """List what each step gave, in the order in which they began. Running ones stand last on the first page."""
    steps = await jobs.list_steps(caller, job_id, user_id=user_id, after=decode_step_cursor(cursor), limit=limit)
    last = steps.ended[-1] if steps.has_more else None
    return StepPage(
        items=[*map(StepRead.of, steps.ended), *map(StepRead.of_running, steps.running)],
        next_cursor=None if last is None else encode_step_cursor(last.started_at, last.path),
    )


@router.get(
    "/jobs/{job_id}/usage",
    summary="List what a job paid for",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def list_usage(
    job_id: JobId,
    caller: Reader,
    jobs: Jobs,
    user_id: UserId = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor = None,
) -> UsagePage:
    """List every finished outside call of a job, oldest first, with tokens, price and cost."""
    after = decode_cursor(cursor) if cursor else None
    page, totals = await jobs.list_usage(caller, job_id, PageRequest(limit=limit, after=after), user_id=user_id)
    return UsagePage(
        items=[UsageRead.of(row) for row in page.items], totals=totals.to_json(), next_cursor=page.next_cursor
    )


@router.post(
    "/jobs/cancel",
    summary="Cancel several jobs",
    responses=problem_responses(401, 403, 503, *BODY_PROBLEMS),
)
async def cancel_jobs(body: CancelMany, caller: Writer, jobs: Jobs, user_id: UserId = None) -> CancelledMany:
    """Stop jobs, and tell of each what became of it, in the order of the request."""
    return CancelledMany(items=await jobs.cancel_many(caller, body.job_ids, user_id=user_id))


def _accepted(submitted: Submitted, response: Response) -> JobAccepted:
    response.headers["Location"] = submitted.answer.status_url
    if submitted.is_repeated:
        response.headers["Idempotency-Replayed"] = "true"
    return submitted.answer


def _etag_of(found: JobWithCosts) -> str:
    """Return what changes with the job and is no other job's. A call may be counted after its job has ended."""
    calls = len(found.costs.llm_calls) + len(found.costs.service_calls)
    return f'W/"{found.job.id}-{found.job.updated_at.timestamp():.6f}-{found.job.status}-{calls}"'
