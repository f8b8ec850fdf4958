"""Reading JSON out of what models answer."""

import pytest

from callboard.core.json_values import JsonValue
from callboard.llm.json_answers import NotJsonError, read_json_answer


class TestReadJsonAnswer:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ('{"a": 1}', {"a": 1}),
            (" \n[1, 2]\n", [1, 2]),
            ('"text"', "text"),
            ('```json\n{"a": 1}\n```', {"a": 1}),
            ('```JSON\r\n{"a": 1}\r\n```', {"a": 1}),
            ('```\n{"a": 1}\n```', {"a": 1}),
            ('Here it is:\n```json\n{"a": {"b": "```"}}\n```\nBye', {"a": {"b": "```"}}),
            ('Sure: {"a": [1, {"b": 2}]} - is that all?', {"a": [1, {"b": 2}]}),
            ('see [this] first: {"a": 1}', {"a": 1}),
        ],
        ids=["object", "list", "text", "fence", "CRLF", "bare fence", "fence in text", "prose", "brackets before"],
    )  # fmt: skip
    def test_reads(self, content: str, expected: JsonValue) -> None:
        assert read_json_answer(content) == expected

    @pytest.mark.parametrize("content", ["", "I cannot do that.", '{"a": NaN}', '{"a": 1', "[" * 100_000])
    def test_tells_where_there_is_none(self, content: str) -> None:
        with pytest.raises(NotJsonError):
            read_json_answer(content)
