"""The input of a dry run: what was given, and unknown values for what is needed and was not. Called by `walk.py`."""

from collections.abc import Mapping
from typing import Any

from callboard.core.json_values import MAX_DEPTH, JsonValue
from callboard.workflows.unknown_values import TextSize, UnknownBook

# guesses, in characters, of what a caller sends where the schema sets no limit
_TEXT = TextSize(1, 100, 2_000)
_LIST = TextSize(2, 500, 10_000)
_OBJECT = TextSize(2, 500, 10_000)
_ANYTHING = TextSize(0, 500, 10_000)
_SCALAR = TextSize(1, 5, 20)
_BY_TYPE = {
    "string": _TEXT,
    "array": _LIST,
    "object": _OBJECT,
    "integer": _SCALAR,
    "number": _SCALAR,
    "boolean": _SCALAR,
    "null": _SCALAR,
}


def imagine_input(schema: Mapping[str, Any], book: UnknownBook) -> JsonValue:
    """Return an input of which nothing is known but its schema: every property unknown, defaults as they are."""
    return _imagine(schema, "input", book, 0)


def fill_in_missing(value: JsonValue, schema: Mapping[str, Any], book: UnknownBook) -> JsonValue:
    """Return `value` with an unknown value in the place of every property that the schema requires and it lacks."""
    return _fill(value, schema, "input", book, 0)


def _fill(value: JsonValue, schema: Any, path: str, book: UnknownBook, depth: int) -> JsonValue:
    properties = _properties(schema)
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        return value
    filled = {
        name: _fill(child, properties.get(name), f"{path}.{name}", book, depth + 1) for name, child in value.items()
    }
    for name in _required(schema):
        if name not in filled:
            filled[name] = _imagine(properties.get(name), f"{path}.{name}", book, depth + 1)
    return filled


def _imagine(schema: Any, path: str, book: UnknownBook, depth: int) -> JsonValue:
    if isinstance(schema, Mapping) and "default" in schema:
        return schema["default"]
    properties = _properties(schema)
    if properties and depth <= MAX_DEPTH:
        return {name: _imagine(child, f"{path}.{name}", book, depth + 1) for name, child in properties.items()}
    return book.new(path, _size_of(schema))


def _size_of(schema: Any) -> TextSize:
    if not isinstance(schema, Mapping):
        return _ANYTHING
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) and kinds else kinds
    size = _BY_TYPE.get(kind, _ANYTHING) if isinstance(kind, str) else _ANYTHING
    longest = schema.get("maxLength")
    if kind == "string" and isinstance(longest, int) and not isinstance(longest, bool) and longest >= 0:
        return TextSize(min(size.low, longest), min(size.likely, longest), longest)
    return size


def _properties(schema: Any) -> Mapping[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _required(schema: Any) -> list[str]:
    required = schema.get("required") if isinstance(schema, Mapping) else None
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
