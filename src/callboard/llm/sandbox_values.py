"""Values that fit a JSON Schema, made up in a way that can be repeated. Called by `sandbox.py`.

Covered: types, const, enum, examples and defaults, properties, lengths, limits, multiples, common formats,
local references, allOf, and the first of anyOf and oneOf that works. What cannot be met (a pattern, say) is
found by checking the value, and said.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from callboard.core.json_values import JsonValue

OPTIONAL_DEPTH = 5  # below this only what is required is filled in, so that recursive schemas end
MAX_DEPTH = 40
MAX_REPEAT = 10_000
MAX_VALUES = 50_000  # made up in all, tries included
_FORMATS = {
    "date-time": "2025-01-15T12:00:00Z",
    "date": "2025-01-15",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "sandbox@example.com",
    "idn-email": "sandbox@example.com",
    "hostname": "sandbox.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/sandbox",
    "uri-reference": "/sandbox",
    "iri": "https://example.com/sandbox",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/sandbox",
    "regex": ".*",
}
_PATTERN_TRIES = (
    "0",
    "1",
    "a",
    "A",
    "sandbox",
    "Sandbox",
    "SANDBOX",
    "2025-01-15",
    "12:00",
    "+15550100000",
    "555-0100",
)
_TYPE_KEYWORDS = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "contains"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


class UnfittingSchemaError(ValueError):
    """No value was found that fits the schema; the message says where."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the value we are: what it is called, and how deep it lies."""

    name: str = "answer"
    depth: int = 0

    def child(self, name: str) -> "_Place":
        return _Place(name, self.depth + 1)


def make_value(schema: Mapping[str, Any], *, seed: str) -> JsonValue:
    """Return a value that fits `schema`, the same for the same schema and seed (text of hexadecimal digits).

    Raises: UnfittingSchemaError, when the schema is not valid, reaches outside itself, or was not met.

    >>> make_value({"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}}, seed="0")
    {'n': 3}
    """
    try:
        validator = jsonschema_rs.validator_for(dict(schema), validate_formats=True, retriever=_refuse)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        raise UnfittingSchemaError(f"the schema is not valid: {_one_line(error)}") from error
    value = _Maker(schema, seed).make(schema, _Place())
    for mistake in validator.iter_errors(value):
        pointer = "".join(f"/{part}" for part in mistake.instance_path) or "/"
        raise UnfittingSchemaError(f"{pointer}: {_one_line(mistake)}")
    return value


def _refuse(uri: str) -> None:
    raise UnfittingSchemaError(f"{uri} is outside the schema")


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


class _Maker:
    def __init__(self, root: Mapping[str, Any], seed: str) -> None:
        self._root = root
        self._seed = int(seed[:8] or "0", 16)
        self._made = 0

    def make(self, schema: Any, place: _Place) -> JsonValue:
        self._made += 1
        if place.depth > MAX_DEPTH or self._made > MAX_VALUES:
            raise UnfittingSchemaError(f"{place.name}: the schema requires itself without end, or too much")
        if not isinstance(schema, Mapping):
            return f"[sandbox] {place.name}"
        schema = self._flatten(schema, place)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._seed % len(schema["enum"])]
        for given in (*schema.get("examples", ())[:1], *([schema["default"]] if "default" in schema else ())):
            return given
        return self._make_type(_type_of(schema), schema, place)

    def _flatten(self, schema: Mapping[str, Any], place: _Place) -> dict[str, Any]:
        """Return `schema` with its reference followed and its combinations merged into one."""
        merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
        parts: list[Any] = [*schema.get("allOf", ())]
        if "$ref" in schema:
            parts.append(self._follow(str(schema["$ref"])))
        parts.extend(self._first_working(schema[key], place) for key in ("anyOf", "oneOf") if schema.get(key))
        for part in parts:
            if isinstance(part, Mapping):
                merged = _merge(merged, self._flatten(part, place.child(place.name)))
        if place.depth > MAX_DEPTH:
            raise UnfittingSchemaError(f"{place.name}: the schema refers to itself without end")
        return merged

    def _first_working(self, choices: list[Any], place: _Place) -> Any:
        if place.depth >= OPTIONAL_DEPTH:  # what leads back into the schema comes last, so that it ends
            choices = sorted(choices, key=lambda choice: "$ref" in choice if isinstance(choice, Mapping) else False)
        for choice in choices:
            try:
                self.make(choice, place.child(place.name))
            except UnfittingSchemaError:
                continue
            return choice
        raise UnfittingSchemaError(f"{place.name}: none of the choices can be met")

    def _follow(self, reference: str) -> Any:
        target: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            target = target.get(key) if isinstance(target, Mapping) else None
        if target is None or not reference.startswith("#"):
            raise UnfittingSchemaError(f"the reference {reference} leads nowhere in the schema")
        return target

    def _make_type(self, kind: str, schema: Mapping[str, Any], place: _Place) -> JsonValue:
        match kind:
            case "object":
                return self._make_object(schema, place)
            case "array":
                return self._make_array(schema, place)
            case "integer" | "number":
                return _make_number(schema, is_whole=kind == "integer")
            case "boolean":
                return self._seed % 2 == 0
            case "null":
                return None
            case _:
                return _make_text(schema, place.name)

    def _make_object(self, schema: Mapping[str, Any], place: _Place) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties", {})
        required = list(schema.get("required", ()))
        made: dict[str, Any] = {}
        for name, child in properties.items():
            if child is not False and (name in required or place.depth < OPTIONAL_DEPTH):
                made[name] = self.make(child, place.child(name))
        extra = schema.get("additionalProperties", True)
        for name in required:
            if name not in made:
                made[name] = self.make(extra, place.child(name))
        for number in range(len(made), min(int(schema.get("minProperties", 0)), MAX_REPEAT)):
            made[f"sandbox_{number + 1}"] = self.make(extra, place.child(f"sandbox_{number + 1}"))
        return made

    def _make_array(self, schema: Mapping[str, Any], place: _Place) -> list[Any]:
        first = list(schema.get("prefixItems", ()))
        items = schema.get("items", schema.get("contains", True))
        least = max(int(schema.get("minItems", 0)), len(first))
        wanted = max(least, 1 if place.depth < OPTIONAL_DEPTH and items is not False else 0)
        count = min(wanted, int(schema.get("maxItems", wanted)), MAX_REPEAT)
        made = [
            self.make(first[index] if index < len(first) else items, place.child(f"{place.name} {index + 1}"))
            for index in range(count)
        ]
        return _make_unique(made, items) if schema.get("uniqueItems") else made


