"""Which call of a run in memory is under way: what it asks is kept, or served from what was kept.

`workflows/local_runs.py` says by `calling` which call of which step comes now; `llm/recording.py` and
`integrations/recording.py` ask `current_call` before they call anybody. A server's jobs have no current
call: there every call is made, and nothing is kept here.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from callboard.core.errors import PermanentError, StepError, TemporaryError
from callboard.core.playback import Playback, PlaybackAnswer


@dataclass(slots=True)
class Recorder:
    """The answers of one run as they came, each in the form of a replay file's entry."""

    answers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """Where a run's answers are kept, and where they come from. Without a `playback` calls are made."""

    recorder: Recorder | None = None
    playback: Playback | None = None


class CurrentCall:
    """One call of a run, by its name `path#n`."""

    def __init__(self, tape: Tape, name: str) -> None:
        self._tape = tape
        self._name = name
        self._asked: dict[str, Any] = {}

    @property
    def is_played(self) -> bool:
        """Whether the answer is one that was kept: then nobody is called."""
        return self._tape.playback is not None

    def ask(self, service: str, request: Mapping[str, Any]) -> PlaybackAnswer | None:
        """Return the kept answer to `request`, or None when the call is to be made.

        Raises: MissedCallError, when there should be one and is none.
        """
        playback = self._tape.playback
        answer = None if playback is None else playback.take(service, request, call=self._name)
        self._asked = {"service": service, "step": self._name, "request": dict(request)}
        return answer

    def keep(self, response: Mapping[str, Any]) -> None:
        """Keep the answer to what was asked."""
        self._record(response=dict(response))

    def fail(self, error: StepError) -> None:
        """Keep that what was asked ended in `error`: a replay goes as the run did."""
        self._record(
            error={
                "type": error.code,
                "category": error.category,
                "message": error.message,
                "retryable": isinstance(error, TemporaryError),
                "retry_after_seconds": error.retry_after_seconds if isinstance(error, TemporaryError) else None,
                "details": error.details,
            }
        )

    def _record(self, **outcome: dict[str, Any]) -> None:
        if self._tape.recorder is not None and self._asked:
            self._tape.recorder.answers.append({**self._asked, **outcome})
            self._asked = {}


_current: ContextVar[CurrentCall | None] = ContextVar("current_call", default=None)


def current_call() -> CurrentCall | None:
    """Return the call that is under way in this task, if it is one of a run in memory."""
    return _current.get()


@contextmanager
def calling(tape: Tape, name: str) -> Iterator[CurrentCall]:
    """Make `name` the current call while the block lasts. What fails in it is kept as that call's end."""
    call = CurrentCall(tape, name)
    token = _current.set(call)
    try:
        yield call
    except StepError as error:
        call.fail(error)
        raise
    finally:
        _current.reset(token)


def recorded_failure(recorded: Mapping[str, Any], *, bases: tuple[type[StepError], ...] = ()) -> StepError:
    """Return the error that a call ended in when it was recorded, under the code that it had.

    `bases` are the classes that whoever called expects; worth a retry or not is added by what was recorded.
    """
    message, details = str(recorded.get("message") or "The call failed."), dict(recorded.get("details") or {})
    names = {
        "code": str(recorded.get("type") or StepError.code),
        "category": str(recorded.get("category") or StepError.category),
    }
    kind = TemporaryError if recorded.get("retryable") else PermanentError
    failure: StepError = type("RecordedFailure", (*bases, kind), names)(message, details=details)
    if isinstance(failure, TemporaryError):
        failure.retry_after_seconds = recorded.get("retry_after_seconds")
    return failure
