"""Text that was made to hold the reader up: it ends soon, whatever is in it, and says what it left out."""

import json
import time
from pathlib import Path

import pytest

from callboard.workflows.transforms.base import TransformTools
from callboard.workflows.transforms.markdown_to_json import MarkdownToJson, MarkdownToJsonConfig
from tests.fixtures.machine_speed import slowness

SCHEMA = json.loads(
    (Path(__file__).parents[5] / "src/callboard/workflows/markdown_schemas/emergency_contacts.json").read_text()
)
MIB = 1 << 20
LIMIT_SECONDS = 4.0  # of processor time; 0.1 to 1.6 s as measured, doubled for a slow machine


def fill(text: str) -> str:
    return text * (MIB // len(text))


HOSTILE = {
    "lists on one line": fill("- "),
    "lists line by line": "\n".join("  " * depth + "- a" for depth in range(1_000)),
    "quotations": fill(">"),
    "emphasis": fill("*a _b "),
    "stars": "*" * MIB + "a",
    "brackets": "[" * 100_000,
    "images": fill("!["),
    "headings": "\n".join(f"### h{number}" for number in range(10_000)),
    "one line": fill("word "),
    "blanks": "### x\n**Phone**" + " " * MIB + "b",
    "parentheses": "### x\n**" + "(" * MIB + "**: 1",
    "list lines": fill("- a\n"),
    "fields": fill("- **Key**: value\n"),
    "items": fill("### a\n**Phone**: 1\n"),
    "definitions": fill("[a\n"),
    "a wide table": "|" + "a|" * 2_000 + "\n|" + "-|" * 2_000 + "\n" + "|a|\n" * 75_000,
    "rows": "|a|b|\n|-|-|\n" + fill("|1|2|\n"),
    "dashes in tables": fill("a|b\n-|-\n"),
    "fences": "".join("`" * length + "\n" for length in range(1_400, 2, -1)),
    "addresses": "### x\n" + ("**Website**: " + "a-" * 1_000 + "\n") * 500,
    "breaks": "### x\n**Address**: " + "a<br>" * 200_000,
    "commas": "### x\n**Phone**: 1" + "," * MIB + "a **Website**: 1",
    "blanks and dashes": "-" + " " * MIB + "|x",
}
SLOW_IN_AUTO = ("headings", "list lines", "fields", "a wide table", "lists on one line", "blanks and dashes")


class TestHostileText:
    @pytest.mark.parametrize(
        ("name", "schema"),
        [*((name, "emergency_contacts") for name in HOSTILE), *((name, "auto") for name in SLOW_IN_AUTO)],
    )
    def test_holds_nothing_up(self, name: str, schema: str) -> None:
        tools = TransformTools(render=lambda value, _names: value, markdown_schemas={"emergency_contacts": SCHEMA})

        started = time.process_time()
        result = MarkdownToJson().apply(HOSTILE[name], MarkdownToJsonConfig(schema=schema), tools)

        assert time.process_time() - started < LIMIT_SECONDS * slowness()
        assert len(result["warnings"]) <= 101

    def test_says_where_it_stopped_reading(self) -> None:
        tools = TransformTools(render=lambda value, _names: value)

        warnings = MarkdownToJson().apply("x\n" + fill("- a\n"), MarkdownToJsonConfig(schema="lists"), tools)[
            "warnings"
        ]

        assert len(warnings) == 1
        assert warnings[0].endswith("-262146: text beyond the limit of what is read at once left out: - a")

    def test_leaves_out_a_last_line_that_is_too_much(self) -> None:
        tools = TransformTools(render=lambda value, _names: value)

        result = MarkdownToJson().apply("- a\n" + "[" * MIB, MarkdownToJsonConfig(schema="lists"), tools)

        assert result["lists"] == [["a"]]
        assert result["warnings"][0].startswith("line 2: text beyond the limit of what is read at once left out: [[[")