def _type_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((name for name in kind if name != "null"), "null")
    if isinstance(kind, str):
        return kind
    return next((name for name, keys in _TYPE_KEYWORDS.items() if any(key in schema for key in keys)), "string")


def _merge(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**left, **right}
    for key in ("properties", "$defs"):
        if key in left and key in right:
            merged[key] = {**left[key], **right[key]}
    if "required" in left and "required" in right:
        merged["required"] = list(dict.fromkeys([*left["required"], *right["required"]]))
    return merged


def _make_text(schema: Mapping[str, Any], name: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    tries = _texts_of_length(schema, name)
    if "pattern" not in schema:
        return next(tries)
    checker = jsonschema_rs.validator_for({"type": "string", "pattern": schema["pattern"]})
    for text in (*tries, *_PATTERN_TRIES):
        if checker.is_valid(text):
            return text
    raise UnfittingSchemaError(f"{name}: the sandbox cannot make text for the pattern {schema['pattern']!r}")


def _texts_of_length(schema: Mapping[str, Any], name: str) -> Iterator[str]:
    least = min(int(schema.get("minLength", 0)), MAX_REPEAT)
    most = int(schema.get("maxLength", MAX_REPEAT))
    yield f"[sandbox] {name}".ljust(least, ".")[:most]
    for char in "0aA":
        yield from (char * size for size in sorted({least, min(most, least + 1)}) if size)


def _make_number(schema: Mapping[str, Any], *, is_whole: bool) -> int | float:
    step = float(schema.get("multipleOf", 1 if is_whole else 0))
    if is_whole and step != int(step):
        step = 1.0
    low = _limit(schema, "minimum", "exclusiveMinimum", 1 if is_whole or step else 0.001)
    high = _limit(schema, "maximum", "exclusiveMaximum", -1 if is_whole or step else -0.001)
    value = low if low is not None else min(1.0, high) if high is not None else 1.0
    if step:
        value = math.ceil(value / step) * step if low is not None else math.floor(value / step) * step
    if low is not None and high is not None and not step and not low <= value <= high:
        value = (low + high) / 2
    return int(value) if is_whole or float(value).is_integer() else value


def _limit(schema: Mapping[str, Any], inclusive: str, exclusive: str, inward: float) -> float | None:
    limits = [float(schema[inclusive])] if inclusive in schema else []
    if exclusive in schema:
        edge = float(schema[exclusive])
        whole = math.floor(edge) + 1 if inward > 0 else math.ceil(edge) - 1
        limits.append(float(whole) if abs(inward) == 1 else edge + inward)
    if not limits:
        return None
    return max(limits) if inward > 0 else min(limits)


def _make_unique(made: list[Any], items: Any) -> list[Any]:
    choices = items.get("enum") if isinstance(items, Mapping) else None
    if isinstance(choices, list):
        return choices[: len(made)]
    return [
        f"{item} {index}" if isinstance(item, str) and index else _shift(item, index) for index, item in enumerate(made)
    ]


def _shift(item: Any, by: int) -> Any:
    return item + by if isinstance(item, int | float) and not isinstance(item, bool) else item
