"""JSON Schema as workflows use it: compiled once, every error at once, nothing fetched.

Called by the compiler (`input_schema`) and the llm step (`output_schema`).
"""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from callboard.core.errors import Finding
from callboard.core.json_values import JsonValue
from callboard.workflows.errors import NotCompilableError
from callboard.workflows.findings import pointer_of

MAX_MESSAGE_CHARS = 300  # the library quotes the value, which may be megabytes
MAX_FINDINGS = 100


class InvalidSchemaError(NotCompilableError):
    """A JSON Schema that cannot be used."""

    code = "invalid_schema"


class JsonSchema:
    """A JSON Schema (2020-12), ready to check values."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises: InvalidSchemaError, also for a `$ref` that leads out of the schema."""
        try:
            self._validator = jsonschema_rs.Draft202012Validator(dict(schema), retriever=_refuse)
        except ValueError as error:
            raise InvalidSchemaError(f"The JSON Schema cannot be used: {_shorten(str(error))}") from error

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


def _refuse(uri: str) -> JsonValue:
    raise ValueError(f"{uri} is not fetched; put what it means under $defs")


def _shorten(message: str) -> str:
    first = message.split("\n", 1)[0]
    return first if len(first) <= MAX_MESSAGE_CHARS else f"{first[:MAX_MESSAGE_CHARS]}..."
