"""Examples in the API's description, whole: `main.py` has them completed once.

The framework takes every null out of the document, and an answer without `next_cursor` or `error` would not
fit the schema that it is the example of.
"""

from typing import Any

SCHEMA_PREFIX = "#/components/schemas/"


def put_back_nulls(openapi: dict[str, Any]) -> None:
    """Set what an example must have and has not to null, in place."""
    schemas = openapi["components"]["schemas"]
    for schema in schemas.values():
        for example in schema.get("examples", ()):
            _complete(example, schema, schemas)


def _complete(example: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    schema = schemas[schema["$ref"].removeprefix(SCHEMA_PREFIX)] if "$ref" in schema else schema
    if isinstance(example, list):
        for item in example:
            _complete(item, schema.get("items", {}), schemas)
    elif isinstance(example, dict):
        for name, child in schema.get("properties", {}).items():
            if name in example:
                _complete(example[name], child, schemas)
            elif name in schema.get("required", ()):
                example[name] = None
