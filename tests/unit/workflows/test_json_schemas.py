"""JSON Schema as workflows use it."""

import pytest

from callboard.workflows.json_schemas import InvalidSchemaError, JsonSchema


class TestJsonSchema:
    def test_tells_every_mistake_with_its_pointer(self) -> None:
        schema = JsonSchema({"properties": {"a/b": {"type": "integer"}, "c": {"items": {"type": "string"}}}})

        assert {finding.pointer for finding in schema.check({"a/b": "x", "c": [1, "y"]})} == {"/a~1b", "/c/0"}

    def test_quotes_no_more_than_a_line_of_a_large_value(self) -> None:
        (finding,) = JsonSchema({"type": "integer"}).check("x" * 10_000)

        assert len(finding.message) < 400

    def test_stops_at_a_hundred(self) -> None:
        assert len(JsonSchema({"items": {"type": "string"}}).check([1] * 500)) == 100

    @pytest.mark.parametrize(
        "schema",
        [{"type": "objct"}, {"$ref": "http://127.0.0.1:9/x"}, {"$ref": "file:///etc/hostname"}, {"$ref": "#/nowhere"}],
        ids=["type", "remote", "file", "nowhere"],
    )
    def test_refuses_what_cannot_be_used(self, schema: dict[str, str]) -> None:
        with pytest.raises(InvalidSchemaError):
            JsonSchema(schema)
