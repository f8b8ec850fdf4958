"""A workflow's result as tables: every list of objects in it becomes one. Called by `demo`.

It knows no workflow: columns are the fields that people look for first, then the others in their order.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from callboard.cli.formats import clean
from callboard.cli.job_views import new_table, with_title

COLUMN_WIDTH = 16  # characters that a column needs to be read
MAX_COLUMNS = 6
MAX_CELL = 80  # characters; a field with longer texts is left to the job's result, which has them whole
FIRST_COLUMNS = ("name", "title", "category", "priority", "phone", "address", "available_24hr", "has_parking")
NOT_SHOWN = "cost_data"  # has a table of its own


def result_tables(result: Mapping[str, Any], *, width: int) -> list[Group]:
    """Return a table for each list of objects in `result`, however deep, in its order; `width` is in characters."""
    return [_table(name, rows, min(MAX_COLUMNS, width // COLUMN_WIDTH)) for name, rows in _lists_of_objects("", result)]


def words(name: str) -> str:
    """Return a field's name as people write it.

    >>> words("meetingLocations"), words("available_24hr")
    ('meeting locations', 'available 24hr')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).lower()


def _lists_of_objects(name: str, value: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            if key != NOT_SHOWN:
                yield from _lists_of_objects(str(key), child)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        yield name, value


def _table(name: str, rows: Sequence[dict[str, Any]], max_columns: int) -> Group:
    columns = _columns(rows)[:max_columns]
    table = new_table(*map(words, columns), whole=("phone",))
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    return with_title(words(name).capitalize(), table)


def _columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    plain = [(key, value) for row in rows for key, value in row.items() if value is not None and _is_plain(value)]
    long = {key for key, value in plain if len(str(value)) > MAX_CELL}
    every = list(dict.fromkeys(key for key, _ in plain))
    found = [key for key in every if key not in long] or every
    first = [column for column in FIRST_COLUMNS if column in found]
    return [*first, *(column for column in found if column not in first)]


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)


def _cell(value: Any) -> str:
    if value is None or not _is_plain(value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = " ".join(clean(value).split())
    return text if len(text) <= MAX_CELL else text[: MAX_CELL - 1] + "…"
