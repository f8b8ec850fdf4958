"""Writing many rows with one statement: what the batch writers' flushes are made of.

On PostgreSQL the rows go as one array per column through `unnest`: the server plans and runs one statement, where
a batch of single-row statements cost it more time than all the rest (bench/results.md). SQLite runs a statement
per row in its own process, which is as fast.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.database import Base, JsonText

Insert: TypeAlias = "postgresql.Insert | sqlite.Insert"
Refine: TypeAlias = Callable[[Any], Any]
"""Adds ON CONFLICT to an INSERT."""


def plain(statement: Any) -> Any:
    """Return an INSERT as it is: a row that is there already is an error."""
    return statement


def once(statement: Any) -> Any:
    """Return an INSERT that leaves rows alone that are there already."""
    return statement.on_conflict_do_nothing()


async def insert_rows(
    connection: AsyncConnection, model: type[Base], rows: Sequence[Mapping[str, Any]], *, refine: Refine = plain
) -> None:
    """Insert `rows`, which all name the same columns. `refine` says what becomes of those that are there already.

    `refine` is a function of a module, called once for each shape of rows.
    """
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        await connection.execute(refine(sqlite.insert(model)), rows)
        return
    names = tuple(sorted(rows[0]))
    await connection.execute(_insert_of_arrays(model, names, refine), _arrays_of(rows, names))


async def update_rows(
    connection: AsyncConnection, model: type[Base], rows: Sequence[Mapping[str, Any]], *, key: str, key_name: str
) -> None:
    """Write columns of the rows of `model` whose column `key` each of `rows` names under `key_name`.

    All of `rows` name the same columns, each of them another row.
    """
    if not rows:
        return
    table = _table_of(model)
    if connection.dialect.name != "postgresql":
        statement = sa.update(table).where(table.c[key] == sa.bindparam(key_name))
        await connection.execute(statement, rows)
        return
    names = tuple(sorted(rows[0]))
    await connection.execute(_update_of_arrays(model, names, key, key_name), _arrays_of(rows, names))


@lru_cache(maxsize=256)
def _insert_of_arrays(model: type[Base], names: tuple[str, ...], refine: Refine) -> Any:
    given = _unnested({name: _table_of(model).c[name] for name in names})
    columns = [given[name] for name in names]
    return refine(postgresql.insert(model).from_select(names, sa.select(*columns)))


@lru_cache(maxsize=256)
def _update_of_arrays(model: type[Base], names: tuple[str, ...], key: str, key_name: str) -> sa.Update:
    table = _table_of(model)
    given = _unnested({name: table.c[key if name == key_name else name] for name in names})
    values = {name: given[name] for name in names if name != key_name}
    return sa.update(table).where(table.c[key] == given[key_name]).values(values)


def _unnested(columns: Mapping[str, sa.Column[Any]]) -> dict[str, sa.ColumnElement[Any]]:
    """Return the columns of rows that come as one array per column, each bound under its name."""
    arrays = [sa.bindparam(name, type_=postgresql.ARRAY(_sent_as(column.type))) for name, column in columns.items()]
    names = [sa.column(name, _sent_as(column.type)) for name, column in columns.items()]
    rows = sa.func.unnest(*arrays).table_valued(*names, name="given").render_derived()
    return {
        name: sa.cast(rows.c[name], column.type) if isinstance(column.type, JsonText) else rows.c[name]
        for name, column in columns.items()
    }


def _sent_as(column_type: sa.types.TypeEngine[Any]) -> sa.types.TypeEngine[Any]:
    """Return the type of a column's values on their way: JSON goes as the text that it is."""
    return sa.Text() if isinstance(column_type, JsonText) else column_type


def _arrays_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}


def _table_of(model: type[Base]) -> sa.Table:
    table = model.__table__
    assert isinstance(table, sa.Table)  # a mapped class may stand for less, says its type
    return table
