"""Answers as models write them, each a file with the reading that a person checked beside it.

The samples stand in `tests/fixtures/markdown_samples/`; what is done to them here must not change what is read.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.json_values import dumps
from callboard.workflows.transforms.base import TransformTools
from callboard.workflows.transforms.markdown.headings import find_section
from callboard.workflows.transforms.markdown.inline import Run
from callboard.workflows.transforms.markdown.labels import find_label
from callboard.workflows.transforms.markdown.lines import Line
from callboard.workflows.transforms.markdown.schema import MarkdownSchema, normalise_label
from callboard.workflows.transforms.markdown_to_json import MarkdownToJson, MarkdownToJsonConfig

SAMPLES = Path(__file__).parents[3] / "fixtures" / "markdown_samples"
SCHEMA_FILE = Path(__file__).parents[4] / "src/callboard/workflows/markdown_schemas/emergency_contacts.json"
RAW = json.loads(SCHEMA_FILE.read_text())
SCHEMA = MarkdownSchema.read(RAW)
NAMES = sorted(path.stem for path in SAMPLES.glob("*.md"))


def read(markdown: str) -> dict[str, Any]:
    tools = TransformTools(render=lambda value, _names: value, markdown_schemas={"emergency_contacts": RAW})
    return MarkdownToJson().apply(markdown, MarkdownToJsonConfig(schema="emergency_contacts"), tools)


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.md").read_bytes().decode()


def expected(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return value


def items(result: dict[str, Any]) -> dict[str, Any]:
    return {"contacts": result["contacts"], "meeting_locations": result["meeting_locations"]}


def named_lines(warnings: list[str]) -> set[int]:
    """The numbers of all lines that warnings speak of."""
    named: set[int] = set()
    for warning in warnings:
        found = re.search(r"^lines? (\d+)(?:-(\d+))?|between line (\d+) and line (\d+)$|lines? (\d+)", warning)
        if found:
            first, last, rest_first, rest_last, within = found.groups()
            start = int(first or rest_first or within)
            named.update(range(start, int(last or rest_last or start) + 1))
    return named


class TestSamples:
    def test_there_are_many(self) -> None:
        assert len(NAMES) >= 30

    @pytest.mark.parametrize("name", NAMES)
    def test_are_read_as_a_person_reads_them(self, name: str) -> None:
        assert read(sample(name)) == expected(name)


def is_structure(line: str) -> bool:
    """Whether a line only says where a value stands: a rule, a fence, a section's heading, a label."""
    words = re.sub(r"<[^>]*>", "", line).strip(" #>*_-|=`\t\ufeff")
    if not any(map(str.isalnum, words)) or line.lstrip(" >").startswith(("```", "~~~")):
        return True
    if find_section(SCHEMA, words) is not None:
        return True
    label = find_label(Line(number=1, runs=(Run(words),)), SCHEMA.labels)
    cells = [normalise_label(cell) for cell in line.split("|")]
    return any(
        cell in SCHEMA.labels for cell in (*cells, normalise_label(words), normalise_label(label[0] if label else ""))
    )


class TestEveryLine:
    @pytest.mark.parametrize("name", NAMES)
    def test_is_used_or_named(self, name: str) -> None:
        text = sample(name)

        result = read(text)

        values = dumps(items(result)).casefold().replace("true", "true yes")
        named = named_lines(result["warnings"])
        for number, line in enumerate(text.splitlines(), start=1):
            words = re.findall(r"[^\W_]{2,}", line.casefold())
            is_used = bool(words) and any(word in values for word in words)
            assert number in named or is_structure(line) or is_used, f"line {number} was lost: {line}"

    @settings(max_examples=300, deadline=None)
    @given(data=st.data())
    def test_is_used_or_named_wherever_somebody_adds_one(self, data: st.DataObject) -> None:
        lines = sample(data.draw(st.sampled_from(NAMES))).splitlines()
        places = data.draw(st.lists(st.integers(0, len(lines)), min_size=1, max_size=4, unique=True))
        shapes = data.draw(st.lists(st.sampled_from(ADDED_LINES), min_size=len(places), max_size=len(places)))
        markers = [f"zq{letter}marker" for letter in "abcd"[: len(places)]]
        for marker, place, shape in sorted(zip(markers, places, shapes, strict=True), key=lambda x: -x[1]):
            lines[place:place] = shape.format(marker).split("\n")

        result = read("\n".join(lines))

        values = dumps(items(result))
        named = named_lines(result["warnings"])
        for marker in markers:
            number = next(number for number, line in enumerate(lines, start=1) if marker in line)
            assert marker in values or number in named, f"line {number} was lost: {lines[number - 1]}"


