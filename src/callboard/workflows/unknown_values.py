"""Values that nobody can know before a run: what a dry run puts in the place of a model's or a service's answer.

An `Unknown` is text that says what it stands for, so it can be put into prompts; whatever path is followed
below it leads to another one (`references.py`). Made by `dry_runs`; never part of a run.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from callboard.core.json_values import JsonValue
from callboard.workflows.reference_syntax import Key, Star, show_key

OPENING, CLOSING = "«", "»"
_MARK = re.compile(f"{OPENING}[^{OPENING}{CLOSING}]*{CLOSING}")
_NOT_IN_MARK = re.compile(f'["\\\\{OPENING}{CLOSING}\\x00-\\x1f]')  # JSON would write these in another way
_WHOLE_KEYS = frozenset({"output", "data", "content", "parsed"})  # below these lies nearly all of an output
_PART_OF_WHOLE = 4  # how many times smaller a part is taken to be than the whole, where no earlier run tells
_LEAST_CHARS = 5
_NO_SAMPLE: Final = object()


@dataclass(frozen=True, slots=True)
class TextSize:
    """How long a text is or will be, in characters, one beyond ASCII counted as its UTF-8 bytes."""

    low: int
    likely: int
    high: int

    @classmethod
    def exactly(cls, chars: int) -> "TextSize":
        """Return the size of a text that is known."""
        return cls(chars, chars, chars)

    def __add__(self, other: "TextSize") -> "TextSize":
        return TextSize(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def divided(self, parts: int) -> "TextSize":
        """Return the size of one of so many parts; it may be as large as the whole."""
        return TextSize(self.low // parts, max(self.likely // parts, min(self.likely, _LEAST_CHARS)), self.high)


@dataclass(slots=True)
class UnknownBook:
    """The unknown values of one dry run: how long each is taken to be, by the text that stands for it."""

    sizes: dict[str, TextSize] = field(default_factory=dict)

    def new(self, path: str, size: TextSize, sample: JsonValue = _NO_SAMPLE) -> "Unknown":
        """Return the value at `path`. `sample` is what an earlier run had there; it gives the sizes below."""
        shown = _NOT_IN_MARK.sub("'", path)
        text = f"{OPENING}{shown}: unknown, about {size.likely:,} characters{CLOSING}"
        self.sizes[text] = size
        unknown = Unknown(text)
        unknown.path, unknown.size, unknown.book, unknown.sample = path, size, self, sample
        return unknown

    def measure(self, text: str) -> TextSize:
        """Return how long `text` will be once what is unknown in it is there."""
        known = len(text.encode(errors="replace"))
        size = TextSize.exactly(0)
        for mark in _MARK.findall(text):
            unknown = self.sizes.get(mark)
            if unknown is not None:
                known -= len(mark.encode())
                size += unknown
        return size + TextSize.exactly(known)

    def measure_value(self, value: JsonValue) -> TextSize:
        """Return how long `value` will be as text: text as it is, the rest as compact JSON."""
        return self.measure(_as_text(value))

    def is_known(self, value: JsonValue) -> bool:
        """Return whether there is nothing unknown in `value`, however deep, nor inside its texts."""
        stack = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                if OPENING in item and any(mark in self.sizes for mark in _MARK.findall(item)):
                    return False
            elif isinstance(item, Mapping):
                stack.extend(item.values())
            elif isinstance(item, list):
                stack.extend(item)
        return True


class Unknown(str):
    """Text in the place of a value that is not known yet. `UnknownBook.new` makes them."""

    __slots__ = ("book", "path", "sample", "size")

    path: str
    size: TextSize
    book: UnknownBook
    sample: JsonValue

    def below(self, keys: Sequence[Key]) -> "Unknown":
        """Return what stands at `keys` below this value."""
        found = self
        for key in keys:
            found = found._child(key)
        return found

    def _child(self, key: Key) -> "Unknown":
        path = self.path + show_key(key)
        if key is Star.ALL:
            return self.book.new(path, self.size, self.sample)
        sample = _look_up(self.sample, key)
        if sample is not _NO_SAMPLE:
            likely = len(_as_text(sample).encode(errors="replace"))
            return self.book.new(
                path, TextSize(min(likely, self.size.low), likely, max(likely, self.size.high)), sample
            )
        return self.book.new(path, self.size if key in _WHOLE_KEYS else self.size.divided(_PART_OF_WHOLE))


def _look_up(sample: JsonValue, key: Key) -> JsonValue:
    if isinstance(key, str) and isinstance(sample, Mapping):
        return sample.get(key, _NO_SAMPLE)
    if isinstance(key, int) and isinstance(sample, list) and sample:
        return sample[min(key, len(sample) - 1)]
    return _NO_SAMPLE


def _as_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
