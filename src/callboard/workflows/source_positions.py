"""Where in the text of a JSON file each value stands, and what its parser lets pass in silence.

Called by `files.py`, and only where there is something to tell: a file without findings is never scanned. It
is own code, since json-source-map (1.0.5) gives pointers without their escapes (`a/b`, `\\u0041`), is silent
about keys that are there twice, and ends in a RecursionError on deep nesting.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import orjson

from callboard.workflows.findings import Excerpt, pointer_of

_MAX_INT = 2**63 - 1
_LINE_END = re.compile(r"\r\n|\n|\r")
_TOKEN = re.compile(
    r'[ \t\r\n,:]*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<bracket>[{}\[\]])|(?P<word>[^\s{}\[\],:"]+))', re.DOTALL
)
_BIG_INT = re.compile(r"-?\d{19,}")
_CHARACTER = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|.", re.DOTALL
)  # one character of the decoded text
_SHOWN_CHARS = 120  # of a source line in a message; a minified file has one line
_SHOWN_BEFORE = 80  # of them, before the place itself


class Spot(NamedTuple):
    """A place in a text. Both count from 1, `column` in characters."""

    line: int
    column: int


class Lines:
    """The lines of a text, whichever way they end."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_END.finditer(self._text))]

    def spot_at(self, position: int) -> Spot:
        """Return the place of the character at `position` (from 0).

        >>> Lines("{\\r\\n  1}").spot_at(5)
        Spot(line=2, column=3)
        """
        index = bisect_right(self._starts, position) - 1
        return Spot(index + 1, position - self._starts[index] + 1)

    def excerpt_at(self, spot: Spot) -> Excerpt:
        """Return the line of `spot`, or what is around it of a long one.

        >>> Lines("a\\nbcd").excerpt_at(Spot(2, 3))
        Excerpt(text='bcd', caret=2)
        """
        start = self._starts[spot.line - 1]
        following = self._starts[spot.line] if spot.line < len(self._starts) else len(self._text)
        at = start + spot.column - 1
        first = start if following - start <= _SHOWN_CHARS else max(start, at - _SHOWN_BEFORE)
        text = self._text[first : min(following, first + _SHOWN_CHARS)]
        return Excerpt(text.rstrip("\r\n"), at - first)


@dataclass(frozen=True, slots=True)
class _Span:
    value: int
    key: int | None = None


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """A key that is twice in one object; a parser takes the last one."""

    pointer: str
    position: int
    first_position: int


@dataclass(slots=True)
class _Scan:
    spans: dict[str, _Span] = field(default_factory=dict)
    repeated: list[RepeatedKey] = field(default_factory=list)
    big_integers: list[str] = field(default_factory=list)


class SourceText:
    """The text of a file that is valid JSON. It is scanned when the first place in it is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.lines = Lines(text)

    @cached_property
    def _scan(self) -> _Scan:
        return _scan(self._text)

    @property
    def repeated_keys(self) -> list[RepeatedKey]:
        """Every key that stands twice in its object, in order."""
        return self._scan.repeated if _has_repeated_key(self._text) else []

    @property
    def big_integers(self) -> list[str]:
        """The pointers of whole numbers that do not fit into 64 bit, which parsers make fractional ones."""
        return self._scan.big_integers if _BIG_INT.search(self._text) else []

    def locate(self, pointer: str, *, at_key: bool = False, offset: int | None = None) -> Spot:
        """Return the place of the value at `pointer`, or of the nearest value around where that is missing.

        `at_key` gives the place of its key. `offset` counts characters of the decoded text that stands there.
        """
        span, is_exact = self._span_of(pointer)
        if at_key and span.key is not None and is_exact:
            return self.lines.spot_at(span.key)
        if offset is not None and is_exact and self._text.startswith('"', span.value):
            return self.lines.spot_at(self._position_inside(span.value + 1, offset))
        return self.lines.spot_at(span.value)

    def _span_of(self, pointer: str) -> tuple[_Span, bool]:
        spans, wanted = self._scan.spans, pointer
        while wanted and wanted not in spans:
            wanted = wanted.rpartition("/")[0]
        return spans.get(wanted, _Span(0)), wanted == pointer

    def _position_inside(self, start: int, offset: int) -> int:
        position = start
        for _ in range(offset):
            match = _CHARACTER.match(self._text, position)
            if match is None or match.group() == '"':
                break
            position = match.end()
        return position


def _has_repeated_key(text: str) -> bool:
    """Tell in a fraction of the time of a scan: the standard parser hands over objects before it drops a key."""
    is_repeated = False

    def look(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal is_repeated
        found = dict(pairs)
        is_repeated = is_repeated or len(found) < len(pairs)
        return found

    json.loads(text, object_pairs_hook=look)
    return is_repeated


class _Level:
    """An object or list that is open while the text is read."""

    __slots__ = ("base", "index", "key", "keys")

    def __init__(self, base: str, *, is_object: bool) -> None:
        self.base = base
        self.keys: dict[str, int] | None = {} if is_object else None
        self.key: tuple[str, int] | None = None
        self.index = 0


def _scan(text: str) -> _Scan:
    scan = _Scan()
    levels: list[_Level] = []
    for kind, piece, position in _tokens(text):
        level = levels[-1] if levels else None
        if kind == "bracket" and piece in {"}", "]"}:
            levels.pop()
            continue
        if level is not None and level.keys is not None and level.key is None:
            _open_member(scan, level, orjson.loads(piece), position)
            continue
        pointer, key_position = _next_place(level)
        scan.spans[pointer] = _Span(position, key_position)
        if kind == "bracket":
            levels.append(_Level(pointer, is_object=piece == "{"))
        elif kind == "word" and _is_big(piece):
            scan.big_integers.append(pointer)
    return scan


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        yield kind, match[kind], match.start(kind)


def _open_member(scan: _Scan, level: _Level, key: str, position: int) -> None:
    assert level.keys is not None
    level.key = (key, position)
    if key in level.keys:
        scan.repeated.append(RepeatedKey(pointer_of(key, base=level.base), position, level.keys[key]))
    else:
        level.keys[key] = position


def _next_place(level: _Level | None) -> tuple[str, int | None]:
    """Return the pointer of the value that comes next, and where its key stands."""
    if level is None:
        return "", None
    if level.key is not None:
        key, position = level.key
        level.key = None
        return pointer_of(key, base=level.base), position
    level.index += 1
    return f"{level.base}/{level.index - 1}", None


def _is_big(number: str) -> bool:
    return _BIG_INT.fullmatch(number) is not None and (len(number) > 20 or not -_MAX_INT - 1 <= int(number) <= _MAX_INT)
