"""What the job routers are given: the services that `main.py` put into the application, and common parameters."""

import base64
import binascii
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request

from callboard.accounts.auth import require
from callboard.accounts.caller import Caller
from callboard.core.clock import as_utc
from callboard.core.errors import Finding
from callboard.core.pagination import MAX_LIMIT, MAX_OFFSET, InvalidCursorError
from callboard.core.storable_text import StorableText
from callboard.jobs.approvals import ApprovalService
from callboard.jobs.erasure import ErasureService
from callboard.jobs.housekeeping import HousekeepingService
from callboard.jobs.overview import OverviewService
from callboard.jobs.reruns import RerunService
from callboard.jobs.service import JobService
from callboard.jobs.signals import SignalService
from callboard.jobs.spending import SpendingService
from callboard.jobs.step_lists import StepCursor


def job_service(request: Request) -> JobService:
    """Return the process's JobService."""
    service: JobService = request.app.state.jobs
    return service


def approval_service(request: Request) -> ApprovalService:
    """Return the process's ApprovalService."""
    service: ApprovalService = request.app.state.approvals
    return service


def signal_service(request: Request) -> SignalService:
    """Return the process's SignalService."""
    service: SignalService = request.app.state.signals
    return service


def rerun_service(request: Request) -> RerunService:
    """Return the process's RerunService."""
    service: RerunService = request.app.state.reruns
    return service


def housekeeping_service(request: Request) -> HousekeepingService:
    """Return the process's HousekeepingService."""
    service: HousekeepingService = request.app.state.housekeeping
    return service


def erasure_service(request: Request) -> ErasureService:
    """Return the process's ErasureService."""
    service: ErasureService = request.app.state.erasures
    return service


def overview_service(request: Request) -> OverviewService:
    """Return the process's OverviewService."""
    service: OverviewService = request.app.state.overview
    return service


def spending_service(request: Request) -> SpendingService:
    """Return the process's SpendingService."""
    service: SpendingService = request.app.state.spending
    return service


Jobs = Annotated[JobService, Depends(job_service)]
Approvals = Annotated[ApprovalService, Depends(approval_service)]
Signals = Annotated[SignalService, Depends(signal_service)]
Reruns = Annotated[RerunService, Depends(rerun_service)]

Reader = Annotated[Caller, Depends(require("jobs:read"))]
Writer = Annotated[Caller, Depends(require("jobs:write"))]
JobId = Annotated[UUID, Path(description="The `job_id` of the answer to the submit.")]
UserId = Annotated[StorableText | None, Query(max_length=255, description="Only this user's jobs; others answer 404.")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Entries on a page.")]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before.")]
Offset = Annotated[
    int, Query(ge=0, le=MAX_OFFSET, description="Entries to skip, for older clients; a cursor is better.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key and body gives the first answer again, for 24 hours.",
    ),
]
Housekeeping = Annotated[HousekeepingService, Depends(housekeeping_service)]
Erasures = Annotated[ErasureService, Depends(erasure_service)]
Overview = Annotated[OverviewService, Depends(overview_service)]
Spending = Annotated[SpendingService, Depends(spending_service)]


def encode_step_cursor(started_at: datetime, path: str) -> str:
    """Return the cursor that goes on after this step."""
    return base64.urlsafe_b64encode(f"{started_at.isoformat()} {path}".encode()).decode()


def decode_step_cursor(cursor: str | None) -> StepCursor | None:
    """Return the step that `cursor` goes on after. Raises: InvalidCursorError."""
    if cursor is None:
        return None
    try:
        started_at, _, path = base64.b64decode(cursor, altchars=b"-_", validate=True).decode().partition(" ")
        moment = as_utc(datetime.fromisoformat(started_at))
    except (binascii.Error, ValueError) as error:
        raise InvalidCursorError(errors=[Finding("/query/cursor", "is no cursor of this list")]) from error
    if "\x00" in path:
        raise InvalidCursorError(errors=[Finding("/query/cursor", "is no cursor of this list")])
    return StepCursor(moment, path)