ADDED_LINES = (
    "{}",
    "\n{}\n",
    "\nThe {} is near, so keep that in mind.\n",
    "- {}",
    "  - {}",
    "* **{}**: something",
    "**{}**",
    "\n**{}**\n",
    "# {}",
    "## {}",
    "##### {}",
    "> {}",
    "{}: one",
    "<p>{}</p>",
    "<!-- {} -->",
    "`{}`",
    "[{0}](https://{0}.example.org)",
    "\n[{}]: https://other.example\n",
    "\n```\n{}\n```\n",
    "| {} | b |",
    "1. {}",
    "    {}",
    "{}\n---",
    "{}\n===",
    "Phone: {}",
    "**Fit Score**: {}",
    "**Website**: {}",
    "**Priority**: {}",
    "![{}](a.png)",
    "<br>{}",
    "\\*{}\\*",
    "**24/7 Available**: {}",
)

# What may be done to any whole answer, and must not change the items.
AROUND: dict[str, Callable[[str], str]] = {
    "windows line ends": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n"),
    "old line ends": lambda text: text.replace("\r\n", "\n").replace("\n", "\r"),
    "byte order mark": lambda text: "\ufeff" + text,
    "zero-width spaces": lambda text: text.replace(": ", ":\u200b ").replace("## ", "##\u200b "),
    "hard blanks": lambda text: text.replace(": ", ":\u00a0"),
    "blank lines around": lambda text: "\n\n\n" + text + "\n\n",
    "blanks at line ends": lambda text: text.replace("\n", " \n"),
    "words before": lambda text: "Thank you for asking!\n\n" + text,
    "indented": lambda text: "\n".join("  " + line for line in text.splitlines()),
}
NOT_FENCED_OR_CUT = [name for name in NAMES if "fence" not in name and "cut_off" not in name and "indented" not in name]


class TestDress:
    @pytest.mark.parametrize("change", AROUND.values(), ids=AROUND.keys())
    @pytest.mark.parametrize("name", NOT_FENCED_OR_CUT)
    def test_of_the_whole_changes_nothing(self, name: str, change: Callable[[str], str]) -> None:
        assert items(read(change(sample(name)))) == items(expected(name))

    @pytest.mark.parametrize("fence", ["```markdown", "```md", "```", "~~~Markdown", "````markdown"])
    @pytest.mark.parametrize("name", [name for name in NOT_FENCED_OR_CUT if "plain" not in name])
    def test_of_a_fence_around_it_changes_nothing(self, name: str, fence: str) -> None:
        marks = fence.rstrip("Mmarkdown")

        assert items(read(f"{fence}\n{sample(name)}\n{marks}\n")) == items(expected(name))

    @settings(max_examples=250, deadline=None)
    @given(data=st.data())
    def test_of_each_line_changes_nothing(self, data: st.DataObject) -> None:
        text, wanted = "", expected("01_as_asked")
        gap = data.draw(st.sampled_from(["\n", "\n\n"]))
        bullet = data.draw(st.sampled_from(["", "- ", "* ", "+ "]))
        section_mark, item_mark = data.draw(st.sampled_from(HEADING_MARKS))
        # an underlined `1. Name` is a list and a rule to everybody
        decorations = [shape for shape in ITEM_DECORATIONS if item_mark != "{}\n---" or not shape[0].isdigit()]

        for line in sample("01_as_asked").splitlines():
            if line.startswith("### "):
                text += "\n" + item_mark.format(data.draw(st.sampled_from(decorations)).format(line[4:])) + "\n\n"
            elif line.startswith("## "):
                title = data.draw(st.sampled_from([line[3:], line[3:].upper(), line[3:].lower(), f"{line[3:]}:"]))
                text += "\n" + section_mark.format(title) + "\n\n" + data.draw(st.sampled_from(PROSE))
            elif line:
                label, value = line.removeprefix("**").split("**: ", 1)
                shape = data.draw(st.sampled_from(LABEL_SHAPES))
                text += (
                    bullet
                    + shape.format(data.draw(st.sampled_from([label, label.lower(), label.upper()])), value)
                    + gap
                )

        assert items(read(text)) == items(wanted)


HEADING_MARKS = [
    ("## {}", "### {}"),
    ("# {}", "## {}"),
    ("## {}", "## {}"),
    ("# {}", "#### {}"),
    ("### {}", "### {}"),
    ("##{}", "###{}"),
    ("**{}**", "**{}**"),
    ("## **{}**", "### __{}__"),
    ("## {} ##", "### {} ###"),
    ("{}\n===", "{}\n---"),
    ("# *{}*", "**{}**"),
]
ITEM_DECORATIONS = ["{}", "1. {}", "2) {}", "🏥 {}", "#3. {}"]
PROSE = ["", "These fit best.\n\n", "> Please check every number.\n\n"]
LABEL_SHAPES = [
    "**{}**: {}",
    "**{}:** {}",
    "**{}:**{}",
    "__{}__: {}",
    "*{}*: {}",
    "{}: {}",
    "**{}** - {}",
    "**{}** – {}",
    "**{}** {}",
    "**{}**： {}",
    "📌 **{}**: {}",
    "**{}** : {}",
    "***{}***: {}",
    "<b>{}</b>: {}",
]
