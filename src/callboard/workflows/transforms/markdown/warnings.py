"""What a reading left out or doubts, with the lines of the text. Every reading in this package fills one list."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_WARNINGS = 100
_SHOWN_CHARS = 80


@dataclass(slots=True)
class _Warning:
    """`what` is set where lines were left out: neighbours that were left out alike are told in one."""

    first: int
    last: int
    text: str
    what: str | None = None

    def describe(self) -> str:
        place = f"line {self.first}" if self.first == self.last else f"lines {self.first}-{self.last}"
        return f"{place}: {self.text}" if self.what is None else f"{place}: {self.what} left out: {self.text}"


class Warnings:
    """Warnings in the order of the lines; long texts are cut, and a long list ends with where the rest are."""

    def __init__(self) -> None:
        self._found: list[_Warning] = []
        self._general: list[str] = []

    def add(self, number: int, text: str) -> None:
        """Add a warning about the line `number`, counted from 1."""
        self._found.append(_Warning(number, number, text))

    def add_general(self, text: str) -> None:
        """Add a warning about the text as a whole; such stand first."""
        self._general.append(text)

    def left_out(self, number: int, what: str, text: str, *, last: int | None = None) -> None:
        """Add that the line `number` (up to `last`), which is a `what`, is not in the result."""
        self._found.append(_Warning(number, last or number, shorten(text), what))

    def as_list(self) -> list[str]:
        """Return the warnings, `MAX_WARNINGS` and one that counts the rest at most."""
        told = _joined(sorted(self._found, key=lambda found: found.first))
        texts = [*self._general, *(warning.describe() for warning in told)]
        if len(texts) <= MAX_WARNINGS:
            return texts
        rest = told[MAX_WARNINGS - len(self._general) :]
        end = max(warning.last for warning in rest)
        return [*texts[:MAX_WARNINGS], f"and {len(rest)} more, between line {rest[0].first} and line {end}"]


def shorten(text: str) -> str:
    """Return `text` as a warning shows it: on one line, with an ellipsis where it is long.

    >>> shorten("a\\nb"), len(shorten("word " * 100))
    ('a b', 81)
    """
    shown = " ".join(text[: 2 * _SHOWN_CHARS].split())
    return shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "…"


def _joined(found: Sequence[_Warning]) -> list[_Warning]:
    joined: list[_Warning] = []
    for warning in found:
        last = joined[-1] if joined else None
        if last is not None and last.what is not None and last.what == warning.what and warning.first <= last.last + 1:
            joined[-1] = _Warning(last.first, max(last.last, warning.last), last.text, last.what)
        else:
            joined.append(warning)
    return joined
