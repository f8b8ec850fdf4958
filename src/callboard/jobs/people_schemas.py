"""What requests and answers about approvals and signals look like."""

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from callboard.core.json_values import loads
from callboard.core.storable_text import StorableText
from callboard.jobs.models import JobAnswer
from callboard.jobs.repository.wakings import OpenApproval
from callboard.jobs.schemas import UtcTime

_JOB_ID = "019a9f3e-6f00-7000-8000-000000000001"
_APPROVAL_ID = "019a9f3e-6f00-7000-8000-00000000000a"
_APPROVAL_EXAMPLE: JsonDict = {
    "approval_id": _APPROVAL_ID,
    "job_id": _JOB_ID,
    "step_id": "review",
    "path": "review",
    "status": "open",
    "workflow_name": "newsletter",
    "run_name": None,
    "user_id": "user-17",
    "title": "May this go out?",
    "instructions": "Check names and dates.",
    "form_schema": {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}},
    "required_answers": 1,
    "answers": [],
    "opened_at": "2026-11-20T10:00:03Z",
    "expires_at": "2026-11-21T10:00:03Z",
    "ended_at": None,
}


class GivenAnswer(BaseModel):
    """What one person answered."""

    answer: Any
    answered_by: str
    answered_at: UtcTime

    @classmethod
    def of(cls, row: JobAnswer) -> "GivenAnswer":
        return cls(answer=loads(row.answer), answered_by=row.answered_by, answered_at=row.answered_at)


class ApprovalRead(BaseModel):
    """What people are asked by a job."""

    model_config = ConfigDict(json_schema_extra={"examples": [_APPROVAL_EXAMPLE]})

    approval_id: UUID
    job_id: UUID
    step_id: str
    path: str
    status: str = Field(description="open, answered, timed_out, or closed: nobody waits for it any more.")
    workflow_name: str
    run_name: str | None
    user_id: str | None
    title: str | None
    instructions: str | None
    form_schema: dict[str, Any] | None = Field(description="JSON Schema of an answer; null takes any JSON.")
    required_answers: int = Field(description="How many people have to answer.")
    answers: list[GivenAnswer]
    opened_at: UtcTime
    expires_at: UtcTime | None = Field(description="When its time is up; null: never.")
    ended_at: UtcTime | None

    @classmethod
    def of(cls, approval: OpenApproval) -> "ApprovalRead":
        wait = approval.wait
        return cls(
            approval_id=wait.id,
            job_id=wait.job_id,
            step_id=wait.step_id,
            path=wait.path,
            status=wait.status,
            workflow_name=approval.workflow_name,
            run_name=approval.run_name,
            user_id=approval.user_id,
            title=wait.title,
            instructions=wait.instructions,
            form_schema=None if wait.form_schema is None else loads(wait.form_schema),
            required_answers=wait.required_answers,
            answers=[GivenAnswer.of(row) for row in approval.answers],
            opened_at=wait.opened_at,
            expires_at=wait.wake_at,
            ended_at=wait.ended_at,
        )


class ApprovalPage(BaseModel):
    """One page of open approvals, the oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_APPROVAL_EXAMPLE], "next_cursor": None}]})

    items: list[ApprovalRead]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")


class ApprovalList(BaseModel):
    """Every approval of a job, the oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_APPROVAL_EXAMPLE]}]})

    items: list[ApprovalRead]


class AnswerCreate(BaseModel):
    """A person's answer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"answer": {"approved": True}}]})

    answer: Any = Field(description="JSON that fits the approval's `form_schema`.")
    answered_by: StorableText | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="Who answers, as your application calls them; for keys that are bound to a user, that user.",
    )


class AnswerRead(BaseModel):
    """The answer is stored."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"approval_id": _APPROVAL_ID, "job_id": _JOB_ID, "answered_by": "user-17", "still_wanted": 0}]
        }
    )

    approval_id: UUID
    job_id: UUID
    answered_by: str
    still_wanted: int = Field(description="How many people still have to answer; 0: the job goes on.")


class SignalCreate(BaseModel):
    """What a signal brings."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"payload": {"amount": 12.5}}]})

    payload: Any = Field(None, description="Any JSON; the step that takes the signal has it as `payload`.")


class SignalAccepted(BaseModel):
    """The signal is stored and will be taken by the step that waits for it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"job_id": _JOB_ID, "name": "paid"}]})

    job_id: UUID
    name: str
