"""Serves a run from kept answers alone: each call by its request, or by the step that makes it.

Made for `callboard run --replay` and for each recorded test; the run's `recording.CurrentCall` asks it. It
serves one run: an answer that was given comes again only when no other is left for that call.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from callboard.core.json_differences import Difference, find_differences
from callboard.core.json_values import JsonValue
from callboard.core.replay import RecordedAnswer, hash_request

Match: TypeAlias = Literal["request", "step"]

MAX_DIFFERENCES = 5  # of a request that was not recorded
_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybackAnswer:
    """What a call is given: a `response`, or an `error` to fail with.

    `service` None: whichever the step calls. `step` None: found by its `request` alone; otherwise
    a call (`path#n`), a path, or the id of a step. `request` None: whatever that step asks.
    """

    service: str | None
    step: str | None = None
    request: Mapping[str, Any] | None = None
    response: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


class MissedCallError(LookupError):
    """No answer was kept for a call. `details` is JSON; the message has several lines."""

    def __init__(self, message: str, *, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Playback:
    """The answers of one run.

    `match` "request": an answer that has a request serves exactly that request. "step": where no answer has
    the request, one for the same step serves, and `changed` tells of it. `way_out` says, for the path of a
    step, how to come by its answer.
    """

    def __init__(self, answers: Sequence[PlaybackAnswer], *, match: Match, way_out: Callable[[str], str]) -> None:
        self._answers = answers
        self._match = match
        self._way_out = way_out
        self._hashes = [_hash_of(answer) for answer in answers]
        self._used: set[int] = set()
        self.changed: dict[str, list[Difference]] = {}

    def take(self, service: str, request: Mapping[str, Any], *, call: str) -> PlaybackAnswer:
        """Return the answer to `request`, made by `call` (`path#n`). Raises: MissedCallError."""
        found = self._find_by_request(service, request, call)
        if found is None:
            found = self._find_by_step(service, call)
            kept = None if found is None else self._answers[found].request
            if kept is not None:
                self.changed[call] = _differences(kept, request)
        if found is None:
            raise self._miss(service, request, call)
        self._used.add(found)
        return self._answers[found]

    def _find_by_request(self, service: str, request: Mapping[str, Any], call: str) -> int | None:
        hashed = hash_request(service, request)
        same = [index for index, known in enumerate(self._hashes) if known == hashed]
        own = [index for index in same if self._answers[index].step == call]
        for group in (own, same):
            unused = [index for index in group if index not in self._used]
            if unused:
                return unused[0]
        repeated = own or same
        return repeated[-1] if repeated else None

    def _find_by_step(self, service: str, call: str) -> int | None:
        serving = [
            index
            for index, answer in enumerate(self._answers)
            if _is_of(answer, service) and (answer.request is None or self._match == "step")
        ]
        for name in _names_of(call):
            group = [index for index in serving if self._answers[index].step == name]
            if group:
                return next((index for index in group if index not in self._used), group[-1])
        return None

    def _miss(self, service: str, request: Mapping[str, Any], call: str) -> MissedCallError:
        path = call.rpartition("#")[0]
        lines = [f"There is no recorded answer for the {service} call of step {path} ({call})."]
        near = self._nearest(service, request, call)
        differences = [] if near is None else near[1]
        if near is not None:
            whose = "the one recorded for it" if near[0] == call else "the nearest recorded one"
            lines.append(f"Its request differs from {whose}:")
            lines += [line for each in differences[:MAX_DIFFERENCES] for line in each.describe()]
        lines.append(self._way_out(path))
        places = [each.pointer for each in differences]
        return MissedCallError("\n".join(lines), details={"call": call, "service": service, "differing": places})

    def _nearest(
        self, service: str, request: Mapping[str, Any], call: str
    ) -> tuple[str | None, list[Difference]] | None:
        """Return the step of the recorded request most like `request`, its own before others, and how they differ."""
        compared = [
            (answer.step, _differences(answer.request, request))
            for answer in self._answers
            if answer.service == service and answer.request is not None
        ]
        return min(compared, key=lambda each: (each[0] != call, len(each[1])), default=None)


def answers_of(recorded: Sequence[RecordedAnswer]) -> list[PlaybackAnswer]:
    """Return the answers of a replay file as a run is given them."""
    return [
        PlaybackAnswer(
            service=each.service, step=each.step, request=each.request, response=each.response, error=each.error
        )
        for each in recorded
    ]


def _names_of(call: str) -> list[str]:
    """Return the names that an answer may have `call` by, the most exact first.

    >>> _names_of("each[0]/draft#1")
    ['each[0]/draft#1', 'each[0]/draft', 'each/draft', 'draft']
    """
    path = call.rpartition("#")[0]
    return [call, path, _INDEX.sub("", path), path.rpartition("/")[2]]


def _is_of(answer: PlaybackAnswer, service: str) -> bool:
    return answer.service in {service, None}


def _hash_of(answer: PlaybackAnswer) -> str | None:
    if answer.request is None or answer.service is None:
        return None
    return hash_request(answer.service, answer.request)


def _differences(kept: Mapping[str, Any], asked: Mapping[str, Any]) -> list[Difference]:
    return list(find_differences(_without_nulls(kept), _without_nulls(asked)))


def _without_nulls(value: JsonValue) -> JsonValue:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value
