"""`extract_fields`: what becomes of found and missing fields, and what is refused at load."""

from typing import Any

import pytest
from pydantic import ValidationError

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.extract_fields import ExtractFields, ExtractFieldsConfig

PLACES = {"data": {"results": [{"name": "A", "phone": "1"}, {"name": "B", "phone": None}], "count": 2}}


def extract(value: JsonValue, **config: Any) -> dict[str, Any]:
    return ExtractFields().apply(value, ExtractFieldsConfig.model_validate(config), TransformTools())


class TestApply:
    def test_gives_one_thing_for_a_bare_path_and_a_list_for_many(self) -> None:
        fields = {"first": "data.results[0].name", "names": "data.results[*].name", "phones": "$..phone"}

        assert extract(PLACES, fields=fields) == {"first": "A", "names": ["A", "B"], "phones": ["1", None]}

    def test_reads_paths_as_another_name_of_fields(self) -> None:
        assert extract(PLACES, paths={"count": "data.count"}) == {"count": 2}

    def test_gives_null_or_an_empty_list_for_what_is_missing(self) -> None:
        fields = {"one": "data.missing", "many": "data.results[*].fax", "query": "$.nothing"}

        assert extract(PLACES, fields=fields) == {"one": None, "many": [], "query": []}

    @pytest.mark.parametrize("value", [None, "text", 7, []], ids=["null", "text", "number", "empty list"])
    def test_finds_nothing_in_what_has_no_fields(self, value: JsonValue) -> None:
        assert extract(value, fields={"a": "b.c"}) == {"a": None}

    def test_takes_items_of_a_list_as_input(self) -> None:
        assert extract([{"a": 1}, {"a": 2}], fields={"all": "[*].a", "last": "[-1].a"}) == {"all": [1, 2], "last": 2}


class TestRequired:
    @pytest.mark.parametrize(
        ("required", "missing"),
        [
            pytest.param(["phone", "count"], "phone (data.phone)", id="named"),
            pytest.param(True, "phone (data.phone), faxes ($..fax)", id="all"),
        ],
    )
    def test_names_every_field_that_is_missing_with_its_path(self, required: Any, missing: str) -> None:
        fields = {"phone": "data.phone", "count": "data.count", "faxes": "$..fax"}

        with pytest.raises(TransformError) as caught:
            extract(PLACES, fields=fields, required=required)

        assert f"were not found: {missing}. The input is an object with the keys: data." in caught.value.message

    def test_takes_null_for_missing(self) -> None:
        with pytest.raises(TransformError, match="b"):
            extract({"a": None}, fields={"b": "a"}, required=True)

    @pytest.mark.parametrize(
        ("value", "described"),
        [(None, "is null"), ([1, 2], "is a list of 2"), ("x", "is text")],
        ids=["null", "list", "text"],
    )
    def test_says_what_the_input_is_instead(self, value: JsonValue, described: str) -> None:
        with pytest.raises(TransformError, match=described):
            extract(value, fields={"a": "b"}, required=["a"])

    def test_takes_zero_and_false_for_found(self) -> None:
        assert extract({"a": 0, "b": False}, fields={"a": "a", "b": "b"}, required=True) == {"a": 0, "b": False}


class TestConfig:
    @pytest.mark.parametrize(
        ("config", "message"),
        [
            pytest.param(
                {"fields": {"a": "b..c", "d": "$["}}, r"(?s)'b..c' cannot be read.*'\$\[' is no", id="every path"
            ),
            pytest.param({"fields": {"a": "b"}, "required": ["c"]}, "what is no field: c. Fields: a", id="required"),
            pytest.param({"fields": {"a": "b"}, "required": "a"}, "true, false or a list of names", id="required text"),
            pytest.param(
                {"fields": {"a": "b"}, "required": [1]}, "true, false or a list of names", id="required number"
            ),
            pytest.param({"fields": {"a": "b"}, "paths": {"c": "d"}}, "two names of one thing", id="both names"),
            pytest.param([], "valid dictionary", id="no object"),
            pytest.param({"fields": {}}, "at least 1", id="no fields"),
            pytest.param({}, "fields", id="nothing"),
            pytest.param({"fields": {"a": "b"}, "require": True}, "require", id="unknown key"),
        ],
    )
    def test_refuses_at_load(self, config: Any, message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            ExtractFieldsConfig.model_validate(config)
