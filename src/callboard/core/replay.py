"""Answers of outside services that were kept in files, found again by the hash of the request.

The `replay` providers of `llm` and `integrations` serve from here when no key is set; `wiring.py` loads
the folder. A file `<name>.replay.json`, anywhere below the prompts folder, looks like this:

    {"workflow": "emergency_contacts", "origin": "where these answers come from",
     "answers": [{"service": "llm", "request": {...}, "response": {...}}]}

`callboard run --record` writes such files, with the `step` of each answer (`path#n`), what failed (`error` in
place of `response`) and the `defaults` that the run had. Files are read again when they change. A broken one
is a finding; the others still serve.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from callboard.core.json_values import JsonValue

PATTERN = "*.replay.json"
REFRESH_SECONDS = 1.0  # a look at the folder costs about 1 ms; a miss always looks again


class BrokenAnswersError(ValueError):
    """A replay file is not what it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAnswer:
    """One kept answer. `origin` says where it comes from, in the words of its file.

    `step` is the call that it answered, as `path#n`, where that is known. `error` is set where the call failed.
    """

    service: str
    request: Mapping[str, Any]
    response: Mapping[str, Any]
    workflow: str
    origin: str
    path: Path
    step: str | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One replay file.

    `defaults` = {provider, model, model_aliases} and `started_at` are those of the run, where the file has them.
    """

    workflow: str
    origin: str
    defaults: Mapping[str, Any] | None
    started_at: str | None
    answers: tuple[RecordedAnswer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenAnswers:
    """A replay file that cannot be used, and why."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NearMiss:
    """The recorded request that is most like one that was not found; `differing` are its top-level keys."""

    answer: RecordedAnswer
    differing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _LoadedFile:
    stamp: tuple[int, int]
    workflow: str | None
    answers: Mapping[str, RecordedAnswer]
    problem: str | None


class RecordedAnswers:
    """Every recorded answer below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, _LoadedFile] = {}
        self._refreshed_at = float("-inf")

    @classmethod
    def load(cls, folder: Path) -> "RecordedAnswers":
        """Return the answers below `folder`; a folder that is not there has none."""
        answers = cls(folder)
        answers.refresh()
        return answers

    def find(self, service: str, request: Mapping[str, Any]) -> RecordedAnswer | None:
        """Return the answer to exactly this request, or None. Of several, the first file's by path."""
        key = hash_request(service, request)
        self._refresh_when_stale()
        found = self._lookup(key)
        if found is None:
            self.refresh()
            found = self._lookup(key)
        return found

    def find_nearest(self, service: str, request: Mapping[str, Any]) -> NearMiss | None:
        """Return the recorded request of `service` that differs from `request` in the fewest keys."""
        misses = [
            NearMiss(answer=answer, differing=_differing_keys(answer.request, request))
            for answer in self._all()
            if answer.service == service
        ]
        return min(misses, key=lambda miss: len(miss.differing), default=None)

    def has_answers_for(self, workflow: str) -> bool:
        """Tell whether a file keeps answers for the workflow of this name."""
        self._refresh_when_stale()
        return any(file.workflow == workflow and file.answers for file in self._files.values())

    def origins(self, workflow: str) -> tuple[str, ...]:
        """Return where the answers kept for `workflow` come from, in the words of their files."""
        self._refresh_when_stale()
        return tuple(dict.fromkeys(answer.origin for answer in self._all() if answer.workflow == workflow))

    def broken(self) -> tuple[BrokenAnswers, ...]:
        """Return the files that cannot be used, by path."""
        self._refresh_when_stale()
        return tuple(
            BrokenAnswers(path=path, message=file.problem) for path, file in self._files.items() if file.problem
        )

    def refresh(self) -> None:
        """Read what is new or changed, and forget what is gone."""
        stamps: dict[Path, tuple[int, int]] = {}
        for path in sorted(self._folder.rglob(PATTERN)):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue  # removed since it was listed
            stamps[path] = (stat.st_mtime_ns, stat.st_size)
        self._files = {
            path: known if (known := self._files.get(path)) and known.stamp == stamp else _read(path, stamp)
            for path, stamp in stamps.items()
        }
        self._refreshed_at = time.monotonic()

    def _refresh_when_stale(self) -> None:
        if time.monotonic() - self._refreshed_at >= REFRESH_SECONDS:
            self.refresh()

    def _lookup(self, key: str) -> RecordedAnswer | None:
        return next((file.answers[key] for file in self._files.values() if key in file.answers), None)

    def _all(self) -> Iterator[RecordedAnswer]:
        for file in self._files.values():
            yield from file.answers.values()


