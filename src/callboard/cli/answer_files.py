"""Reads what people answer and which signals come, written ahead in a file. Called by `run --answers`."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError
from callboard.cli.inputs import read_input
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.local_waits import WrittenWaits
from callboard.workflows.recorded_test_runs import unknown_steps
from callboard.workflows.shape_faults import findings_of

ANSWERS_SUFFIX = ".answers.json"  # beside the sample inputs


class AnswerFile(BaseModel):
    """A file for `--answers`: the two fields mean what they mean in a recorded test."""

    model_config = ConfigDict(extra="forbid")

    people: dict[str, Any] = Field(default_factory=dict)
    signals: dict[str, list[Any]] = Field(default_factory=dict)


def read_answers(path: Path) -> WrittenWaits:
    """Return what the file at `path` says. Raises: CommandError."""
    raw = read_input(str(path))
    try:
        parsed = AnswerFile.model_validate(raw)
    except ValidationError as error:
        told = "; ".join(f.message.rstrip(".") for f in findings_of(error, raw, model=AnswerFile, pointer=""))
        message = f'{path}: {told}. {{"people": {{"STEP": ...}}, "signals": {{"NAME": [...]}}}} is wanted.'
        raise _unusable(message) from error
    return WrittenWaits(parsed.people, parsed.signals)


def check_names(path: Path, written: WrittenWaits, workflow: CompiledWorkflow) -> None:
    """Raises: CommandError, naming the first step that `workflow` does not have."""
    for message in unknown_steps(written.people, workflow):
        raise _unusable(f"{path}: {message}")


def _unusable(message: str) -> CommandError:
    return CommandError(message, exit_code=ExitCode.USAGE, title="The answers cannot be used")
