"""The syntax of `${path ?? default}`: text in, parts out; what they lead to is not known here.

Called by `references.py` for every `${` of a definition or prompt, through `read_reference`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from callboard.core.json_values import JsonValue, find_unstorable
from callboard.workflows.errors import InvalidReferenceError

_NAME = re.compile(r"[\w-]+")
_BLANK = re.compile(r"\s*")
_INDEX = re.compile(r"\[\s*(\d{1,9})\s*\]")
_STAR = re.compile(r"\[\s*\*\s*\]")
_SINGLE_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")
_DECODER = json.JSONDecoder()
_WORD = re.compile(r"'[^']*'|[A-Za-z_][\w-]*")
_CALCULATES = "a reference is a path and calculates nothing; a map transform's expression does"
_SIGNS_OF_OTHERS = {
    "||": "a default is written ${path ?? default}, not with ||",
    "|": "there are no filters in a reference; a transform step before changes a value",
    "?.": 'there is no "?."; a default is given by ${path ?? default}',
    "?": "a choice is no reference; a default is given by ${path ?? default}",
    ":": "a default is written ${path ?? default}, not with a colon",
    "(": "there are no functions in a reference; a transform step before changes a value",
    **dict.fromkeys(("+", "-", "*", "/", "%", "=", "!", "<", ">", "&"), _CALCULATES),
}
_SHOWN_CHARS = 60  # of a bad text, in messages


class Star(Enum):
    """The `[*]` of a path: every item below, collected into one flat list."""

    ALL = "[*]"


Key: TypeAlias = str | int | Star


@dataclass(frozen=True, slots=True)
class ParsedReference:
    """The parts of one reference. `text` is the path as written."""

    text: str
    root: str
    keys: tuple[Key, ...]
    has_default: bool
    default: JsonValue


def parse_reference(text: str, start: int, *, place: str = "") -> tuple[ParsedReference | str, int]:
    """Return what the `${` at `start` begins, and the index behind its `}`.

    That is a reference, or the text itself for a quoted constant such as `${"${"}`.

    >>> parse_reference("${input.a[0] ?? 1}", 0)
    (ParsedReference(text='input.a[0]', root='input', keys=('a', 0), has_default=True, default=1), 18)

    Raises: InvalidReferenceError, naming `place` and the position.
    """
    return _Reader(text, start, place).read()


def show_key(key: Key) -> str:
    """Return `key` as it is written in a path."""
    if isinstance(key, int):
        return f"[{key}]"
    if isinstance(key, Star):
        return key.value
    return f".{key}" if _NAME.fullmatch(key) else f"[{json.dumps(key, ensure_ascii=False)}]"


class _Reader:
    """Reads one `${...}` from left to right."""

    def __init__(self, text: str, start: int, place: str) -> None:
        self.text, self.start, self.place = text, start, place
        self.at = start + 2

    def read(self) -> tuple[ParsedReference | str, int]:
        self._skip_blank()
        if self.text.startswith('"', self.at):
            constant = self._read_json("a quoted constant")
            self._expect_end()
            return str(constant), self.at
        begin = self.at
        root = self._read_name("a name")
        keys = tuple(self._read_keys())
        path = self.text[begin : self.at].strip()
        has_default, default = self._read_default()
        self._expect_end()
        self._check(root, keys)
        return ParsedReference(path, root, keys, has_default, default), self.at

    def _read_keys(self) -> Iterator[Key]:
        while True:
            if self.text.startswith(".", self.at):
                self.at += 1
                yield self._read_name("a name behind the dot")
            elif self.text.startswith("[", self.at):
                yield self._read_bracket()
            else:
                return

    def _read_name(self, expected: str) -> str:
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self._error(f"{expected} is missing{self._unclosed()}")
        self.at = match.end()
        return match.group()

    def _read_bracket(self) -> Key:
        for pattern in (_INDEX, _STAR):
            match = pattern.match(self.text, self.at)
            if match is not None:
                self.at = match.end()
                return int(match.group(1)) if pattern is _INDEX else Star.ALL
        self.at += 1
        self._skip_blank()
        key = self._read_quoted_key()
        self._skip_blank()
        if not self.text.startswith("]", self.at):
            raise self._error("the ] is missing")
        self.at += 1
        return key

    def _read_quoted_key(self) -> str:
        if self.text.startswith('"', self.at):
            return str(self._read_json("a key in quotes"))
        match = _SINGLE_QUOTED.match(self.text, self.at)
        if match is None:
            hint = "; items are counted from the front" if self.text.startswith("-", self.at) else ""
            raise self._error(f"in brackets stands a whole number from 0, a key in quotes, or *{hint}")
        self.at = match.end()
        return re.sub(r"\\(.)", r"\1", match.group(1))

    def _read_default(self) -> tuple[bool, JsonValue]:
        self._skip_blank()
        if not self.text.startswith("??", self.at):
            return False, None
        self.at += 2
        self._skip_blank()
        default = self._read_literal()
        reason = find_unstorable(default)
        if reason is not None:
            raise self._error(f"the literal behind ?? cannot be used: {reason}")
        return True, default

    def _read_literal(self) -> JsonValue:
        word = _WORD.match(self.text, self.at)
        if word is not None and word.group() not in {"true", "false", "null"}:
            meant = json.dumps(word.group().strip("'"), ensure_ascii=False)
            raise self._error(f"behind ?? stands a JSON literal; text is written in double quotes: {meant}")
        return self._read_json("a JSON literal behind ?? (text in double quotes, a number, true, null, [], {})")

    def _read_json(self, expected: str) -> JsonValue:
        try:
            value, self.at = _DECODER.raw_decode(self.text, self.at)
        except (ValueError, RecursionError):
            raise self._error(f"expected {expected}") from None
        return value

    def _expect_end(self) -> None:
        self._skip_blank()
        if not self.text.startswith("}", self.at):
            raise self._error(self._explain_rest())
        self.at += 1

    def _explain_rest(self) -> str:
        """Return what is wrong with what stands behind the path."""
        rest = self.text[self.at :]
        for sign, hint in _SIGNS_OF_OTHERS.items():
            if rest.startswith(sign):
                return hint
        if rest.startswith("${"):
            return "a } is missing before this ${"
        return f"expected }}{self._unclosed()}"

    def _check(self, root: str, keys: tuple[Key, ...]) -> None:
        if root == "steps" and not (keys and isinstance(keys[0], str)):
            raise self._error("name a step: ${steps.ID.output}", at=self.start)
        if root == "secrets" and not (len(keys) == 1 and isinstance(keys[0], str)):
            raise self._error("name one secret: ${secrets.NAME}", at=self.start)

    def _skip_blank(self) -> None:
        match = _BLANK.match(self.text, self.at)
        self.at = match.end() if match is not None else self.at

    def _unclosed(self) -> str:
        if "}" in self.text[self.start :]:
            return ""
        return '; the ${ is never closed (a literal ${ is written ${"${"})'

    def _error(self, problem: str, *, at: int | None = None) -> InvalidReferenceError:
        position = self.at if at is None else at
        shown = self.text[self.start : self.start + _SHOWN_CHARS]
        shown = (shown[: shown.find("}") + 1] or shown).partition("\n")[0]
        place = f"{self.place}: " if self.place else ""
        return InvalidReferenceError(
            f"{place}the reference {shown} cannot be read: {problem}, at character {position + 1}.", position=position
        )
