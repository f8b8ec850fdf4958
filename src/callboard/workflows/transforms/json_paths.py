"""Paths into a JSON value, as the transforms `extract_fields`, `join` and `merge` take them.

Two spellings: a JSONPath query (RFC 9535) that begins with `$`, and the bare path that references use:
`results[0].name`, `rows[*]["odd key"]`, `opening-hours`. Both are compiled once, when a file is loaded.
"""

import json
import re
from dataclasses import dataclass

from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError, JSONPathQuery

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import TransformError

# One step of a bare path: a name (hyphens and any letters allowed), [0], [-1], [*] or ["odd key"].
_BARE_STEP = re.compile(
    r"""\.?(?P<name>[^\s.\[\]"'$?@()*,:]+)|\[(?P<index>-?\d+)\]|\[(?P<all>\*)\]|\[(?P<key>"(?:[^"\\]|\\.)*"|'[^'\\]*')\]"""
)


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A compiled path. `gives_list` where it may match many: a `$` query, or a bare path with `[*]`."""

    text: str
    query: JSONPathQuery
    gives_list: bool

    def find(self, value: JsonValue) -> list[JsonValue]:
        """Return everything in `value` that the path matches. Raises: TransformError, when it nests too deep."""
        try:
            return self.query.find(value).values()
        except JSONPathError as error:
            raise TransformError(f"The path {self.text!r} could not be followed: {error}.") from error


def compile_path(text: str) -> JsonPath:
    """Return `text` compiled.

    Raises: ValueError, telling what is wrong with it.

    >>> compile_path("results[0].name").find({"results": [{"name": "Harborview"}]})
    ['Harborview']
    >>> compile_path("$.results[?@.rating > 4].name").find({"results": [{"name": "A", "rating": 4.5}]})
    ['A']
    """
    stripped = text.strip()
    if stripped.startswith("$"):
        return JsonPath(text=text, query=_compile_query(stripped, shown=text), gives_list=True)
    query, gives_list = _read_bare_path(stripped, shown=text)
    return JsonPath(text=text, query=_compile_query(query, shown=text), gives_list=gives_list)


def _compile_query(query: str, *, shown: str) -> JSONPathQuery:
    # An environment per query: the library's shared parser object is not documented to be safe in threads.
    try:
        return JSONPathEnvironment().compile(query)
    except JSONPathError as error:
        raise ValueError(f"{shown!r} is no JSONPath: {error}") from error


def _read_bare_path(path: str, *, shown: str) -> tuple[str, bool]:
    if not path:
        raise ValueError("a path is not empty; `$` alone means the whole value")
    query, gives_list, position = "$", False, 0
    while position < len(path):
        step = _BARE_STEP.match(path, position)
        if step is None or (position == 0 and path[0] == ".") or not _is_separated(path, position, step):
            raise ValueError(
                f"{shown!r} cannot be read at character {position + 1}: a bare path is made of names, [0], [*] and "
                f'["odd key"]; a JSONPath query begins with $, such as $..name'
            )
        position = step.end()
        gives_list = gives_list or step["all"] is not None
        query += _as_segment(step)
    return query, gives_list


def _is_separated(path: str, position: int, step: re.Match[str]) -> bool:
    return step["name"] is None or position == 0 or path[position] == "."


def _as_segment(step: re.Match[str]) -> str:
    if step["name"] is not None:
        return f"[{json.dumps(step['name'], ensure_ascii=False)}]"
    return step.group()
