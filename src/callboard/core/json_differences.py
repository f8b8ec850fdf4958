"""How two JSON values differ, place by place, in words that people read.

Called by `playback.py` for a request that was not recorded, and by `workflows/recorded_tests.py` for what
a test expected. Texts of several lines are shown as a unified diff.
"""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from callboard.core.json_values import JsonValue

MAX_DIFF_LINES = 60  # more would hide what comes after it
MAX_SHOWN = 300  # characters of a value


class _Absent:
    """Stands for what is not there, which null is not."""

    def __repr__(self) -> str:
        return "nothing"


ABSENT: Final = _Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where two values differ. `expected` or `got` is `ABSENT` where only the other has something.

    `rule` says in words what was wanted, where that is more than a value.
    """

    pointer: str
    expected: JsonValue
    got: JsonValue
    rule: str = ""

    def describe(self) -> list[str]:
        """Return the difference as lines: the place, then what was expected and what came.

        >>> Difference(pointer="/a", expected=1, got=2).describe()
        ['/a', '  expected: 1', '  got:      2']
        """
        place = self.pointer or "/"
        if self.rule:
            return [place, f"  expected: {self.rule}", *_shown_whole(self.got)]
        if isinstance(self.expected, str) and isinstance(self.got, str) and "\n" in self.expected + self.got:
            return [f"{place} (- expected, + got)", *(f"  {line}" for line in text_diff(self.expected, self.got))]
        return [place, f"  expected: {show(self.expected)}", f"  got:      {show(self.got)}"]


def find_differences(expected: JsonValue, got: JsonValue, pointer: str = "") -> Iterator[Difference]:
    """Yield every place where `got` is not `expected`, from top to bottom. Whole and fractional numbers compare freely.

    >>> [each.pointer for each in find_differences({"a": [1, 2], "b": 1}, {"a": [1.0, 3]})]
    ['/a/1', '/b']
    """
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in [*expected, *(key for key in got if key not in expected)]:
            yield from find_differences(expected.get(key, ABSENT), got.get(key, ABSENT), child(pointer, key))
    elif isinstance(expected, list) and isinstance(got, list):
        for index in range(max(len(expected), len(got))):
            wanted, there = _item(expected, index), _item(got, index)
            yield from find_differences(wanted, there, child(pointer, index))
    elif not is_same(expected, got):
        yield Difference(pointer=pointer, expected=expected, got=got)


def is_same(expected: JsonValue, got: JsonValue) -> bool:
    """Return whether two values are equal as JSON: true is not 1, but 1.0 is."""
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    return bool(expected == got)


def _shown_whole(got: JsonValue) -> list[str]:
    """Return what came as lines; a text of several lines as it is."""
    if not isinstance(got, str) or "\n" not in got:
        return [f"  got:      {show(got)}"]
    first, *more = got.splitlines()
    return [f"  got:      {first}", *(f"    {line}" for line in more[:MAX_DIFF_LINES])]


def text_diff(expected: str, got: str) -> list[str]:
    """Return a unified diff of two texts without its head, cut after `MAX_DIFF_LINES`."""
    lines = list(difflib.unified_diff(expected.splitlines(), got.splitlines(), lineterm="", n=2))[2:]
    if len(lines) > MAX_DIFF_LINES:
        lines = [*lines[:MAX_DIFF_LINES], f"... {len(lines) - MAX_DIFF_LINES} more lines"]
    return lines


def show(value: Any) -> str:
    """Return a value as JSON on one line, cut after `MAX_SHOWN` characters.

    >>> show({"a": None}), show(ABSENT)
    ('{"a": null}', 'nothing')
    """
    text = repr(value) if isinstance(value, _Absent) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text):,} characters)"


def child(pointer: str, part: str | int) -> str:
    """Return the pointer of `part` below `pointer`."""
    return f"{pointer}/{str(part).replace('~', '~0').replace('/', '~1')}"


def _item(values: list[JsonValue], index: int) -> JsonValue:
    return values[index] if index < len(values) else ABSENT
