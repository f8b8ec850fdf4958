"""Values made up for a schema fit it, or it is said why there is none."""

from typing import Any

import jsonschema_rs
import pytest

from callboard.llm.sandbox_values import UnfittingSchemaError, make_value

CONTACTS = {
    "$defs": {
        "contact": {
            "type": "object",
            "required": ["name", "phone", "fit"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 12},
                "phone": {"type": "string", "pattern": r"^\+?[0-9-]+$"},
                "fit": {"type": "integer", "minimum": 0, "maximum": 10},
                "website": {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]},
                "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True, "minItems": 2},
            },
            "additionalProperties": False,
        }
    },
    "type": "object",
    "required": ["contacts"],
    "properties": {"contacts": {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/contact"}}},
}
LINKED_LIST = {
    "type": "object",
    "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["next"],
}


class TestMakeValue:
    @pytest.mark.parametrize(
        "schema",
        [
            {},
            CONTACTS,
            {"const": {"a": 1}},
            {"enum": [1, "x", None]},
            {"type": ["null", "integer"]},
            {"type": "null"},
            {"type": "boolean"},
            {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 5},
            {"type": "integer", "maximum": -3},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            {"type": "number", "multipleOf": 0.5, "minimum": 1.2},
            {"type": "integer", "exclusiveMaximum": 0},
            {"type": "string", "minLength": 50},
            {"type": "string", "maxLength": 2},
            {"type": "string", "format": "date-time"},
            {"type": "string", "format": "email"},
            {"type": "string", "pattern": "^[0-9]{5}$", "minLength": 5},
            {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
            {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
            {"type": "array", "maxItems": 0},
            {"type": "object", "required": ["x"]},
            {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
            {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a"]}], "type": "object"},
            {"oneOf": [{"type": "string", "pattern": "^x{77}$"}, {"type": "integer"}]},
            {"properties": {"child": {"$ref": "#"}}, "type": "object"},
            {"type": "string", "examples": ["like this"]},
            LINKED_LIST,
            {**LINKED_LIST, "properties": {"next": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"type": "null"}]}}},
        ],
    )
    def test_fits_the_schema(self, schema: dict[str, Any]) -> None:
        value = make_value(schema, seed="abc")

        assert jsonschema_rs.is_valid(schema, value)

    def test_is_the_same_every_time(self) -> None:
        assert make_value(CONTACTS, seed="12ab") == make_value(CONTACTS, seed="12ab")

    def test_fills_in_what_is_not_required_too(self) -> None:
        assert make_value({"type": "object", "properties": {"a": {"type": "integer"}}}, seed="0") == {"a": 1}

    def test_text_says_where_it_comes_from(self) -> None:
        assert make_value({"type": "string"}, seed="0") == "[sandbox] answer"

    @pytest.mark.parametrize(
        ("schema", "message"),
        [
            ({"type": "string", "pattern": "^x{77}$"}, "pattern"),
            ({"type": "integer", "minimum": 5, "maximum": 4}, "/:"),
            ({"type": "no-such-type"}, "not valid"),
            ({"$ref": "https://example.com/schema.json"}, "example.com"),
            ({"$ref": "#/$defs/nowhere"}, "nowhere"),
            ({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}, "without end"),
            ({"type": "array", "minItems": 9999, "items": {"type": "array", "minItems": 9999}}, "too much"),
            ({"not": {}}, "/:"),
            ({"anyOf": [False, {"type": "string", "pattern": "^x{77}$"}]}, ""),
        ],
        ids=["pattern", "limits", "type", "remote", "nowhere", "endless", "huge", "not", "no choice"],
    )
    def test_says_what_cannot_be_met(self, schema: dict[str, Any], message: str) -> None:
        with pytest.raises(UnfittingSchemaError) as caught:
            make_value(schema, seed="0")

        assert message in str(caught.value)
