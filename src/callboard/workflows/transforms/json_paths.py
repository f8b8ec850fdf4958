"""Paths into a JSON value, as the transforms `extract_fields`, `map`, `join`, `sort`, `unique` and `merge` take them.

Two spellings: a JSONPath query (RFC 9535) that begins with `$`, and the bare path that references use:
`results[0].name`, `rows[*]["odd key"]`, `opening-hours`. Both are compiled once, when a file is loaded.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, TypeAlias

from pydantic import PlainValidator, WithJsonSchema

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.allowance import Allowance
from callboard.workflows.transforms.json_queries import JsonQuery, compile_query

# One step of a bare path: a name (hyphens and any letters allowed), [0], [-1], [*] or ["odd key"].
_BARE_STEP = re.compile(
    r"""\.?(?P<name>[^\s.\[\]"'$?@()*,:]+)|\[(?P<index>-?\d+)\]|\[(?P<all>\*)\]|\[(?P<key>"(?:[^"\\]|\\.)*"|'[^'\\]*')\]"""
)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A compiled path. `gives_list` where it may match many: a `$` query, or a bare path with `[*]`.

    `root` is the first name of a bare path that begins with one.
    """

    text: str
    query: JsonQuery
    gives_list: bool
    root: str | None = None

    def find(self, value: JsonValue, allowance: Allowance) -> Iterator[JsonValue]:
        """Yield everything in `value` that the path matches. Raises: as `JsonQuery.find`."""
        return self.query.find(value, allowance)

    def first(self, value: JsonValue, allowance: Allowance) -> JsonValue:
        """Return the first thing in `value` that the path matches; null when there is none. Raises: as `find`."""
        return next(self.query.find(value, allowance), None)

    def extract(self, value: JsonValue, allowance: Allowance) -> JsonValue:
        """Return what the path stands for: a list where it may match many, else the one thing, or null.

        Raises: as `find`; UnstorableValueError, when a list grows too large.
        """
        if not self.gives_list:
            return self.first(value, allowance)
        found = []
        for match in self.find(value, allowance):
            allowance.take(match)
            found.append(match)
        return found


def compile_path(text: str) -> JsonPath:
    """Return `text` compiled.

    Raises: ValueError, telling what is wrong with it.

    >>> compile_path("results[0].name").first({"results": [{"name": "Harborview"}]}, Allowance())
    'Harborview'
    >>> compile_path("$.results[?@.rating > 4].name").extract({"results": [{"name": "A", "rating": 4.5}]}, Allowance())
    ['A']
    """
    if not isinstance(text, str):
        raise ValueError(f"a path is text, such as results[0].name, and not {json.dumps(text)[:80]}")
    if text.startswith("${"):
        raise ValueError(f"{text[:200]!r} is no path: references are not filled in here; a path begins in the input")
    if text.startswith("$"):
        return JsonPath(text=text, query=_compile(text, shown=text), gives_list=True)
    query, gives_list = _read_bare_path(text)
    first = _BARE_STEP.match(text)
    root = first["name"] if first is not None else None
    return JsonPath(text=text, query=_compile(query, shown=text), gives_list=gives_list, root=root)


def compile_path_to_one(text: str) -> JsonPath:
    """Return `text` compiled, a path that leads to one thing. Raises: ValueError, for others too."""
    path = compile_path(text)
    if path.gives_list:
        raise ValueError(
            f"{text!r} may lead to many things; a key is a path to one, such as address.city (no $, no [*])"
        )
    return path


def compile_array_path(text: str) -> JsonPath:
    """Return `text` compiled, a path to a list: `data.rows` and `$.data.rows` are the same, and `$` is the input.

    Raises: ValueError, telling what is wrong with it.
    """
    if not isinstance(text, str) or not text.startswith("$") or text.startswith("${"):
        return compile_path(text)
    if text == "$":
        return JsonPath(text=text, query=_compile(text, shown=text), gives_list=False)
    try:
        return replace(compile_path(text[1:].removeprefix(".")), text=text)
    except ValueError:
        return compile_path(text)  # a query that no bare path can say


# Fields of configs: text in the file, compiled where the file is read.
PathField: TypeAlias = Annotated[JsonPath, PlainValidator(compile_path), WithJsonSchema({"type": "string"})]
KeyField: TypeAlias = Annotated[JsonPath, PlainValidator(compile_path_to_one), WithJsonSchema({"type": "string"})]


def _compile(query: str, *, shown: str) -> JsonQuery:
    try:
        return compile_query(query)
    except ValueError as error:
        raise ValueError(f"{shown[:200]!r} is no path: {error}") from error


def _read_bare_path(path: str) -> tuple[str, bool]:
    if not path:
        raise ValueError("a path is not empty; `$` alone means the whole value")
    query, gives_list, position = "$", False, 0
    while position < len(path):
        step = _BARE_STEP.match(path, position)
        if step is None or (position == 0 and path[0] == ".") or not _is_separated(path, position, step):
            raise ValueError(_bare_path_fault(path, position))
        position = step.end()
        gives_list = gives_list or step["all"] is not None
        query += _as_segment(step)
    return query, gives_list


def _bare_path_fault(path: str, position: int) -> str:
    stripped = path.strip()
    if stripped != path:
        return f"{path[:200]!r} begins or ends with a blank; write {stripped[:200]!r}"
    return (
        f"{path[:200]!r} cannot be read at character {position + 1}: a bare path is made of names, [0], [*] and "
        f'["odd key"]; a JSONPath query begins with $, such as $..name'
    )


def _is_separated(path: str, position: int, step: re.Match[str]) -> bool:
    return step["name"] is None or position == 0 or path[position] == "."


def _as_segment(step: re.Match[str]) -> str:
    if step["name"] is not None:
        return f"[{json.dumps(step['name'], ensure_ascii=False)}]"
    return step.group()
