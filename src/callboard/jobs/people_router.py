"""The HTTP face of what people and other systems tell running jobs: approvals and signals."""

from typing import Annotated

from fastapi import APIRouter, Path, Response, status

from callboard.core.pagination import DEFAULT_LIMIT, PageRequest, decode_cursor
from callboard.core.problems import BODY_PROBLEMS, problem_responses
from callboard.jobs.dependencies import (
    Approvals,
    Cursor,
    IdempotencyKey,
    JobId,
    Limit,
    Reader,
    Signals,
    UserId,
    Writer,
)
from callboard.jobs.people_schemas import (
    AnswerCreate,
    AnswerRead,
    ApprovalList,
    ApprovalPage,
    ApprovalRead,
    SignalAccepted,
    SignalCreate,
)
from callboard.workflows.steps.wait_config import EVENT_NAME_PATTERN

router = APIRouter(prefix="/api/v1", tags=["people"])

ApprovalName = Annotated[
    str,
    Path(min_length=1, max_length=100, description="Its id, or its step's id while only one of that step is open."),
]
SignalName = Annotated[str, Path(pattern=EVENT_NAME_PATTERN, description="What the step's `event` says.")]


@router.get("/approvals", summary="List open approvals", responses=problem_responses(401, 403, 422, 503))
async def list_approvals(
    caller: Reader, approvals: Approvals, user_id: UserId = None, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> ApprovalPage:
    """List what people are asked now, the oldest first: the inbox."""
    page = PageRequest(limit=limit, after=decode_cursor(cursor) if cursor else None)
    found = await approvals.list_open(caller, page, user_id=user_id)
    return ApprovalPage(items=[ApprovalRead.of(each) for each in found.items], next_cursor=found.next_cursor)


@router.get(
    "/jobs/{job_id}/approvals",
    summary="List a job's approvals",
    operation_id="list_job_approvals",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def list_approvals_of_job(
    job_id: JobId, caller: Reader, approvals: Approvals, user_id: UserId = None
) -> ApprovalList:
    """List every approval of a job, open or not, with its answers, the oldest first."""
    found = await approvals.list_of_job(caller, job_id, user_id=user_id)
    return ApprovalList(items=[ApprovalRead.of(each) for each in found])


@router.post(
    "/jobs/{job_id}/approvals/{approval_id}",
    summary="Answer an approval",
    responses=problem_responses(401, 403, 404, 409, 503, *BODY_PROBLEMS),
)
async def answer_approval(
    job_id: JobId,
    approval_id: ApprovalName,
    body: AnswerCreate,
    caller: Writer,
    approvals: Approvals,
    user_id: UserId = None,
) -> AnswerRead:
    """Answer once; the job goes on when as many people as it wants have answered.

    409: it was answered before, its time is up, or this person has answered. 422: the answer does not fit the
    form; all errors are listed.
    """
    taken = await approvals.answer(
        caller, job_id, approval_id, body.answer, answered_by=body.answered_by, user_id=user_id
    )
    return AnswerRead(
        approval_id=taken.wait.id, job_id=job_id, answered_by=taken.answered_by, still_wanted=taken.still_wanted
    )


@router.post(
    "/jobs/{job_id}/signals/{name}",
    status_code=status.HTTP_202_ACCEPTED,
    summary="Send a signal to a job",
    responses=problem_responses(401, 403, 404, 409, 503, *BODY_PROBLEMS),
)
async def send_signal(
    job_id: JobId,
    name: SignalName,
    body: SignalCreate,
    caller: Writer,
    signals: Signals,
    response: Response,
    user_id: UserId = None,
    idempotency_key: IdempotencyKey = None,
) -> SignalAccepted:
    """Keep a signal for the step that waits for it, now or later; the first signal of a name is taken first.

    409: the job has ended, or has too many signals that no step has taken.
    """
    await signals.send(caller, job_id, name, body.payload, user_id=user_id, idempotency_key=idempotency_key)
    response.headers["Location"] = f"/api/v1/status/{job_id}"
    return SignalAccepted(job_id=job_id, name=name)
