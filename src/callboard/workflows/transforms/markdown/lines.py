"""Markdown as lines that still know what they were: heading, list item, bold, link, line number.

`markdown/items.py` and `markdown/key_values.py` find fields in them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from markdown_it.token import Token

from callboard.workflows.transforms.markdown.inline import Piece, Run, split_at_breaks
from callboard.workflows.transforms.markdown.parsing import Parsed
from callboard.workflows.transforms.markdown.source import Source
from callboard.workflows.transforms.markdown.tables import Grid, read_grid

_LISTS = {"bullet_list_open": 1, "ordered_list_open": 1, "bullet_list_close": -1, "ordered_list_close": -1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `level` is the heading's (0: none), `depth` the nesting of lists, `block` its paragraph.

    `is_underlined`: dashes stand below it, which is a heading to CommonMark and a rule to many a model.
    """

    number: int
    runs: tuple[Run, ...]
    level: int = 0
    depth: int = 0
    block: int = 0
    is_underlined: bool = False

    @property
    def text(self) -> str:
        return "".join(run.text for run in self.runs).strip()


@dataclass(frozen=True, slots=True)
class Reading:
    """Lines and tables in the order of the text; `lost`: the numbers of lines with words that are in neither."""

    blocks: Sequence[Line | Grid]
    lost: Sequence[int] = field(default_factory=tuple)


def read_lines(source: Source, parsed: Parsed) -> Reading:
    """Return what `source`, parsed, holds, numbered as in the text that was given."""
    walk = _Walk(source)
    blocks = list(walk.read(parsed.tokens))
    for href, first, last in parsed.definitions:
        if href in walk.addresses:
            walk.seen.update(range(first, last + 1))
    filled = (number for number, line in enumerate(source.lines, start=1) if any(map(str.isalnum, line)))
    return Reading(blocks, [number for number in filled if number not in walk.seen])


class _Walk:
    """Goes through the tokens once and keeps the numbers of the lines that it saw."""

    def __init__(self, source: Source) -> None:
        self.seen: set[int] = set()
        self.addresses: set[str] = set()
        self._source = source
        self._depth = 0
        self._block = 0

    def read(self, tokens: Sequence[Token]) -> Iterator[Line | Grid]:
        heading: Token | None = None
        index = 0
        while index < len(tokens):
            token = tokens[index]
            self._depth += _LISTS.get(token.type, 0)
            if token.type in {"heading_open", "heading_close"}:
                heading = token if token.type == "heading_open" else None
            elif token.type == "table_open":
                grid, index = read_grid(tokens, index, self._source)
                self.seen.update(row.number for row in (grid.head, *grid.rows) if any(cell.text for cell in row.cells))
                yield grid
            elif token.type == "inline":
                yield from self._read_inline(token, heading)
            elif token.type == "fence":
                yield from self._read_fence(token)
            index += 1

    def _read_inline(self, token: Token, heading: Token | None) -> Iterator[Line]:
        self._block += 1
        first, beyond = token.map or [0, 0]
        cut = split_at_breaks(token.children or [])
        pieces = [piece for piece in cut if any(map(_has_text, piece.runs))]
        if pieces and cut[-1].offset + first + 1 < beyond:
            self.seen.update(range(first + 1, beyond + 1))  # a code span or a tag goes over lines
        for piece in pieces:
            self.seen.add(first + 1 + piece.offset)
            self.addresses.update(run.href for run in piece.runs if run.href)
            yield self._line(piece, first + 1, heading, is_last=piece is pieces[-1])

    def _line(self, piece: Piece, first: int, heading: Token | None, *, is_last: bool) -> Line:
        is_underlined = heading is not None and heading.markup == "-"
        # only the last line above an underline is a title, whatever CommonMark says
        is_title = heading is not None and not is_underlined and is_last
        return Line(
            number=first + piece.offset,
            runs=piece.runs,
            level=int(heading.tag[1:]) if heading is not None and is_title else 0,
            depth=self._depth,
            block=self._block,
            is_underlined=is_underlined and is_last,
        )

    def _read_fence(self, token: Token) -> Iterator[Line]:
        self._block += 1
        first = (token.map or [0])[0] + 1
        self.seen.add(first)
        for offset, text in enumerate(token.content.split("\n"), start=1):
            if text.strip():
                self.seen.add(first + offset)
                yield Line(number=first + offset, runs=(Run(text),), block=self._block)


def _has_text(run: Run) -> bool:
    return bool(run.text.strip())
