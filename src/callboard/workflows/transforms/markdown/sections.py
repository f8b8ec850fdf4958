"""The general reading `sections`: the text cut at its headings, nested by their levels.

Called by `markdown/general.py`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markdown_it.token import Token

from callboard.workflows.transforms.markdown.inline import split_at_breaks
from callboard.workflows.transforms.markdown.source import Source
from callboard.workflows.transforms.markdown.warnings import Warnings

_MAX_TITLE_CHARS = 120
_NO_TITLE = re.compile(r"[.!?;,:：]$|^\W*\w[^:：]{0,50}[:：]\s")  # a sentence, or a field with its value


@dataclass(frozen=True, slots=True)
class _Heading:
    """A title; its section's text begins at line `first` + 1, its own first line is `number`."""

    number: int
    last: int
    level: int
    title: str


def read_sections(tokens: Sequence[Token], source: Source, warnings: Warnings) -> dict[str, Any]:
    """Return {"sections": [{title, level, text, children[]}], "preamble": text before the first heading}.

    `text` is the Markdown below the heading, without the sections below it; `title` has no marks. A
    section stands in the nearest one above it with a lower level, so a skipped level is no gap. A text
    without a single heading is cut at its paragraphs that are bold as a whole.
    """
    headings = list(_headings(tokens))
    if not headings:
        headings = list(_bold_headings(tokens))
        if headings:
            warnings.add_general("there is no heading; the lines in bold were taken for headings")
    ends = [*(heading.number - 1 for heading in headings), len(source.lines)]
    roots: list[dict[str, Any]] = []
    opened: list[dict[str, Any]] = []
    for heading, end in zip(headings, ends[1:], strict=True):
        text = _text_of(source, heading.last, end)
        section = {"title": heading.title, "level": heading.level, "text": text, "children": []}
        while opened and opened[-1]["level"] >= heading.level:
            opened.pop()
        (opened[-1]["children"] if opened else roots).append(section)
        opened.append(section)
    return {"sections": roots, "preamble": _text_of(source, 0, ends[0])}


def _headings(tokens: Sequence[Token]) -> Iterator[_Heading]:
    """Yield the headings that stand in no list and no quotation."""
    for token, inline in pairwise(tokens):
        if token.type != "heading_open" or token.level:
            continue
        first, beyond = token.map or [0, 0]
        lines = _plain_lines(inline)
        title = lines[-1]
        if token.markup == "-" and (len(title) > _MAX_TITLE_CHARS or _NO_TITLE.search(title)):
            continue  # prose, a field or a wrapped paragraph with a rule below it
        # of several lines above an underline only the last is the title
        number = first + 1 if token.markup not in {"-", "="} else beyond - 1
        yield _Heading(number, beyond, int(token.tag[1:]), title)


def _bold_headings(tokens: Sequence[Token]) -> Iterator[_Heading]:
    for token, inline in pairwise(tokens):
        if token.type != "paragraph_open" or token.level:
            continue
        first, beyond = token.map or [0, 0]
        runs = [run for piece in split_at_breaks(inline.children or []) for run in piece.runs if run.text.strip()]
        if beyond == first + 1 and runs and all(run.bold for run in runs):
            yield _Heading(first + 1, beyond, 1, " ".join(_plain_lines(inline)).rstrip(":： "))


def _plain_lines(inline: Token) -> list[str]:
    """Return the words of each line of a paragraph or heading."""
    return [
        " ".join("".join(run.text for run in piece.runs).split()) for piece in split_at_breaks(inline.children or [])
    ]


def _text_of(source: Source, first: int, last: int) -> str:
    """Return the lines after `first` up to and with `last`, without blank ones around them."""
    return "\n".join(source.lines[first:last]).strip("\n").rstrip()
