"""What of JSON Schema the vendors' structured output can express."""

from typing import Any

import pytest

from callboard.llm.output_schemas import close_objects, describe_schema, is_strict

TEXT = {"type": "string"}


class TestIsStrict:
    @pytest.mark.parametrize(
        ("schema", "strict"),
        [
            ({"type": "object", "properties": {"a": TEXT}, "required": ["a"], "additionalProperties": False}, True),
            ({"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, False),
            ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}, False),
            ({"type": "object", "properties": {}, "additionalProperties": False, "minProperties": 0}, False),
            ({"type": "array", "items": TEXT}, False),
            (
                {
                    "type": "object",
                    "properties": {"a": {"type": "array", "items": {"type": "object"}}},
                    "required": ["a"],
                    "additionalProperties": False,
                },
                False,
            ),
        ],
        ids=["closed", "open", "optional key", "unknown keyword", "no object", "open item"],
    )
    def test_tells_what_strict_mode_takes(self, schema: dict[str, Any], *, strict: bool) -> None:
        assert is_strict(schema) is strict


class TestCloseObjects:
    def test_closes_every_object_and_leaves_limits_out(self) -> None:
        inner = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
        schema = {"type": "object", "properties": {"list": {"type": "array", "items": inner, "maxItems": 3}}}

        closed = close_objects(schema)

        assert closed == {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "list": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}},
                        "additionalProperties": False,
                    },
                }
            },
        }

    @pytest.mark.parametrize(
        "schema",
        [
            {"type": "array", "items": TEXT},
            {"type": "object"},
            {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": TEXT}}},
            {"type": "object", "properties": {"a": TEXT}, "patternProperties": {"x": TEXT}},
            {"type": "object", "properties": {"a": {"oneOf": [TEXT, {"type": "null"}]}}},
        ],
        ids=["no object", "any keys", "free keys inside", "keys by pattern", "one of"],
    )
    def test_says_when_closing_would_change_the_meaning(self, schema: dict[str, Any]) -> None:
        assert close_objects(schema) is None

    def test_leaves_the_schema_as_it_was(self) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}}

        close_objects(schema)

        assert schema == {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}}


class TestDescribeSchema:
    def test_carries_the_schema(self) -> None:
        assert '{"type":"string"}' in describe_schema(TEXT)
