"""Whether a path leads somewhere in a value of which only the JSON Schema is known.

Called by `reference_checks.py` for what `input_schema` and the outputs of steps say about themselves. Where a
schema says nothing (no `properties`, a `$ref`, a choice of several) anything may be there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from callboard.workflows.reference_syntax import Key, Star

_MANY_SHAPES = frozenset({"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "not", "patternProperties"})
_SCALARS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """The key of a path that the schema does not know. `depth` counts the keys before it.

    `is_closed` says that nothing else can be there. `kind` is set where there are no keys at all: it is text, say.
    """

    key: str
    depth: int
    known: tuple[str, ...]
    is_closed: bool
    kind: str | None = None


def find_unknown_key(schema: Mapping[str, Any], keys: Sequence[Key]) -> UnknownKey | None:
    """Return the first of `keys` that `schema` does not know, or None where all may be there.

    >>> schema = {"properties": {"place": {"type": "object", "properties": {"city": {"type": "string"}}}}}
    >>> find_unknown_key(schema, ("place", "citty"))
    UnknownKey(key='citty', depth=1, known=('city',), is_closed=False, kind=None)
    >>> find_unknown_key(schema, ("place", "city")) is None
    True
    """
    current: Any = schema
    for depth, key in enumerate(keys):
        if not isinstance(current, Mapping) or _MANY_SHAPES & current.keys():
            return None
        kind = _SCALARS.get(current["type"]) if isinstance(current.get("type"), str) else None
        if kind is not None:
            return UnknownKey(_show(key), depth, (), is_closed=True, kind=kind)
        if current.get("type") == "array" and isinstance(key, str):
            return UnknownKey(key, depth, (), is_closed=True, kind="a list")
        if current.get("type") == "object" and not isinstance(key, str):
            return UnknownKey(_show(key), depth, (), is_closed=True, kind="an object")
        if isinstance(key, str):
            properties = current.get("properties")
            if not isinstance(properties, Mapping) or (
                not properties and current.get("additionalProperties") is not False
            ):
                return None
            if key not in properties:
                is_closed = current.get("additionalProperties") is False
                return UnknownKey(key, depth, tuple(map(str, properties)), is_closed=is_closed)
            current = properties[key]
        else:
            current = current.get("items") if "properties" not in current else None
    return None


def _show(key: Key) -> str:
    return key.value if isinstance(key, Star) else str(key)
