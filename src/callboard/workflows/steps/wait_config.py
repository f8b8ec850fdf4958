"""What the `config` of approval and wait steps may hold. Called by `steps/approval.py` and `steps/wait.py`."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints

from callboard.workflows.config_rules import RuledConfig
from callboard.workflows.definition import ErrorMode
from callboard.workflows.shape_faults import PATTERN_RULES

MAX_WAIT_SECONDS = 366 * 24 * 3600
MAX_REQUIRED_ANSWERS = 100
EVENT_NAME_PATTERN = r"^[A-Za-z0-9_.:-]{1,100}$"

_REFERENCE_PATTERN = r"^\$\{.*\}$"
PATTERN_RULES |= {EVENT_NAME_PATTERN: "1 to 100 letters, digits, _ . : or -"}
_Reference: TypeAlias = Annotated[str, StringConstraints(pattern=_REFERENCE_PATTERN)]  # filled in when the step runs
_WaitSeconds: TypeAlias = Annotated[float, Field(gt=0, le=MAX_WAIT_SECONDS)]


class OnTimeout(StrEnum):
    """What becomes of a step when the time of its wait is up."""

    FAIL = "fail"
    CONTINUE = "continue"
    DEFAULT = "default"

    @property
    def error_mode(self) -> ErrorMode | None:
        """The error mode that this stands for; None leaves it to the step's own."""
        return None if self is OnTimeout.FAIL else ErrorMode(self)


_TIMEOUT = Field(None, description="Seconds after which its time is up, from when it is first asked; none: never.")
_ON_TIMEOUT = Field(
    OnTimeout.FAIL,
    strict=False,
    description="What becomes of the step then: fail (its error_mode acts), continue (null), default (default_value).",
)


class ApprovalConfig(RuledConfig):
    """What a person is asked, and for how long."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: str = Field("", description="What is to be decided, in a line; the step's display_name, if left out.")
    instructions: str = Field("", description="What whoever decides should know; Markdown.")
    form_schema: dict[str, Any] | None = Field(None, description="JSON Schema of an answer; none takes any JSON.")
    required_answers: int = Field(
        1, ge=1, le=MAX_REQUIRED_ANSWERS, description="How many people have to answer, each once."
    )
    timeout_seconds: _WaitSeconds | _Reference | None = _TIMEOUT
    on_timeout: OnTimeout = _ON_TIMEOUT

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield where there is something to do at a time-out that never comes."""
        if given.get("on_timeout") in {"continue", "default"} and given.get("timeout_seconds") is None:
            yield "on_timeout", "It never times out: give timeout_seconds, too."


class WaitConfig(RuledConfig):
    """`seconds`, or `until` a moment, or an `event`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("seconds", "until", "event")]},
    )

    seconds: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] | _Reference | None = Field(
        None, description="How long to wait."
    )
    until: str | None = Field(None, description="An ISO 8601 time; without an offset it is UTC. One in the past: now.")
    event: str | None = Field(
        None, description="The name of a signal, which POST /jobs/{id}/signals/{name} delivers, also before the wait."
    )
    timeout_seconds: _WaitSeconds | _Reference | None = _TIMEOUT
    on_timeout: OnTimeout = _ON_TIMEOUT

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield where there is not exactly one thing to wait for, and time-outs of what has none."""
        named = [name for name in ("seconds", "until", "event") if given.get(name) is not None]
        if not named:
            yield "", 'Say what to wait for: "seconds", "until" (an ISO time) or "event" (the name of a signal).'
        for name in named[1:]:
            yield name, f'Wait for one thing: "{named[0]}" or "{name}", not both.'
        if "event" not in named and named:
            for name in ("timeout_seconds", "on_timeout"):
                if given.get(name) is not None:
                    yield name, f'"{name}" goes with "event"; a wait for a time ends by itself.'
        elif given.get("on_timeout") in {"continue", "default"} and given.get("timeout_seconds") is None:
            yield "on_timeout", "It never times out: give timeout_seconds, too."
