"""No secret comes back from a call."""

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.steps.redaction import redact


class TestRedact:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("key=s3/cr", "key=[secret]"),
            ("?key=s3%2Fcr&x=1", "?key=[secret]&x=1"),
            ({"s3/cr": [{"a": "s3/cr"}]}, {"[secret]": [{"a": "[secret]"}]}),
            ([1, None, True, "clean"], [1, None, True, "clean"]),
        ],
        ids=["text", "url", "deep", "clean"],
    )
    def test_replaces_it_wherever_it_stands(self, value: JsonValue, expected: JsonValue) -> None:
        assert redact(value, ["s3/cr"]) == expected

    def test_replaces_the_longer_of_two_first(self) -> None:
        assert redact("abcdef", ["abc", "abcdef"]) == "[secret]"

    def test_leaves_all_alone_where_there_is_no_secret(self) -> None:
        value = {"a": ["x"]}

        assert redact(value, [""]) is value
