"""What a list of a job's steps is made of, between `repository`, `schemas` and `dependencies`."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StepCursor:
    """The last step that a reader of the list has seen."""

    started_at: datetime
    path: str


@dataclass(frozen=True, slots=True)
class RunningStep:
    """A step that has begun and not ended."""

    path: str
    step_type: str
    started_at: datetime
