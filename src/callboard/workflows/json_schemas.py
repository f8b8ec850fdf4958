"""JSON Schema as workflows use it: compiled once, every error at once, nothing fetched.

Called by the compiler (`input_schema`) and the llm step (`output_schema`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs

from callboard.core.errors import Finding
from callboard.core.json_values import JsonValue
from callboard.workflows.errors import NotCompilableError
from callboard.workflows.findings import nearest_name, pointer_of, suggest

MAX_MESSAGE_CHARS = 300  # the library quotes the value, which may be megabytes
MAX_FINDINGS = 100

_META = jsonschema_rs.Draft202012Validator(
    {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    validate_formats=True,  # tells which pattern is none
)
_TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
_KEYWORDS = frozenset(
    {
        *("$schema", "$id", "$ref", "$defs", "$comment", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary"),
        *(
            "type",
            "enum",
            "const",
            "title",
            "description",
            "default",
            "examples",
            "deprecated",
            "readOnly",
            "writeOnly",
        ),
        *("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "dependentRequired"),
        *("dependentSchemas", "unevaluatedProperties", "minProperties", "maxProperties", "definitions"),
        *("items", "prefixItems", "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems"),
        *("unevaluatedItems", "minLength", "maxLength", "pattern", "format", "contentEncoding", "contentMediaType"),
        *("contentSchema", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("allOf", "anyOf", "oneOf", "not", "if", "then", "else"),
    }
)


class InvalidSchemaError(NotCompilableError):
    """A JSON Schema that cannot be used. `faults` have pointers into it, one at least."""

    code = "invalid_schema"

    def __init__(self, faults: Sequence[Finding]) -> None:
        self.faults = tuple(faults)
        first = self.faults[0]
        place = f"{first.pointer}: " if first.pointer else ""
        super().__init__(f"The JSON Schema cannot be used: {place}{first.message}")


class JsonSchema:
    """A JSON Schema (2020-12), ready to check values."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises: InvalidSchemaError, also for a `$ref` that leads out of the schema."""
        try:
            self._validator = jsonschema_rs.Draft202012Validator(dict(schema), retriever=_refuse)
        except ValueError as error:
            faults = _find_faults(schema)
            raise InvalidSchemaError(faults or [Finding("", _shorten(str(error)), "invalid_schema")]) from error

    def check(self, value: JsonValue) -> list[Finding]:
        """Return everything in `value` that does not fit, up to 100 findings, with pointers into it.

        >>> schema = JsonSchema({"properties": {"age": {"type": "integer"}}, "required": ["name"]})
        >>> [(finding.pointer, finding.message) for finding in schema.check({"age": "x"})]
        [('', '"name" is a required property'), ('/age', '"x" is not of type "integer"')]
        """
        findings = []
        for error in self._validator.iter_errors(value):
            findings.append(Finding(pointer_of(*error.instance_path), _shorten(error.message), "schema"))
            if len(findings) == MAX_FINDINGS:
                break
        return findings


def find_schema_doubts(schema: JsonValue) -> list[Finding]:
    """Return what a JSON Schema says that checks nothing, and was probably meant otherwise.

    >>> [(each.pointer, each.message) for each in find_schema_doubts({"requird": ["a"]})]
    [('/requird', 'JSON Schema has no "requird", so it checks nothing. Did you mean "required"?')]
    """
    doubts: list[Finding] = []
    stack: list[tuple[str, JsonValue]] = [("", schema)]
    while stack:
        pointer, item = stack.pop()
        if not isinstance(item, dict):
            continue
        for keyword in item.keys() - _KEYWORDS:
            meant = nearest_name(keyword, _KEYWORDS)
            if meant is not None and meant not in item:
                message = f'JSON Schema has no "{keyword}", so it checks nothing. Did you mean "{meant}"?'
                doubts.append(Finding(pointer_of(keyword, base=pointer), message, "schema_keyword"))
        doubts += _doubts_of_required(item, pointer)
        stack.extend(_schemas_below(item, pointer))
    return doubts


def _doubts_of_required(schema: Mapping[str, Any], pointer: str) -> Iterator[Finding]:
    required, properties = schema.get("required"), schema.get("properties")
    if not isinstance(required, list) or not isinstance(properties, dict):
        return
    for index, name in enumerate(required):
        meant = nearest_name(name, properties) if isinstance(name, str) and name not in properties else None
        if meant is not None:
            message = f'"{name}" is required, and properties has no such name. Did you mean "{meant}"?'
            yield Finding(pointer_of("required", index, base=pointer), message, "schema_required")


def _schemas_below(schema: Mapping[str, Any], pointer: str) -> Iterator[tuple[str, JsonValue]]:
    for keyword in ("properties", "$defs", "patternProperties"):
        children = schema.get(keyword)
        for name, child in children.items() if isinstance(children, dict) else ():
            yield pointer_of(keyword, name, base=pointer), child
    for keyword in ("items", "additionalProperties"):
        yield pointer_of(keyword, base=pointer), schema.get(keyword)


def _find_faults(schema: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with `schema` by the rules for schemas."""
    faults = []
    for error in _META.iter_errors(dict(schema)):
        place = tuple(error.instance_path)
        message = _shorten(error.message)
        if place and place[-1] == "type" and isinstance(error.instance, str):
            message = f'"{error.instance[:60]}" is no type.{suggest(error.instance, _TYPES, what="Types:")}'
        elif place and place[-1] == "pattern" and isinstance(error.instance, str):
            message = f'"{error.instance[:60]}" is no regular expression'
        elif place and place[-1] == "required":
            message = f'"required" is a list of names beside "properties". {message}.'
        faults.append(
            Finding(pointer_of(*place), message if message.endswith((".", "?")) else f"{message}.", "invalid_schema")
        )
        if len(faults) == MAX_FINDINGS:
            break
    return faults


def _refuse(uri: str) -> JsonValue:
    raise ValueError(f"{uri} is not fetched; put what it means under $defs")


def _shorten(message: str) -> str:
    first = message.split("\n", 1)[0]
    return first if len(first) <= MAX_MESSAGE_CHARS else f"{first[:MAX_MESSAGE_CHARS]}..."
