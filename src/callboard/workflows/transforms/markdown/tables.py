"""Tables as grids of cells, and the general reading `tables`.

`markdown/lines.py` and `markdown/general.py` call it. A grid knows how many cells each row has as
written: CommonMark fills short rows up and drops what is too much without a word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markdown_it.token import Token

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.markdown.inline import Piece, plain_text, split_at_breaks
from callboard.workflows.transforms.markdown.names import UniqueNames
from callboard.workflows.transforms.markdown.source import Source, split_cells
from callboard.workflows.transforms.markdown.warnings import Warnings


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the line `number`."""

    number: int
    token: Token | None = None  # None: an empty one that the row does not have

    @property
    def text(self) -> str:
        """Its words, see `plain_text`."""
        return plain_text(self.token.children or []) if self.token is not None else ""

    @property
    def pieces(self) -> list[Piece]:
        """Its words, cut at `<br>`."""
        return split_at_breaks(self.token.children or []) if self.token is not None else []


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row, as many as the head has; `written` are those of its source line, as written."""

    number: int
    cells: Sequence[Cell]
    written: Sequence[str]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: its first row, and those below the dashes."""

    head: Row
    rows: Sequence[Row]


def read_grid(tokens: Sequence[Token], start: int, source: Source) -> tuple[Grid, int]:
    """Return the table that opens at `tokens[start]`, and the index of its closing token."""
    rows: list[Row] = []
    cells: list[Cell] = []
    index = start
    while tokens[index].type != "table_close":
        token = tokens[index]
        if token.type == "inline":
            cells.append(Cell((token.map or [0])[0] + 1, token))
        elif token.type == "tr_close":
            number = cells[0].number
            rows.append(Row(number, cells, split_cells(source.lines[number - 1])))
            cells = []
        index += 1
    return Grid(rows[0], rows[1:]), index


def transpose(grid: Grid) -> Grid:
    """Return the table with its columns as rows."""
    rows = [grid.head, *grid.rows]
    turned = [
        Row(row[0].number, row, [cell.text for cell in row]) for row in zip(*(row.cells for row in rows), strict=True)
    ]
    return Grid(turned[0], turned[1:])


def read_tables(tokens: Sequence[Token], source: Source, warnings: Warnings) -> list[JsonValue]:
    """Return [[{header: text}]]: the tables in order, each a list of rows.

    An empty cell is "", one that the row does not have null; cells beyond the head are left out. Both
    are warned of. A header without words is called "column 2", a repeated one "Name (2)".
    """
    tables: list[JsonValue] = []
    for grid in _grids(tokens, source):
        headers = _headers(grid.head, warnings)
        tables.append([_read_row(headers, row, warnings) for row in grid.rows])
    return tables


def _grids(tokens: Sequence[Token], source: Source) -> Iterator[Grid]:
    index = 0
    while index < len(tokens):
        if tokens[index].type == "table_open":
            grid, index = read_grid(tokens, index, source)
            yield grid
        index += 1


def _headers(head: Row, warnings: Warnings) -> list[str]:
    names = UniqueNames()
    headers: list[str] = []
    for index, cell in enumerate(head.cells, start=1):
        name = cell.text or f"column {index}"
        unique = names.take(name)
        if unique != name:
            warnings.add(head.number, f"the column {name!r} is there twice; the second one is called {unique!r}")
        headers.append(unique)
    return headers


def _read_row(headers: Sequence[str], row: Row, warnings: Warnings) -> dict[str, JsonValue]:
    written = len(row.written)
    if written < len(headers):
        missing = ", ".join(headers[written:])
        warnings.add(row.number, f"the row has {written} cells for {len(headers)} columns; null is set for: {missing}")
    for extra in row.written[len(headers) :]:
        warnings.left_out(row.number, "cell beyond the last column", extra.strip())
    return {
        header: cell.text if index < written else None
        for index, (header, cell) in enumerate(zip(headers, row.cells, strict=True))
    }
