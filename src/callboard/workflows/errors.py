"""The errors of workflows: of files that cannot be used, and of steps and runs that fail.

Raised below `callboard.workflows`; `core.problems` turns the first group into answers, the engine
journals the second. What cannot be compiled is a `ValueError` here: the compiler catches it and makes
a finding with a pointer of it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from callboard.core.errors import CallboardError, Finding, NotFoundError, PermanentError, StepError, UnprocessableError
from callboard.workflows.findings import SourcePlace, WorkflowFinding, suggest


class InvalidWorkflowError(UnprocessableError):
    """The workflow's definition is not valid.

    `findings` holds every error and warning at once.
    """

    code = "invalid_workflow"

    def __init__(self, findings: Sequence[WorkflowFinding], *, name: str | None = None) -> None:
        self.findings = tuple(findings)
        self.name = name
        faults = [finding for finding in self.findings if finding.is_error]
        subject = f'The workflow "{name}"' if name else "The workflow"
        count = "1 error" if len(faults) == 1 else f"{len(faults)} errors"
        first = f" {'It is' if len(faults) == 1 else 'The first'}: {faults[0].describe()}" if faults else ""
        super().__init__(
            f"{subject} is not valid: {count}.{first}",
            errors=[
                Finding(
                    pointer=fault.pointer,
                    message=fault.describe(),
                    code=fault.code,
                    severity=fault.severity.value,
                    file=fault.file,
                    line=fault.line,
                    column=fault.column,
                )
                for fault in faults
            ],
        )


class WorkflowNotFoundError(NotFoundError):
    """There is no workflow of that name."""

    code = "workflow_not_found"

    def __init__(self, name: str, *, known: Iterable[str] = ()) -> None:
        self.name = name
        hint = suggest(name, known, what="Known workflows:") or " No workflow is loaded; see WORKFLOWS_DIR."
        super().__init__(f'There is no workflow "{name[:100]}".{hint}')


class NotCompilableError(ValueError):
    """Text in a definition or prompt that cannot be compiled. `position` counts characters from 0."""

    code = "invalid"

    def __init__(self, message: str, *, position: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        if code is not None:
            self.code = code


class UnusableWorkflowError(NotCompilableError):
    """The workflow that a step names cannot be run by it."""

    code = "unknown_workflow"

    @classmethod
    def unknown(cls, name: str, *, known: Iterable[str]) -> "UnusableWorkflowError":
        """Return the error that there is no workflow `name`, with the nearest of `known`."""
        hint = suggest(name, known, what="Known workflows:")
        return cls(f'There is no workflow "{name[:100]}".{hint}')

    @classmethod
    def recursion(cls, chain: Sequence[str]) -> "UnusableWorkflowError":
        """Return the error that the first of `chain` would run itself; it is the last, too."""
        message = f"A workflow cannot run itself, nor through others: {' -> '.join(chain)}."
        return cls(message, code="workflow_recursion")

    @classmethod
    def too_deep(cls, chain: Sequence[str], *, limit: int) -> "UnusableWorkflowError":
        """Return the error that `chain` leads further down than `limit`."""
        message = f"Workflows run others at most {limit} deep, and this goes on: {' -> '.join(chain)}."
        return cls(message, code="workflow_too_deep")


class InvalidReferenceError(NotCompilableError):
    """A `${...}` that cannot be read."""

    code = "invalid_reference"


class InvalidConditionError(NotCompilableError):
    """A condition or expression that cannot be compiled. `faults` are this one and all others of the text."""

    code = "invalid_condition"

    def __init__(self, message: str, *, position: int | None = None, code: str | None = None) -> None:
        super().__init__(message, position=position, code=code)
        self.faults: tuple[InvalidConditionError, ...] = (self,)


class InvalidPromptError(NotCompilableError):
    """A prompt file that is missing, or whose includes or references cannot be read.

    `file` is the one at fault and `place` where in it. `faults` are this one and all others of the prompt.
    """

    code = "invalid_prompt"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        position: int | None = None,
        code: str | None = None,
        place: SourcePlace | None = None,
    ) -> None:
        super().__init__(message, position=position, code=code)
        self.file = file
        self.place = place
        self.faults: tuple[InvalidPromptError, ...] = (self,)


class UnresolvedReferenceError(PermanentError):
    """A reference leads to nothing."""

    code = "unresolved_reference"
    category = "workflow"


class ConditionError(PermanentError):
    """A condition or expression could not be evaluated."""

    code = "condition_failed"
    category = "workflow"


class PromptError(PermanentError):
    """A prompt could not be rendered."""

    code = "prompt_failed"
    category = "workflow"


def error_of_run(error: CallboardError) -> dict[str, Any]:
    """Return `error` as the error of a run that no single step ended: {type, category, message, retryable, step_id,
    details}, as it stands in the job."""
    return {
        "type": error.code,
        "category": error.category if isinstance(error, StepError) else "workflow",
        "message": error.message,
        "retryable": error.retryable,
        "step_id": None,
        "details": error.details if isinstance(error, StepError) else {},
    }


class RunFailedError(CallboardError):
    """The run ended in failure.

    `error` = {type, category, message, retryable, step_id, details}, as it stands in the job.
    """

    code = "run_failed"

    def __init__(self, error: dict[str, Any]) -> None:
        self.error = error
        super().__init__(str(error.get("message") or "The run failed."))
