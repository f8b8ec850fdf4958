"""Markdown as lines that still know what they were: heading, list item, bold, link, line number.

`markdown/items.py` finds items in them. CommonMark does the parsing, so numbering, nesting, setext
headings and emphasis are read as any viewer reads them.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

_FENCES_OF_MARKDOWN = frozenset({"", "markdown", "md"})  # models like to wrap the whole answer in one
_BLOCKS_PER_FENCE = 100_000  # keeps the paragraphs inside a fence apart from those outside
_CONTAINERS = {"bullet_list_open": 1, "ordered_list_open": 1, "bullet_list_close": -1, "ordered_list_close": -1}
# Two slips of models that CommonMark takes literally: `**Phone:**206` and `###Name`.
_CLOSED_AGAINST_A_WORD = re.compile(r"(\*\*|__|\*)(?=\S)([^*_\n]{1,60}[:：])\1(?=\w)")
_HEADING_WITHOUT_SPACE = re.compile(r"^( {0,3}#{2,6})(?=[^#\s])", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Run:
    """Some text of a line in one style. `href` where it is a link."""

    text: str
    bold: bool = False
    href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `level` is the heading's (0: none), `depth` the nesting of lists, `block` its paragraph."""

    number: int
    runs: tuple[Run, ...]
    level: int = 0
    depth: int = 0
    block: int = 0

    @property
    def text(self) -> str:
        return "".join(run.text for run in self.runs).strip()


def read_lines(markdown: str, *, first_number: int = 1) -> list[Line]:
    """Return the lines of `markdown` that hold text, in order, numbered as in the source.

    A row of a table is a line of its own, its first cell bold and followed by a colon, like a label.
    """
    # Without `lheading` a rule drawn right below a line (`---`) does not turn that line into a heading;
    # without `code` and `html_block` an indented or tagged answer is read like any other.
    parser = MarkdownIt("commonmark").enable("table").disable(["lheading", "code", "html_block"])
    repaired = _CLOSED_AGAINST_A_WORD.sub(r"\1\2\1 ", _HEADING_WITHOUT_SPACE.sub(r"\1 ", textwrap.dedent(markdown)))
    return list(_walk(parser.parse(repaired), first_number))


def _walk(tokens: Sequence[Token], first_number: int) -> Iterator[Line]:
    depth, level, block, in_table = 0, 0, 0, False
    row: list[Token] = []
    for token in tokens:
        depth += _CONTAINERS.get(token.type, 0)
        number = first_number + (token.map[0] if token.map else 0)
        if token.type == "heading_open":
            level = int(token.tag[1:])
        elif token.type == "heading_close":
            level = 0
        elif token.type in {"table_open", "table_close"}:
            in_table = token.type == "table_open"
        elif token.type == "tr_close":
            yield from _row_line(row, first_number, block)
            row = []
        elif token.type == "inline" and in_table:
            row.append(token)
        elif token.type == "inline":
            block += 1
            yield from _split(token, number=number, level=level, depth=depth, block=block)
        elif token.type == "fence":
            block += 1
            yield from _fence_lines(token, number=number, block=block)


def _fence_lines(token: Token, *, number: int, block: int) -> Iterator[Line]:
    if token.info.strip().casefold() in _FENCES_OF_MARKDOWN:
        for line in read_lines(token.content, first_number=number + 1):
            yield replace(line, block=-_BLOCKS_PER_FENCE * block - line.block)
        return
    for offset, text in enumerate(token.content.splitlines(), start=1):
        if text.strip():
            yield Line(number=number + offset, runs=(Run(text),), block=block)


def _row_line(cells: list[Token], first_number: int, block: int) -> Iterator[Line]:
    filled = [cell for cell in cells if cell.content.strip()]
    if not filled:
        return
    number = first_number + (filled[0].map[0] if filled[0].map else 0)
    label = Run(filled[0].content.strip().strip("*_: "), bold=True)
    runs = [run for cell in filled[1:] for run in (*_runs(cell.children or []), Run(" "))]
    yield Line(number=number, runs=(label, Run(": "), *runs), block=-block - number)


def _split(token: Token, *, number: int, level: int, depth: int, block: int) -> Iterator[Line]:
    """Cut a paragraph at its line breaks: models write one label per line without a blank line between."""
    pieces: list[list[Token]] = [[]]
    for child in token.children or []:
        if child.type in {"softbreak", "hardbreak"} or _is_break_tag(child):
            pieces.append([])
        pieces[-1].append(child)
    style: list[Token] = []
    offset = 0
    for index, piece in enumerate(pieces):
        offset += index > 0 and not _is_break_tag(piece[0])
        runs = _runs([*style, *piece])
        style = _still_open([*style, *piece])
        if any(run.text.strip() for run in runs):
            yield Line(number=number + offset, runs=tuple(runs), level=level, depth=depth, block=block)


def _is_break_tag(token: Token) -> bool:
    return token.type == "html_inline" and token.content.casefold().startswith("<br")


def _still_open(tokens: Sequence[Token]) -> list[Token]:
    opened: list[Token] = []
    for token in tokens:
        if token.nesting == 1:
            opened.append(token)
        elif token.nesting == -1 and opened:
            opened.pop()
    return opened


def _runs(tokens: Sequence[Token]) -> list[Run]:
    runs: list[Run] = []
    bold, href = 0, None
    for token in tokens:
        if token.type == "strong_open":
            bold += 1
        elif token.type == "strong_close":
            bold -= 1
        elif token.type == "link_open":
            href = str(token.attrs.get("href", ""))
        elif token.type == "link_close":
            href = None
        elif token.type in {"text", "code_inline", "image"} and token.content:
            runs.append(Run(token.content, bold=bold > 0, href=href))
    return _joined(runs)


def _joined(runs: Sequence[Run]) -> list[Run]:
    """Join neighbours of one style: emphasis inside bold would cut a label in two."""
    joined: list[Run] = []
    for run in runs:
        if joined and (joined[-1].bold, joined[-1].href) == (run.bold, run.href):
            joined[-1] = Run(joined[-1].text + run.text, bold=run.bold, href=run.href)
        else:
            joined.append(run)
    return joined
