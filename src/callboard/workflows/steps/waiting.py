"""What a step can wait for, and how a wait ends. Asked for through `StepContext.wait_for` (`steps/base.py`).

`steps/approval.py` and `steps/wait.py` wait; so does the engine, for back-offs that are worth parking.
`jobs/parking.py` keeps waits in the database, so that a run that only waits holds no worker.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from callboard.core.clock import to_iso
from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.definition import ErrorMode


class WaitKind(StrEnum):
    """What ends a wait, apart from its time."""

    APPROVAL = "approval"  # answers of people
    EVENT = "event"  # a signal by its name
    TIMER = "timer"  # its time alone
    BACK_OFF = "back_off"  # the time before a step is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What a step waits for. Its time is up after `seconds`, counted from when it was first asked for, or `until`.

    `name` is an event's; `title`, `instructions`, `form_schema` (JSON Schema of an answer) and
    `required_answers` are an approval's. `step_id` is the step that waits.
    """

    kind: WaitKind
    step_id: str
    seconds: float | None = None
    until: datetime | None = None
    name: str | None = None
    title: str = ""
    instructions: str = ""
    form_schema: Mapping[str, Any] | None = None
    required_answers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one person answered to an approval."""

    value: JsonValue
    answered_by: str
    answered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitEnd:
    """How a wait ended: in time (`answers` in their order, or a signal's `payload`), or because its time was up."""

    ended_at: datetime
    is_timed_out: bool = False
    answers: tuple[Answer, ...] = ()
    payload: JsonValue = None


def seconds_of(wait: Wait, now: datetime) -> float:
    """Return the seconds after which `wait`, asked for at `now`, ends by itself; infinity where it does not."""
    if wait.until is not None:
        return max(0.0, (wait.until - now).total_seconds())
    return math.inf if wait.seconds is None else wait.seconds


def describe_wait(wait: Wait) -> str:
    """Return what a step waits for, in a few words.

    >>> describe_wait(Wait(kind=WaitKind.TIMER, step_id="nap", seconds=3600))
    'waits 3,600 s'
    """
    if wait.kind is WaitKind.APPROVAL:
        count = wait.required_answers
        return "waits for a person" if count == 1 else f"waits for {count} people"
    if wait.kind is WaitKind.EVENT:
        return f"waits for the signal {wait.name}"
    if wait.until is not None:
        return f"waits until {to_iso(wait.until)}"
    return f"waits {wait.seconds or 0:,g} s"


class WaitTimedOutError(PermanentError):
    """What the step waited for did not come in time."""

    code = "wait_timed_out"
    category = "timeout"

    def __init__(
        self, message: str, *, error_mode: ErrorMode | None = None, details: dict[str, Any] | None = None
    ) -> None:
        """`error_mode` is what `on_timeout` says; it wins over the step's own."""
        super().__init__(message, details=details)
        self.error_mode = error_mode
