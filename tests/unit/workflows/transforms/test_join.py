"""`join`: a text out of lists of anything."""

from typing import Any

import pytest
from pydantic import ValidationError

from callboard.core.json_values import JsonValue, UnstorableValueError
from callboard.workflows.transforms.allowance import Allowance
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.join import Join, JoinConfig


def join(value: JsonValue, **config: Any) -> str:
    return Join().apply(value, JoinConfig.model_validate(config), TransformTools())


class TestApply:
    @pytest.mark.parametrize(
        ("value", "config", "expected"),
        [
            pytest.param(["a", "b"], {}, "a, b", id="texts"),
            pytest.param(["a", "b"], {"separator": "\n"}, "a\nb", id="another separator"),
            pytest.param(["a", "b"], {"separator": ""}, "ab", id="no separator"),
            pytest.param([1, 1.5, True, {"a": [1]}, "x"], {}, '1, 1.5, true, {"a":[1]}, x', id="other values as JSON"),
            pytest.param(["a", None, "b"], {}, "a, b", id="nulls left out"),
            pytest.param(["a", ""], {}, "a, ", id="empty texts kept"),
            pytest.param([], {}, "", id="empty list"),
            pytest.param(None, {}, "", id="null is an empty list"),
            pytest.param([{"n": "a"}, {"n": "b"}, {"m": "c"}], {"field": "n"}, "a, b", id="field"),
            pytest.param([{"n": ["a", 1]}, {"n": ["b"]}], {"field": "n[*]"}, "a, 1, b", id="many of each item"),
            pytest.param([{"n": "a", "m": 1}], {"field": "$.*"}, "a, 1", id="query as field"),
            pytest.param(["a", {"n": "b"}, None], {"field": "n"}, "b", id="items without fields"),
            pytest.param([{"n": {"m": ["a"]}}], {"field": "n.m[0]"}, "a", id="path as field"),
        ],
    )
    def test_joins(self, value: JsonValue, config: dict[str, Any], expected: str) -> None:
        assert join(value, **config) == expected

    @pytest.mark.parametrize("value", ["text", {"a": 1}, 7], ids=["text", "object", "number"])
    def test_refuses_what_is_no_list(self, value: JsonValue) -> None:
        with pytest.raises(TransformError, match="join takes a list"):
            join(value)

    def test_stops_before_the_text_grows_too_large(self) -> None:
        tools = TransformTools(allowance=Allowance(max_chars=1_000))

        with pytest.raises(UnstorableValueError, match="over 1,000 characters"):
            Join().apply([1] * 100, JoinConfig(separator="-" * 100), tools)


class TestConfig:
    def test_refuses_a_bad_path_at_load(self) -> None:
        with pytest.raises(ValidationError, match="cannot be read at character 2"):
            JoinConfig.model_validate({"field": "a..b"})
