"""What the job router is given: the service that `main.py` put into the application."""

import base64
import binascii
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from callboard.core.clock import as_utc
from callboard.core.errors import Finding
from callboard.core.pagination import InvalidCursorError
from callboard.jobs.service import JobService
from callboard.jobs.spending import SpendingService
from callboard.jobs.step_lists import StepCursor


def job_service(request: Request) -> JobService:
    """Return the process's JobService."""
    service: JobService = request.app.state.jobs
    return service


def spending_service(request: Request) -> SpendingService:
    """Return the process's SpendingService."""
    service: SpendingService = request.app.state.spending
    return service


Jobs = Annotated[JobService, Depends(job_service)]
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
