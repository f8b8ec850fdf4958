"""The labels of a Markdown schema, and where a line holds one: `**Phone:** x`, `- Phone - x`, `**Phone** x`.

Called by `markdown/items.py` and `markdown/headings.py`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from callboard.workflows.transforms.markdown.inline import Run
from callboard.workflows.transforms.markdown.lines import Line
from callboard.workflows.transforms.markdown.schema import FieldRule, normalise_label

KnownLabels: TypeAlias = Mapping[str, FieldRule | None]  # by normal form; None: only searched for mentions

_LABEL = re.compile(
    r"^[\W_]{0,12}?(?P<label>\w[^:：\n]{0,50}?)\s{0,9}(?:[:：]|\s[-–—=](?=\s|$))\s*(?P<value>.*)$", re.DOTALL
)
_HAS_SEPARATOR = re.compile(r"\s*([:：]|[-–—=|](\s|$))")
_ENDS_OF_VALUES = "_.!?)]\"'”%+"


def find_label(line: Line, known: KnownLabels) -> tuple[str, str] | None:
    """Return (label, value) where `line` begins with a label, known or not. Bold needs no colon where it is known."""
    first = next((index for index, run in enumerate(line.runs) if run.text.strip()), None)
    if first is None:
        return None
    run = line.runs[first]
    rest = "".join(other.text for other in line.runs[first + 1 :])
    if run.bold and not re.search(r"[:：]", run.text) and not _HAS_SEPARATOR.match(rest):
        is_known = normalise_label(run.text) in known and rest.strip()
        return (run.text.strip(), rest.strip()) if is_known else None
    found = _LABEL.match(line.text)
    return (found["label"].strip(), found["value"].strip()) if found else None


def starts_bold(line: Line) -> bool:
    """Return whether the first words of `line` are bold, whatever sign stands before them."""
    return next((run.bold for run in line.runs if _has_words([run])), False)


def value_line(line: Line, value: str) -> Line:
    """Return the part of `line` behind its label, with the address of its first link."""
    href = next((run.href for run in line.runs if run.href), None)
    return replace(line, level=0, runs=(Run(value, href=href),))


def split_at_labels(line: Line, known: KnownLabels) -> list[Line]:
    """Cut a line where a further known label begins: `**Phone**: 1 | **Website**: x` are two fields."""
    return _split(line, lambda label: normalise_label(label) in known)


def split_at_bold_labels(line: Line) -> list[Line]:
    """Cut a line where a further label begins, known or not."""
    return _split(line, lambda label: bool(normalise_label(label)))


def _split(line: Line, is_label: Callable[[str], bool]) -> list[Line]:
    if line.level:
        return [line]
    parts: list[list[Run]] = [[]]
    for index, run in enumerate(line.runs):
        following = line.runs[index + 1].text if index + 1 < len(line.runs) else ""
        if run.bold and _has_words(parts[-1]) and _has_colon(run.text, following) and is_label(run.text):
            last = parts[-1][-1]
            parts[-1][-1] = replace(last, text=_without_signs(last.text))
            parts.append([])
        parts[-1].append(run)
    return [replace(line, runs=tuple(runs)) for runs in parts if any(run.text.strip() for run in runs)]


def _has_colon(text: str, following: str) -> bool:
    return text.rstrip().endswith((":", "：")) or following.lstrip().startswith((":", "："))


def _without_signs(text: str) -> str:
    """Return `text` without what stands between two fields at its end: "; ", " | ", an emoji."""
    end = len(text)
    while end and not (text[end - 1].isalnum() or text[end - 1] in _ENDS_OF_VALUES):
        end -= 1
    return text[:end]


def _has_words(runs: Sequence[Run]) -> bool:
    return any(char.isalnum() for run in runs for char in run.text)
