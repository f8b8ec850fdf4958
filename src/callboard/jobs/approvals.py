"""The rules of approvals: who is asked, and taking each answer once. Called by `jobs/people_router.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from callboard.accounts.caller import Caller
from callboard.core.clock import to_iso
from callboard.core.database import Database
from callboard.core.errors import Finding, ForbiddenError
from callboard.core.ids import JobId
from callboard.core.json_values import JsonValue, dumps, find_unstorable, loads
from callboard.core.pagination import Page, PageRequest
from callboard.jobs.errors import (
    AnsweredTwiceError,
    ApprovalAmbiguousError,
    ApprovalEndedError,
    ApprovalLateError,
    ApprovalNotFoundError,
    InvalidAnswerError,
)
from callboard.jobs.models import JobWait
from callboard.jobs.repository.jobs import JobRepository
from callboard.jobs.repository.waits import WaitStatus
from callboard.jobs.repository.wakings import (
    Answered,
    AnswerOutcome,
    OpenApproval,
    answer_wait,
    find_approval,
    list_approvals,
    list_approvals_of,
)
from callboard.jobs.rousing import Rousing
from callboard.workflows.json_schemas import JsonSchema


@dataclass(frozen=True, slots=True)
class AnswerTaken:
    """An answer that was taken, and how many people still have to answer."""

    wait: JobWait
    answered_by: str
    still_wanted: int


class ApprovalService:
    """What people may do with approvals, within their tenant and user."""

    def __init__(self, database: Database, rousing: Rousing) -> None:
        self._database = database
        self._rousing = rousing

    async def list_open(self, caller: Caller, page: PageRequest, *, user_id: str | None) -> Page[OpenApproval]:
        """Return a page of open approvals, the oldest first: the inbox."""
        async with self._database.reads() as session:
            return await list_approvals(session, caller.tenant, page, user_id=caller.acting_for(user_id))

    async def list_of_job(self, caller: Caller, job_id: UUID, *, user_id: str | None) -> Sequence[OpenApproval]:
        """Return every approval of a job, open or not, the oldest first. Raises: JobNotFoundError."""
        async with self._database.reads() as session:
            await JobRepository(session, caller.tenant).find_of_user(job_id, caller.acting_for(user_id))
            return await list_approvals_of(session, job_id)

    async def answer(
        self,
        caller: Caller,
        job_id: UUID,
        name: str,
        answer: JsonValue,
        *,
        answered_by: str | None,
        user_id: str | None,
    ) -> AnswerTaken:
        """Take an answer to the approval `name` (its id, or its step's): once from each person.

        Raises: JobNotFoundError, ApprovalNotFoundError; ApprovalAmbiguousError, ApprovalEndedError,
        ApprovalLateError, AnsweredTwiceError; InvalidAnswerError, with every error at once; ForbiddenError.
        """
        person = _person(caller, answered_by)
        wait = await self._find(caller, job_id, name, user_id)
        _refuse_unfit(wait, answer)
        answered = await answer_wait(
            self._database, JobId(job_id), wait.id, answered_by=person, answer_json=dumps(answer)
        )
        _refuse_untaken(answered, wait, person)
        if not answered.still_wanted:
            self._rousing.rouse(job_id, was=answered.job_status)
        return AnswerTaken(wait, person, answered.still_wanted)

    async def _find(self, caller: Caller, job_id: UUID, name: str, user_id: str | None) -> JobWait:
        async with self._database.reads() as session:
            await JobRepository(session, caller.tenant).find_of_user(job_id, caller.acting_for(user_id))
            found = await find_approval(session, caller.tenant, job_id, name)
        if not found:
            raise ApprovalNotFoundError(f'Job {job_id} asks nobody by the name "{name[:60]}"; see its /approvals.')
        still_open = [wait for wait in found if wait.status == WaitStatus.OPEN]
        if len(still_open) > 1:
            ids = ", ".join(f"{wait.id} ({wait.path})" for wait in still_open[:10])
            raise ApprovalAmbiguousError(
                f'Several approvals of the step "{name}" are open; answer one by its id: {ids}'
            )
        return still_open[0] if still_open else found[0]


def _person(caller: Caller, answered_by: str | None) -> str:
    """Return who answers: the key's user; for a service, whom it names, else the key itself."""
    if caller.user_id is None:
        return answered_by or f"key:{caller.key_id}"
    if answered_by not in (None, caller.user_id):
        raise ForbiddenError(f"This key is bound to the user {caller.user_id}; it cannot answer for another.")
    return caller.user_id


def _refuse_unfit(wait: JobWait, answer: JsonValue) -> None:
    reason = find_unstorable(answer, "/body/answer")
    if reason is not None:
        pointer, _, message = reason.partition(": ")
        raise InvalidAnswerError(f"The answer cannot be stored: {reason}.", errors=[Finding(pointer, message)])
    if wait.form_schema is None:
        return
    findings = JsonSchema(loads(wait.form_schema)).check(answer)
    if findings:
        errors = [Finding(f"/body/answer{each.pointer}", each.message, each.code) for each in findings]
        raise InvalidAnswerError(
            f'The answer does not fit the form of "{wait.step_id}": {errors[0].pointer}: {errors[0].message}',
            errors=errors,
        )


def _refuse_untaken(answered: Answered, wait: JobWait, person: str) -> None:
    match answered.outcome:
        case AnswerOutcome.ALREADY_ENDED:
            when = "" if wait.ended_at is None else f" at {to_iso(wait.ended_at)}"
            what = "was answered" if wait.status in {WaitStatus.OPEN, WaitStatus.ANSWERED} else f"is {wait.status}"
            raise ApprovalEndedError(f'The approval of "{wait.step_id}" {what}{when}; nothing was changed.')
        case AnswerOutcome.LATE:
            assert wait.wake_at is not None
            raise ApprovalLateError(
                f'The time of the approval of "{wait.step_id}" was up at {to_iso(wait.wake_at)}; nothing was changed.'
            )
        case AnswerOutcome.TWICE:
            raise AnsweredTwiceError(
                f'{person} has answered the approval of "{wait.step_id}"; '
                f"it wants answers of {wait.required_answers} people."
            )
        case AnswerOutcome.TAKEN:
            return