def hash_request(service: str, request: Mapping[str, Any]) -> str:
    """Return the name under which a request is found: keys in any order, 1 and 1.0 the same, nulls left out.

    >>> hash_request("llm", {"a": 1, "b": None}) == hash_request("llm", {"a": 1.0})
    True
    """
    # Not orjson: a hash is wanted of what cannot be stored, too (a lone surrogate, an integer over 64 bit).
    canonical = json.dumps([service, _canonical(request)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _canonical(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def read_recording(path: Path) -> Recording:
    """Return what the replay file `path` keeps, in its order. Raises: BrokenAnswersError, OSError."""
    try:
        content = _parse(path.read_bytes())
        return Recording(
            workflow=content["workflow"],
            origin=content["origin"],
            defaults=content.get("defaults"),
            started_at=content.get("started_at"),
            answers=tuple(_answers_of(content, path)),
        )
    except orjson.JSONDecodeError as error:
        raise BrokenAnswersError(f"it is no JSON: {error}") from error


def _differing_keys(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, ...]:
    left, right = _canonical(recorded), _canonical(asked)
    return tuple(sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key)))


def _read(path: Path, stamp: tuple[int, int]) -> _LoadedFile:
    try:
        content = _parse(path.read_bytes())
        answers = {
            hash_request(answer.service, answer.request): answer
            for answer in _answers_of(content, path)
            if answer.error is None
        }
    except (OSError, BrokenAnswersError, orjson.JSONDecodeError) as error:
        return _LoadedFile(stamp=stamp, workflow=None, answers={}, problem=f"{path.name}: {error}")
    return _LoadedFile(stamp=stamp, workflow=content["workflow"], answers=answers, problem=None)


def _parse(data: bytes) -> Mapping[str, Any]:
    content = orjson.loads(data)
    if not isinstance(content, dict):
        raise BrokenAnswersError("the file is an object with workflow, origin and answers")
    for key, kind, name in (("workflow", str, "text"), ("origin", str, "text"), ("answers", list, "a list")):
        if not isinstance(content.get(key), kind):
            raise BrokenAnswersError(f"/{key} is {name}")
    if not isinstance(content.get("defaults", {}), dict) or not isinstance(content.get("started_at", ""), str):
        raise BrokenAnswersError("/defaults is an object and /started_at is text")
    return content


def _answers_of(content: Mapping[str, Any], path: Path) -> Iterator[RecordedAnswer]:
    for index, item in enumerate(content["answers"]):
        if not isinstance(item, dict):
            raise BrokenAnswersError(f"/answers/{index} is an object with service, request and response")
        outcome = "error" if "error" in item and "response" not in item else "response"
        for key, kind, name in (("service", str, "text"), ("request", dict, "an object"), (outcome, dict, "an object")):
            if not isinstance(item.get(key), kind):
                raise BrokenAnswersError(f"/answers/{index}/{key} is {name}")
        if not isinstance(item.get("step", ""), str):
            raise BrokenAnswersError(f"/answers/{index}/step is text")
        yield RecordedAnswer(
            service=item["service"],
            request=item["request"],
            response=item.get("response", {}),
            workflow=content["workflow"],
            origin=content["origin"],
            path=path,
            step=item.get("step"),
            error=item[outcome] if outcome == "error" else None,
        )
