"""What the routers of jobs are given: the services that `main.py` put into the application."""

import base64
import binascii
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from callboard.core.clock import as_utc
from callboard.core.errors import Finding
from callboard.core.pagination import InvalidCursorError
from callboard.jobs.erasure import ErasureService
from callboard.jobs.housekeeping import HousekeepingService
from callboard.jobs.overview import OverviewService
from callboard.jobs.service import JobService
from callboard.jobs.step_lists import StepCursor


def job_service(request: Request) -> JobService:
    """Return the process's JobService."""
    service: JobService = request.app.state.jobs
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


Jobs = Annotated[JobService, Depends(job_service)]
Housekeeping = Annotated[HousekeepingService, Depends(housekeeping_service)]
Erasures = Annotated[ErasureService, Depends(erasure_service)]
Overview = Annotated[OverviewService, Depends(overview_service)]


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
