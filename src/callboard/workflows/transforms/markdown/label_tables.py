"""Tables in which a model put fields: a row per field, a row per item, or a column per item, as plain lines.

`markdown/items.py` calls it, so that what reads lines reads tables too.
"""

from collections.abc import Iterator, Sequence

from callboard.workflows.transforms.markdown.inline import Run
from callboard.workflows.transforms.markdown.labels import KnownLabels
from callboard.workflows.transforms.markdown.lines import Line
from callboard.workflows.transforms.markdown.schema import MarkdownSchema, normalise_label
from callboard.workflows.transforms.markdown.tables import Cell, Grid, Row, transpose

_ITEM_LEVEL = 6  # below every real heading
_BLOCKS_PER_LINE = 1_000
_MIN_LABELS = 2  # so many known words in the first column are no accident
_MIN_COLUMNS_TO_TURN = 3


def table_lines(grid: Grid, schema: MarkdownSchema) -> list[Line]:
    """Return the table as headings of items and lines of fields. Their `block` is below zero."""
    known = schema.labels
    labelled_rows = sum(_name(row.cells[0]) in known for row in grid.rows)
    if any(_name(cell) in known for cell in grid.head.cells[1:]) and labelled_rows < _MIN_LABELS:
        return list(_lines_of_items(grid, schema))
    if labelled_rows >= _MIN_LABELS and len(grid.head.cells) >= _MIN_COLUMNS_TO_TURN:
        return [*_lines_without_item(grid), *_lines_of_items(transpose(grid), schema)]
    return [line for row in (grid.head, *grid.rows) for line in _lines_of_row(row)]


def _lines_of_items(grid: Grid, schema: MarkdownSchema) -> Iterator[Line]:
    """Yield a heading for each row and a line for each of its fields, by the labels in the head."""
    labels = [cell.text for cell in grid.head.cells]
    name_column = _name_column(labels, schema)
    for row in grid.rows:
        if not any(cell.text for cell in row.cells):
            continue
        name = row.cells[name_column].text if name_column is not None else ""
        yield Line(number=row.number, runs=(Run(name),), level=_ITEM_LEVEL, block=-row.number * _BLOCKS_PER_LINE)
        for index, (label, cell) in enumerate(zip(labels, row.cells, strict=True)):
            block = -row.number * _BLOCKS_PER_LINE - index - 1
            if index == name_column or not cell.text:
                continue
            if normalise_label(label):
                yield from _field_lines(label, [cell], number=cell.number, block=block)
            elif not cell.text.strip(" .#)").isdigit():
                yield Line(number=row.number, runs=(Run(cell.text),), block=block)
        yield from _surplus(row)


def _lines_without_item(grid: Grid) -> Iterator[Line]:
    """Yield what no column of `grid` takes: rows of one cell, and cells beyond the last column."""
    for row in grid.rows:
        if any(cell.text for cell in row.cells[1:]):
            yield from _surplus(row)
        else:
            yield from _lines_of_row(row)


def _lines_of_row(row: Row) -> Iterator[Line]:
    filled = [cell for cell in row.cells if cell.text]
    if filled:
        yield from _field_lines(filled[0].text, filled[1:], number=row.number, block=-row.number * _BLOCKS_PER_LINE)
    yield from _surplus(row)


def _surplus(row: Row) -> Iterator[Line]:
    """Yield what stands beyond the last column as text, which is warned of."""
    beyond = " ".join(text.strip() for text in row.written[len(row.cells) :]).strip()
    if beyond:
        block = -row.number * _BLOCKS_PER_LINE - len(row.cells) - 1
        yield Line(number=row.number, runs=(Run(beyond),), block=block)


def _field_lines(label: str, cells: Sequence[Cell], *, number: int, block: int) -> Iterator[Line]:
    pieces = [piece for cell in cells for piece in cell.pieces if any(run.text.strip() for run in piece.runs)]
    start = (Run(label.strip("*_:： "), bold=True), Run(": "))
    yield Line(number=number, runs=(*start, *(pieces[0].runs if pieces else ())), block=block)
    for piece in pieces[1:]:
        yield Line(number=number, runs=piece.runs, block=block)


def _name_column(labels: Sequence[str], schema: MarkdownSchema) -> int | None:
    """Return the column that names the items: by its label, by a word before names, or as the first."""
    known = schema.labels
    names = [normalise_label(label) for label in labels]
    prefixes = {normalise_label(prefix) for section in schema.sections for prefix in section.heading_prefixes}
    lettered = [index for index, name in enumerate(names) if name]
    for index in lettered:
        rule = known.get(names[index])
        if rule is not None and rule.heading and not rule.choices:
            return index
    for index in lettered:
        if names[index] in prefixes and (names[index] not in known or _is_shared(index, names, known)):
            return index
    return lettered[0] if lettered and names[lettered[0]] not in known else None


def _is_shared(index: int, names: Sequence[str], known: KnownLabels) -> bool:
    rule = known.get(names[index])
    return rule is not None and any(
        known.get(name) is rule for other, name in enumerate(names) if other != index and name
    )


def _name(cell: Cell) -> str:
    return normalise_label(cell.text)
