"""What can go wrong between a caller and a Callboard server. Raised by `client.py` and `watching.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UNEXPECTED_ANSWER = "unexpected_answer"  # our own code for an answer that no Callboard gives


@dataclass(frozen=True, slots=True)
class ProblemPart:
    """One thing that is wrong with the request; `pointer` is a JSON pointer into it ("" = the whole)."""

    pointer: str
    message: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An RFC 9457 problem document. `document` is the answer as it came, for callers that pass it on."""

    status: int
    title: str
    detail: str = ""
    code: str = ""
    request_id: str = ""
    errors: tuple[ProblemPart, ...] = ()
    retry_after_seconds: float | None = None
    document: Mapping[str, Any] = field(default_factory=dict)


class CallboardClientError(Exception):
    """The root of what this client raises."""


class CallboardApiError(CallboardClientError):
    """The server answered with an error; `problem` says which."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        lines = [f"{problem.status} {problem.title}" + (f": {problem.detail}" if problem.detail else "")]
        lines += [f"  {part.pointer or '/'}: {part.message}" for part in problem.errors]
        super().__init__("\n".join(lines))

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def is_temporary(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self.problem.status in {429, 503}


class ServerAwayError(CallboardClientError):
    """Nothing answered at the URL, or the connection broke before the answer was whole."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(f"No answer from {url}: {reason}")


class WaitTimeoutError(CallboardClientError):
    """The job had not ended when the caller's time was up; it runs on."""

    def __init__(self, job_id: str, status: str, timeout_seconds: float) -> None:
        self.job_id = job_id
        self.status = status
        super().__init__(f"Job {job_id} is still {status} after {timeout_seconds:g} s; it runs on.")


def read_problem(status: int, body: Any, *, request_id: str, retry_after: str | None) -> Problem:
    """Return the problem that an error answer states; any body, also none, gives a usable one."""
    document = body if isinstance(body, dict) else {}
    return Problem(
        status=status,
        title=_text(document.get("title")) or f"HTTP {status}",
        detail=_text(document.get("detail")) or _text(document.get("message")),
        code=_text(document.get("error")),
        request_id=_text(document.get("request_id")) or request_id,
        errors=_read_parts(document.get("errors")),
        retry_after_seconds=float(retry_after) if retry_after is not None and retry_after.isdigit() else None,
        document=document or {"title": f"HTTP {status}", "status": status, "request_id": request_id or None},
    )


def unexpected_answer(status: int, url: str, what: str) -> CallboardApiError:
    """Return the error for an answer that no Callboard server gives: another program may listen there."""
    title, detail = "The answer is not Callboard's", f"{url} answered {status} with {what}. Is the URL right?"
    document = {"title": title, "status": status, "detail": detail, "error": UNEXPECTED_ANSWER}
    return CallboardApiError(
        Problem(status=status, title=title, detail=detail, code=UNEXPECTED_ANSWER, document=document)
    )


def _read_parts(value: Any) -> tuple[ProblemPart, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(
        ProblemPart(_text(item.get("pointer")), _text(item.get("message")), _text(item.get("code")))
        for item in value
        if isinstance(item, dict)
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
