"""How an `output_schema` is told to a model: what a vendor's own structured output can express, or words.

Called by the wire formats. Vendors take only a part of JSON Schema there and refuse the whole request
otherwise, so a schema is checked or narrowed first. The llm step checks the answer against the full schema.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

_ANNOTATIONS = frozenset({"title", "description"})
_STRICT_KEYWORDS = _ANNOTATIONS | {
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs",
}  # fmt: skip
_CLOSED_KEYWORDS = _STRICT_KEYWORDS | {"allOf", "default", "format"}
_CHILD_MAPS = ("properties", "$defs")
_CHILD_LISTS = ("anyOf", "allOf")


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Tell whether OpenAI's strict mode takes `schema`: objects closed, every property required, few keywords.

    >>> is_strict({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
    False
    """
    if schema.get("type") != "object" or not schema.keys() <= _STRICT_KEYWORDS | {"$schema"}:
        return False
    return all(_is_strict_node(node) for node in _nodes(schema))


def _is_strict_node(node: Mapping[str, Any]) -> bool:
    if not node.keys() <= _STRICT_KEYWORDS | {"$schema"}:
        return False
    if not _is_object(node):
        return True
    return node.get("additionalProperties") is False and set(node.get("required", ())) == set(
        node.get("properties", {})
    )


def close_objects(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `schema` in the part of JSON Schema that Anthropic's structured output takes, or None.

    Limits of numbers and lengths are left out and objects are closed. None where that would change what is
    meant: an object with free keys, or a keyword that cannot be left out.
    """
    if schema.get("type") != "object" or any(_has_free_keys(node) for node in _nodes(schema)):
        return None
    if any(key in node for node in _nodes(schema) for key in ("oneOf", "not", "if", "prefixItems", "$dynamicRef")):
        return None
    return _closed(schema)


def _closed(node: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {key: value for key, value in node.items() if key in _CLOSED_KEYWORDS}
    for key in _CHILD_MAPS:
        if isinstance(kept.get(key), Mapping):
            kept[key] = {name: _closed_child(child) for name, child in kept[key].items()}
    for key in _CHILD_LISTS:
        if isinstance(kept.get(key), list):
            kept[key] = [_closed_child(child) for child in kept[key]]
    if "items" in kept:
        kept["items"] = _closed_child(kept["items"])
    if _is_object(node):
        kept["additionalProperties"] = False
    return kept


def _closed_child(child: Any) -> Any:
    return _closed(child) if isinstance(child, Mapping) else child


def _has_free_keys(node: Mapping[str, Any]) -> bool:
    extra = node.get("additionalProperties", False)
    return "patternProperties" in node or extra is not False or (_is_object(node) and not node.get("properties"))


def _is_object(node: Mapping[str, Any]) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in node


def _nodes(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    children: list[Any] = [schema.get("items")]
    for key in _CHILD_MAPS:
        children.extend(schema.get(key, {}).values() if isinstance(schema.get(key), Mapping) else ())
    for key in _CHILD_LISTS:
        children.extend(schema.get(key, ()) if isinstance(schema.get(key), list) else ())
    for child in children:
        if isinstance(child, Mapping):
            yield from _nodes(child)


def describe_schema(schema: Mapping[str, Any]) -> str:
    """Return the sentence that asks a model for JSON where the vendor's structured output cannot."""
    text = orjson.dumps(dict(schema)).decode()
    return f"Answer with one JSON value and nothing else, no code fence. It must fit this JSON Schema:\n{text}"
