"""The general reading `key_values`: `**Key**: value` lines as one object. `markdown/general.py` calls it."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.markdown.labels import find_label, split_at_bold_labels, starts_bold
from callboard.workflows.transforms.markdown.lines import Line
from callboard.workflows.transforms.markdown.names import UniqueNames
from callboard.workflows.transforms.markdown.warnings import Warnings

_PLAIN_KEY = re.compile(r"^[^\w]*(?P<key>\w[^:：]{0,39}?)\s{0,9}(?::(?=\s|$)|：)\s*(?P<value>.*)$", re.DOTALL)
_MAX_PLAIN_WORDS = 5
_KEY_EDGES = re.compile(r"^\W+|[\s*_:：]+$")


@dataclass(slots=True)
class _Pair:
    """A key with what is read of its value so far; `block` and `depth` are those of the last line of it."""

    key: str
    line: Line
    value: list[str]
    block: int
    depth: int
    is_open: bool  # nothing stood behind the colon: what follows is the value


def read_key_values(lines: Sequence[Line], warnings: Warnings) -> dict[str, JsonValue]:
    """Return {key: text} of lines like `**Key**: value`, `**Key:** value` and `- **Key** - value`.

    Only where no key is bold, short `Key: value` lines count. The value goes on over the lines of its
    paragraph; where nothing stands behind the colon, it is what follows up to the next key or heading,
    an item of a list on each line. A repeated key is called "Key (2)", with a warning.
    """
    cut = [part for line in lines for part in split_at_bold_labels(line)]
    read_pair = _bold_pair if any(_bold_pair(line) is not None for line in cut) else _plain_pair
    names = UniqueNames()
    found: dict[str, JsonValue] = {}
    for pair in _pairs(cut, read_pair):
        unique = names.take(pair.key)
        if unique != pair.key:
            warnings.add(pair.line.number, f"the key {pair.key!r} is there again; this one is called {unique!r}")
        found[unique] = "\n".join(pair.value)
    return found


def _pairs(lines: Sequence[Line], read_pair: Callable[[Line], tuple[str, str] | None]) -> Iterator[_Pair]:
    pair: _Pair | None = None
    for line in lines:
        found = None if line.level else read_pair(line)
        if pair is not None and (line.level or found is not None):
            yield pair
            pair = None
        if found is not None:
            key, value = found
            pair = _Pair(key, line, [value] if value else [], line.block, line.depth, is_open=not value)
        elif pair is not None:
            _continue(pair, line)
    if pair is not None:
        yield pair


def _continue(pair: _Pair, line: Line) -> None:
    """Add a line to the value: one of its paragraph, or, where it is open, the paragraph or list that follows."""
    if line.block == pair.block and pair.value:
        pair.value[-1] = f"{pair.value[-1]} {line.text}"
        return
    is_below = line.depth > pair.line.depth
    is_first = not pair.value and (is_below or not pair.line.depth or line.block == pair.block)
    is_next_item = is_below and line.depth >= pair.depth
    if pair.is_open and (is_first or is_next_item):
        pair.value.append(line.text)
        pair.block, pair.depth = line.block, max(pair.depth, line.depth) if is_first else pair.depth


def _bold_pair(line: Line) -> tuple[str, str] | None:
    found = find_label(line, {}) if starts_bold(line) else None
    return _named(*found) if found is not None else None


def _plain_pair(line: Line) -> tuple[str, str] | None:
    found = _PLAIN_KEY.match(line.text)
    if found is None or len(found["key"].split()) > _MAX_PLAIN_WORDS:
        return None
    return _named(found["key"], found["value"])


def _named(shown: str, value: str) -> tuple[str, str] | None:
    key = _KEY_EDGES.sub("", shown)
    return (key, " ".join(value.split())) if key else None
