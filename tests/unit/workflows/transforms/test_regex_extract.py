"""`regex_extract`: which part of which match comes out."""

from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import RunFailedError
from tests.fixtures.transform_steps import make_step, transform

MAIL = "From: Ada <ada@x.example>\nDate: 2026-11-20\nTotal: $12.50, then $3\nFrom: Bob"
DATE = r"(?P<year>\d{4})-(?P<month>\d\d)(-x)?"


async def extract(value: JsonValue = MAIL, **config: Any) -> JsonValue:
    return await transform("regex_extract", value, config)


class TestApply:
    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            pytest.param({"pattern": r"\d{4}-\d\d-\d\d"}, "2026-11-20", id="whole match"),
            pytest.param({"pattern": DATE, "group": 2}, "11", id="group by number"),
            pytest.param({"pattern": DATE, "group": "year"}, "2026", id="group by name"),
            pytest.param({"pattern": DATE, "group": 3}, None, id="group that took no part"),
            pytest.param({"pattern": "^Date: (.*?)$", "group": 1}, "2026-11-20", id="anchors at every line"),
            pytest.param({"pattern": "Ada.*Bob"}, MAIL[6:], id="dot takes line ends"),
            pytest.param({"pattern": r"(?<=\$)[\d.]+(?=,)"}, "12.50", id="lookaround"),
            pytest.param({"pattern": "nothing"}, None, id="no match"),
            pytest.param({"pattern": r"\$([\d.]+)", "group": 1, "all_matches": True}, ["12.50", "3"], id="all"),
            pytest.param({"pattern": "(A)|(B)", "group": 2, "all_matches": True}, [None, "B"], id="all, some without"),
            pytest.param({"pattern": "nothing", "all_matches": True}, [], id="all of none"),
            pytest.param(
                {"patterns": {"date": r"\d{4}\S+", "fax": "Fax: .*"}},
                {"date": "2026-11-20", "fax": None},
                id="patterns",
            ),
            pytest.param(
                {"patterns": {"who": "^From: (\\w+)", "sums": r"\$([\d.]+)"}, "group": 1, "all_matches": True},
                {"who": ["Ada", "Bob"], "sums": ["12.50", "3"]},
                id="patterns, all",
            ),
        ],
    )
    async def test_gives(self, config: dict[str, Any], expected: JsonValue) -> None:
        assert await extract(**config) == expected

    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            ({"pattern": "a*"}, None),
            ({"pattern": "a*", "all_matches": True}, []),
            ({"patterns": {"x": "a*"}}, {"x": None}),
        ],
        ids=["first", "all", "patterns"],
    )
    async def test_finds_nothing_in_null(self, config: dict[str, Any], expected: JsonValue) -> None:
        assert await extract(None, **config) == expected

    async def test_gives_a_list_of_what_is_in_each_text(self) -> None:
        assert await extract(["a1", None, "b", "c22"], pattern=r"\d+") == ["1", None, None, "22"]

    async def test_takes_pattern_and_group_from_references(self) -> None:
        config = {"pattern": "(${input.word}) is (.)", "group": "${input.group}"}

        assert await transform("regex_extract", "x is 1, y is 2", config, word="y", group=2) == "2"

    async def test_stops_before_the_list_grows_too_large(self) -> None:
        # each position gives the rest of the text: 20,000 x 10,000 characters
        with pytest.raises(RunFailedError, match="over 100,000 characters"):
            await transform(
                "regex_extract",
                "a" * 20_000,
                {"pattern": "(?=(.*))", "group": 1, "all_matches": True},
                step=make_step(max_output_bytes=100_000),
            )


class TestErrors:
    @pytest.mark.parametrize(
        ("value", "config", "message"),
        [
            pytest.param(
                {"content": "x"},
                {"pattern": "x"},
                r"takes text or a list of texts, and its input is an object with the keys: content",
                id="object",
            ),
            pytest.param(["x", 5], {"pattern": "x"}, r"and item \[1\] is a whole number", id="item"),
            pytest.param("a" * 60 + "!", {"pattern": "(a|a)+$"}, "given up after 1 s on a text of 61", id="hostile"),
            pytest.param(
                "x", {"pattern": "(${input.bad}"}, "config of regex_extract does not fit .*missing", id="pattern"
            ),
            pytest.param(
                "x", {"pattern": "x", "group": "${input.three}"}, "no groups, so there is no group 3", id="group"
            ),
        ],
    )
    async def test_say_what_is_wrong(self, value: JsonValue, config: dict[str, Any], message: str) -> None:
        with pytest.raises(RunFailedError, match=message):
            await transform("regex_extract", value, config, bad="(", three=3)
