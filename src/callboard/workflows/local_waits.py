"""Ends what a run in memory waits for: times by sleeping, people and signals by what was written ahead.

`local_runs.py` asks; `callboard run` and recorded tests hand in what they have: written answers, and on a
terminal somebody to ask (`cli/keyboard.py`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from callboard.core import clock
from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.json_schemas import JsonSchema
from callboard.workflows.memory import LOCAL_TENANT, NobodyAnswersError
from callboard.workflows.step_paths import bare_path
from callboard.workflows.steps.waiting import Answer, Wait, WaitEnd, WaitKind, seconds_of

TIMED_OUT = {"$timed_out": True}  # in the place of an answer: the time is up before it comes
_USED_UP: Any = object()  # no JSON value

Sleep: TypeAlias = Callable[[float], Awaitable[None]]
WayOut: TypeAlias = Callable[[str, Wait], str]


class AnswerMisfitError(PermanentError):
    """An answer that was written ahead does not fit the form of its approval."""

    code = "invalid_answer"
    category = "workflow"


class Respondent(Protocol):
    """Somebody who can be asked while the run goes on."""

    async def ask(self, path: str, wait: Wait) -> JsonValue:
        """Return an answer that fits the form, or a signal's payload."""
        ...


@dataclass(frozen=True, slots=True)
class WrittenWaits:
    """What was written ahead. `people`: a step's id or path -> its answer, or a list of them, taken in turn.

    `signals`: a name -> the payloads in turn. An empty list, or one that is used up: it does not come.
    """

    people: Mapping[str, JsonValue] = field(default_factory=dict)
    signals: Mapping[str, Sequence[JsonValue]] = field(default_factory=dict)


class LocalWaits:
    """Ends the waits of one run. `way_out` says, for a wait that nobody ends, how to give an answer ahead.

    `unanswered` are the paths of waits that nobody could end, with the reason.
    """

    def __init__(
        self,
        written: WrittenWaits | None = None,
        *,
        respondent: Respondent | None = None,
        sleep: Sleep = asyncio.sleep,
        way_out: WayOut | None = None,
    ) -> None:
        self.unanswered: dict[str, str] = {}
        self._written = written or WrittenWaits()
        self._respondent = respondent
        self._sleep = sleep
        self._way_out = way_out
        self._taken: dict[str, int] = {}  # how many of a list have been used, by its key

    async def end(self, path: str, wait: Wait) -> WaitEnd:
        """Return how `wait` of the step instance at `path` ended.

        Raises: NobodyAnswersError; AnswerMisfitError, for a written answer that the form refuses.
        """
        if wait.kind is WaitKind.APPROVAL:
            return await self._approval(path, wait)
        if wait.kind is WaitKind.EVENT:
            return await self._event(path, wait)
        await self._sleep(seconds_of(wait, clock.now()))
        return _timed_out()

    async def _approval(self, path: str, wait: Wait) -> WaitEnd:
        answers: list[Answer] = []
        key = next((key for key in (path, bare_path(path), wait.step_id) if key in self._written.people), None)
        for number in range(wait.required_answers):
            if key is not None:
                value = self._next_of(key, self._written.people[key])
                if value == TIMED_OUT or value is _USED_UP:
                    return await self._time_out(path, wait, answers)
                _check(value, path, wait)
            elif self._respondent is not None:
                try:
                    value = await self._asked(self._respondent, path, wait)
                except TimeoutError:
                    return _timed_out(answers)
            else:
                raise self._nobody(path, wait)
            by = LOCAL_TENANT if wait.required_answers == 1 else f"{LOCAL_TENANT}-{number + 1}"
            answers.append(Answer(value=value, answered_by=by, answered_at=clock.now()))
        return WaitEnd(ended_at=clock.now(), answers=tuple(answers))

    async def _event(self, path: str, wait: Wait) -> WaitEnd:
        name = wait.name or ""
        if name in self._written.signals:
            payload = self._next_of(f"signal {name}", list(self._written.signals[name]))
            if payload is _USED_UP:
                return await self._time_out(path, wait, [])
        elif self._respondent is not None:
            try:
                payload = await self._asked(self._respondent, path, wait)
            except TimeoutError:
                return _timed_out()
        else:
            raise self._nobody(path, wait)
        return WaitEnd(ended_at=clock.now(), payload=payload)

    def _next_of(self, key: str, given: JsonValue) -> JsonValue:
        """Return the next of a list; what is no list serves every time."""
        if not isinstance(given, list):
            return given
        position = self._taken.get(key, 0)
        self._taken[key] = position + 1
        return given[position] if position < len(given) else _USED_UP

    async def _asked(self, respondent: Respondent, path: str, wait: Wait) -> JsonValue:
        async with asyncio.timeout(wait.seconds):
            return await respondent.ask(path, wait)

    async def _time_out(self, path: str, wait: Wait, answers: Sequence[Answer]) -> WaitEnd:
        if wait.seconds is None:
            raise self._nobody(path, wait)
        await self._sleep(wait.seconds)
        return _timed_out(answers)

    def _nobody(self, path: str, wait: Wait) -> NobodyAnswersError:
        what = f'the signal "{wait.name}"' if wait.kind is WaitKind.EVENT else "a person"
        reason = f"It waits for {what}, and nobody is here to end that."
        if self._way_out is not None:
            reason = f"{reason} {self._way_out(path, wait)}"
        self.unanswered[path] = reason
        return NobodyAnswersError(reason)


async def go_on_at_once(_: float) -> None:
    """Wait for nothing: a run that is played has nobody to spare."""
    await asyncio.sleep(0)


def _timed_out(answers: Sequence[Answer] = ()) -> WaitEnd:
    return WaitEnd(ended_at=clock.now(), is_timed_out=True, answers=tuple(answers))


def _check(value: JsonValue, path: str, wait: Wait) -> None:
    if wait.form_schema is None:
        return
    faults = JsonSchema(wait.form_schema).check(value)
    if faults:
        told = "; ".join(f"{fault.pointer or '/'} {fault.message}" for fault in faults)
        raise AnswerMisfitError(f"The answer written for {path} does not fit its form: {told}.")
