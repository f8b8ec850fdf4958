"""What operators do over HTTP: clean up, erase a user, look at workers and queue. The scope `admin` is needed.

An admin of a tenant reaches that tenant alone; the operator's key reaches all.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response, status

from callboard.accounts.auth import require
from callboard.accounts.caller import Caller
from callboard.accounts.errors import OtherTenantError
from callboard.core.problems import BODY_PROBLEMS, problem_responses
from callboard.core.storable_text import StorableText
from callboard.jobs.admin_schemas import (
    Erased,
    PriorityGroup,
    QueueRead,
    RetentionCleanedUp,
    RetentionCleanUp,
    StaleCleanedUp,
    StaleCleanUp,
    UserGroup,
    WorkerList,
    WorkerRead,
    WorkflowGroup,
    seconds_since,
)
from callboard.jobs.dependencies import Erasures, Housekeeping, Overview
from callboard.jobs.repository.erasure import Person
from callboard.jobs.repository.overview import Group
from callboard.jobs.repository.stale import CAN_BE_STALE

WORK_SECONDS = 15.0  # of one request; what is not done by then is left to the next, before a client gives up

router = APIRouter(prefix="/api/v1", tags=["admin"])

Admin = Annotated[Caller, Depends(require("admin"))]
UserId = Annotated[
    StorableText, Path(min_length=1, max_length=255, description="The user's id, as your application names them.")
]
TenantId = Annotated[
    StorableText | None,
    Query(min_length=1, max_length=100, description="For the operator's key: the tenant. Without it, your own."),
]
DryRun = Annotated[bool, Query(description="Only tell what would be done.")]


@router.post(
    "/admin/cleanup/stale",
    summary="Fail stale jobs",
    responses=problem_responses(401, 403, 503, *BODY_PROBLEMS),
)
async def clean_up_stale(caller: Admin, housekeeping: Housekeeping, body: StaleCleanUp | None = None) -> StaleCleanedUp:
    """Fail jobs that are pending, queued or processing and made no progress for too long; waiting ones never.

    Progress is a claim, a take-over, and every step that begins, is tried again or ends. They end as `failed` with
    an error of type `stale`, `is_stale` and their webhooks; a worker that still holds one can write nothing more.
    """
    wanted = body or StaleCleanUp()
    older_than = timedelta(hours=wanted.older_than_hours)
    if wanted.dry_run:
        report = await housekeeping.preview_stale(older_than, scope=caller.tenant)
    else:
        report = await housekeeping.clean_up_stale(older_than, scope=caller.tenant, goes_on=_for_a_while())
    return StaleCleanedUp(
        dry_run=wanted.dry_run,
        older_than_hours=wanted.older_than_hours,
        total=sum(report.by_status.values()),
        by_status={each: report.by_status.get(each, 0) for each in CAN_BE_STALE},
        job_ids=list(report.job_ids),
        is_complete=report.is_complete,
    )


@router.post(
    "/admin/cleanup/retention",
    summary="Delete old jobs",
    responses=problem_responses(401, 403, 503, *BODY_PROBLEMS),
)
async def clean_up_retention(
    caller: Admin, housekeeping: Housekeeping, body: RetentionCleanUp | None = None
) -> RetentionCleanedUp:
    """Delete jobs that ended long ago, with steps, events and results. What was paid for stays in the usage.

    422 `retention_off`: no `older_than_days` was given, and the setting RETENTION_DAYS is 0.
    """
    wanted = body or RetentionCleanUp()
    older_than = housekeeping.retention(wanted.older_than_days)
    if wanted.dry_run:
        report = await housekeeping.preview_old(older_than, scope=caller.tenant)
    else:
        report = await housekeeping.delete_old(older_than, scope=caller.tenant, goes_on=_for_a_while())
    return RetentionCleanedUp(
        dry_run=wanted.dry_run,
        older_than_days=older_than.days,
        jobs=report.jobs,
        bundles=report.bundles,
        outbox_rows=report.outbox_rows,
        job_ids=list(report.job_ids),
        is_complete=report.is_complete,
    )


@router.delete(
    "/users/{user_id:path}/data",  # a user's id may have a slash
    summary="Erase a user's data",
    responses={
        202: {"model": Erased, "description": "Some jobs are left: they run and are being stopped. Send it again."},
        **problem_responses(401, 403, 422, 503),
    },
)
async def erase_user_data(
    user_id: UserId,
    caller: Admin,
    erasures: Erasures,
    response: Response,
    *,
    tenant_id: TenantId = None,
    dry_run: DryRun = False,
) -> Erased:
    """Delete a user's jobs with inputs, steps, events and results, and revoke the keys that are bound to them.

    Jobs that wait are cancelled first. Those that run are cancelled, too, and deleted by a later request: the
    answer is 202 while any are `left`, 200 when nothing is. What was paid for keeps its numbers, without the user.
    """
    person = Person(_tenant_of(caller, tenant_id), user_id)
    if dry_run:
        report = await erasures.preview(person)
    else:
        report = await erasures.erase(person, goes_on=_for_a_while())
    left = sum(report.left.values())
    if left and not dry_run:
        response.status_code = status.HTTP_202_ACCEPTED
    return Erased(
        dry_run=dry_run,
        tenant_id=person.tenant_id,
        user_id=person.user_id,
        jobs=report.jobs,
        cancelling=report.cancelling,
        usage_rows=report.usage_rows,
        api_keys=report.api_keys,
        left=left,
        left_by_status=dict(report.left),
    )


@router.get("/admin/workers", summary="List workers", responses=problem_responses(401, 403, 422, 503))
async def list_workers(
    caller: Admin,  # noqa: ARG001 - workers serve every tenant
    overview: Overview,
    *,
    include_gone: Annotated[bool, Query(description="Also those that left or died, for 7 days.")] = False,
) -> WorkerList:
    """List the worker processes, newest first: where they run, how many jobs they hold, whether they live."""
    workers = await overview.list_workers(include_gone=include_gone)
    return WorkerList(
        items=[WorkerRead.of(each.row, is_expired=each.is_expired, running=each.running) for each in workers]
    )


@router.get("/admin/queue", summary="See the queue", responses=problem_responses(401, 403, 503))
async def read_queue(caller: Admin, overview: Overview) -> QueueRead:
    """Tell what is ready, by priority and workflow, for how long, and what runs, by workflow and user."""
    queue = await overview.read_queue(caller.tenant)
    oldest = min((group.oldest_at for group in queue.ready_by_priority if group.oldest_at is not None), default=None)
    return QueueRead(
        ready=queue.ready,
        oldest_seconds=seconds_since(oldest),
        running=queue.running,
        waiting=queue.waiting,
        ready_by_priority=[
            PriorityGroup(priority=group.name, jobs=group.jobs, oldest_seconds=seconds_since(group.oldest_at))
            for group in queue.ready_by_priority
        ],
        ready_by_workflow=[_workflow_group(group) for group in queue.ready_by_workflow],
        running_by_workflow=[_workflow_group(group) for group in queue.running_by_workflow],
        running_by_user=[
            UserGroup(user_id=group.name, jobs=group.jobs, oldest_seconds=seconds_since(group.oldest_at))
            for group in queue.running_by_user
        ],
    )


def _for_a_while() -> Callable[[], bool]:
    """Return what lets a clean-up go on for as long as a request may take."""
    until = time.monotonic() + WORK_SECONDS
    return lambda: time.monotonic() < until


def _tenant_of(caller: Caller, tenant_id: str | None) -> str:
    """Return the tenant that is meant. Raises: OtherTenantError, when the caller does not reach it."""
    wanted = tenant_id or caller.tenant_id
    if caller.tenant.tenant_id not in {None, wanted}:
        raise OtherTenantError
    return wanted


def _workflow_group(group: Group) -> WorkflowGroup:
    return WorkflowGroup(workflow_name=group.name, jobs=group.jobs, oldest_seconds=seconds_since(group.oldest_at))
