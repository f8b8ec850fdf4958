"""The roots of every error that Callboard raises on purpose.

A domain's `errors.py` derives its own from these. Routers never build an answer from an error:
`core.problems` turns `code`, `status` and the attributes below into a problem document. The engine
decides whether to try again by type alone: `TemporaryError` or `PermanentError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with an input, and where: `pointer` is a JSON pointer ("" = the whole).

    What is wrong with a file has `file`, `line` and `column` (from 1) and `severity` (error, warning) too.
    """

    pointer: str
    message: str
    code: str = "invalid"
    severity: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None


class CallboardError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, errors: Sequence[Finding] = ()) -> None:
        self.message = message or " ".join((type(self).__doc__ or "").split())
        self.errors = tuple(errors)
        super().__init__(self.message)


class BadRequestError(CallboardError):
    """The request cannot be read."""

    code = "bad_request"
    status = 400


class UnauthenticatedError(CallboardError):
    """Send a valid API key in the X-API-Key header."""

    code = "unauthenticated"
    status = 401


class ForbiddenError(CallboardError):
    """This key may not do that."""

    code = "forbidden"
    status = 403


class NotFoundError(CallboardError):
    """There is nothing here by that name."""

    code = "not_found"
    status = 404


class ConflictError(CallboardError):
    """That is not possible in the state the thing is in."""

    code = "conflict"
    status = 409


class UnprocessableError(CallboardError):
    """The request was understood, but what it says is not valid."""

    code = "validation_error"
    status = 422


class ServiceUnavailableError(CallboardError):
    """A part that this needs is away; try again soon."""

    code = "service_unavailable"
    status = 503
    retryable = True

    def __init__(self, message: str | None = None, *, retry_after_seconds: int = 5) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StepError(CallboardError):
    """A step failed. Raised only as one of the two below.

    `category` says whose matter it is: input, workflow, provider, service, timeout, cost, internal.
    `details` is JSON that a caller sees in the job's `error.details`; no secret enters it.
    `is_unpaid` says that nothing can be charged for the call that failed so: it was not made, or was refused.
    """

    code = "step_failed"
    category: ClassVar[str] = "internal"
    is_unpaid: bool = False

    def __init__(self, message: str | None = None, *, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.details: dict[str, Any] = details or {}


class TemporaryError(StepError):
    """The step may succeed when it is tried again."""

    retryable = True

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_seconds: float | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, details=details)
        self.retry_after_seconds = retry_after_seconds


class PermanentError(StepError):
    """The step would fail in the same way again."""
