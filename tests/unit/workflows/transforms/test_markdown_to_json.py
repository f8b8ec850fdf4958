"""Model answers as they really come, read by the shipped schema `emergency_contacts`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.core.json_values import JsonValue, dumps
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.markdown_to_json import MarkdownToJson, MarkdownToJsonConfig

SCHEMAS = Path(__file__).parents[4] / "src" / "callboard" / "workflows" / "markdown_schemas"

HARBORVIEW = {
    "name": "Harborview Medical Center",
    "phone": "206-744-3000",
    "address": "325 9th Ave, Seattle, WA 98104",
    "website": "https://www.uwmedicine.org/harborview",
    "category": "Medical",
    "priority": "Critical",
    "fit_score": 98,
    "reasoning": "The only Level I trauma center in the region.",
    "relevant_scenarios": ["earthquake", "flood"],
    "available_24hr": True,
}
CAL_ANDERSON = {
    "name": "Cal Anderson Park",
    "address": "1635 11th Ave, Seattle, WA 98122",
    "description": "A city park with open lawns.",
    "reasoning": "No tall buildings stand near the lawn.",
    "priority": "primary",
    "suitable_for": ["earthquake", "house fire"],
    "has_parking": True,
    "is_accessible": True,
}
CONTACT = """### Harborview Medical Center
**Phone**: 206-744-3000
**Address**: 325 9th Ave, Seattle, WA 98104
**Website**: https://www.uwmedicine.org/harborview
**Category**: Medical
**Priority**: Critical
**Fit Score**: 98
**Reasoning**: The only Level I trauma center in the region.
**Relevant Scenarios**: earthquake, flood
**24/7 Available**: Yes
"""
MEETING = """### Primary Meeting Location: Cal Anderson Park
**Address**: 1635 11th Ave, Seattle, WA 98122
**Description**: A city park with open lawns.
**Reasoning**: No tall buildings stand near the lawn.
**Practical Details**: Street parking on 11th Ave; paved, wheelchair accessible paths.
**Suitable For**: earthquake, house fire
"""
ANSWER = f"## Emergency Contacts Analysis\n\n{CONTACT}\n## Meeting Locations\n\n{MEETING}"


def read(markdown: JsonValue) -> dict[str, Any]:
    raw = json.loads((SCHEMAS / "emergency_contacts.json").read_text())
    tools = TransformTools(render=lambda value, _names: value, markdown_schemas={"emergency_contacts": raw})
    config = MarkdownToJsonConfig.model_validate({"schema": "emergency_contacts"})
    return MarkdownToJson().apply(markdown, config, tools)


def each_line(text: str, change: Callable[[str], str]) -> str:
    return "\n".join(change(line) for line in text.splitlines())


def label_lines(prefix: str) -> str:
    return each_line(ANSWER, lambda line: prefix + line if line.startswith("**") else line)


# Every row is the same answer in another dress: what is read must not change.
SAME_CONTENT = {
    "as the format says": ANSWER,
    "## for ###": ANSWER.replace("### ", "## "),
    "#### for ###": ANSWER.replace("### ", "#### "),
    "# for every heading": ANSWER.replace("### ", "# ").replace("## ", "# "),
    "sections deeper than items": ANSWER.replace("## Emergency", "### Emergency").replace(
        "## Meeting L", "### Meeting L"
    ),
    "headings in capitals": ANSWER.replace("## Emergency Contacts Analysis", "## EMERGENCY CONTACTS ANALYSIS").replace(
        "## Meeting Locations", "## MEETING LOCATIONS"
    ),
    "headings with a colon": ANSWER.replace("Analysis\n", "Analysis:\n").replace("Locations\n", "Locations:\n"),
    "headings with emoji": ANSWER.replace("## Emergency", "## 🚨 Emergency").replace("### Harb", "### 🏥 Harb"),
    "headings in bold": ANSWER.replace("### Harborview Medical Center", "### **Harborview Medical Center**").replace(
        "## Meeting Locations", "## **Meeting Locations**"
    ),
    "numbered headings": ANSWER.replace("### Harb", "### 1. Harb")
    .replace("### Primary", "### 1) Primary")
    .replace("## Meeting", "## 2. Meeting"),
    "contact number in the heading": ANSWER.replace("### Harborview", "### Contact 1: Harborview"),
    "name label in the heading": ANSWER.replace("### Harborview", "### Name: Harborview"),
    "name as a field": ANSWER.replace(
        "### Harborview Medical Center", "### Contact 1\n**Name**: Harborview Medical Center"
    ),
    "other section titles": ANSWER.replace(
        "Emergency Contacts Analysis", "Emergency Contact Analysis for Seattle"
    ).replace("## Meeting Locations", "## Recommended Meeting Locations"),
    "no section headings": CONTACT + "\n" + MEETING,
    "no heading for the meetings": f"## Emergency Contacts Analysis\n\n{CONTACT}\n{MEETING}",
    "bold section lines": ANSWER.replace("## Emergency Contacts Analysis", "**Emergency Contacts Analysis**").replace(
        "## Meeting Locations", "**Meeting Locations**"
    ),
    "bold item lines": ANSWER.replace("### Harborview Medical Center", "**Harborview Medical Center**\n").replace(
        "### Primary Meeting Location: Cal Anderson Park", "**Primary Meeting Location: Cal Anderson Park**\n"
    ),
    "no space after the hashes": ANSWER.replace("### ", "###").replace("## Meeting", "##Meeting"),
    "colons inside the bold": ANSWER.replace("**: ", ":** "),
    "colons inside the bold, no space": ANSWER.replace("**: ", ":**"),
    "no bold": ANSWER.replace("**", ""),
    "italic labels": ANSWER.replace("**", "*"),
    "bold by underscores": ANSWER.replace("**", "__"),
    "whole lines bold": each_line(
        ANSWER, lambda line: f"**{line.replace('**', '')}**" if line.startswith("**") else line
    ),
    "dashes for colons": ANSWER.replace("**: ", "** - "),
    "en dashes for colons": ANSWER.replace("**: ", "** – "),
    "no colons": ANSWER.replace("**: ", "** "),
    "wide colons": ANSWER.replace("**: ", "**："),
    "bullets": label_lines("- "),
    "star bullets": label_lines("* "),
    "indented bullets": label_lines("  - "),
    "emoji before labels": label_lines("📌 "),
    "block quotes": label_lines("> "),
    "a blank line after each": ANSWER.replace("\n", "\n\n"),
    "two spaces at line ends": ANSWER.replace("\n", "  \n"),
    "break tags": ANSWER.replace("\n**", "<br>\n**"),
    "windows line ends": ANSWER.replace("\n", "\r\n"),
    "labels in lower case": ANSWER.replace("**Phone**", "**phone**").replace("**Fit Score**", "**fit_score**"),
    "labels in capitals": ANSWER.replace("**Phone**", "**PHONE**").replace("**24/7 Available**", "**24/7 AVAILABLE**"),
    "other labels": ANSWER.replace("**Phone**", "**Phone Number**").replace("**24/7 Available**", "**Available 24/7**"),
    "explained labels": ANSWER.replace("**Fit Score**", "**Fit Score (0-100)**"),
    "score out of a hundred": ANSWER.replace(": 98\n", ": 98/100\n"),
    "score with a sign": ANSWER.replace(": 98\n", ": **98%** (excellent)\n"),
    "links": ANSWER.replace(
        "https://www.uwmedicine.org/harborview", "[uwmedicine.org](https://www.uwmedicine.org/harborview)"
    ).replace("206-744-3000", "[206-744-3000](tel:+12067443000)"),
    "links in angles": ANSWER.replace(
        "https://www.uwmedicine.org/harborview", "<https://www.uwmedicine.org/harborview>"
    ),
    "link with words around it": ANSWER.replace("https://www", "see https://www").replace(
        "/harborview\n", "/harborview.\n"
    ),
    "lists with semicolons": ANSWER.replace("earthquake, ", "earthquake; "),
    "lists in brackets": ANSWER.replace("earthquake, flood", "[earthquake, flood]"),
    "lists with and": ANSWER.replace("earthquake, ", "earthquake, and "),
    "lists in code": ANSWER.replace("earthquake, flood", "`earthquake`, `flood`"),
    "lists as bullets": ANSWER.replace("earthquake, flood", "\n- earthquake\n- flood\n").replace(
        "earthquake, house fire", "\n- earthquake\n- house fire"
    ),
    "lists as nested bullets": label_lines("- ").replace("earthquake, flood", "\n  - earthquake\n  - flood"),
    "always open in words": ANSWER.replace("**24/7 Available**: Yes", "**24/7 Available**: Open 24 hours, every day"),
    "always open as a tick": ANSWER.replace("**24/7 Available**: Yes", "**24/7 Available**: ✅"),
    "text on the next line": ANSWER.replace("**Reasoning**: ", "**Reasoning**:\n"),
    "text in the next paragraph": ANSWER.replace("**Reasoning**: ", "\n**Reasoning**:\n\n").replace(
        "region.\n", "region.\n\n"
    ),
    "text broken over lines": ANSWER.replace("Level I trauma", "Level I\ntrauma").replace(
        "buildings stand", "buildings\nstand"
    ),
    "address on two lines": ANSWER.replace("9th Ave, Seattle", "9th Ave\nSeattle").replace(
        "11th Ave, S", "11th Ave\nS"
    ),
    "several fields on a line": ANSWER.replace("000\n**Address**", "000 | 📍 **Address**").replace(
        "\n**Priority**", "; **Priority**"
    ),
    "rules between": ANSWER.replace("**24/7 Available**: Yes\n", "**24/7 Available**: Yes\n---\n").replace(
        "## Meeting", "***\n\n## Meeting"
    ),
    "wrapped in a fence": f"```markdown\n{ANSWER}```\n",
    "wrapped in a plain fence": f"```\n{ANSWER}\n```",
    "a plain fence between words": f"Here it is:\n\n```\n{ANSWER}\n```\n\nTake care.",
    "indented as a whole": each_line(ANSWER, lambda line: "    " + line),
    "numbered list of bold names": ANSWER.replace("### Harborview Medical Center", "1. **Harborview Medical Center**")
    .replace("### Primary Meeting Location: Cal Anderson Park", "1. **Primary Meeting Location: Cal Anderson Park**")
    .replace("\n**", "\n   - **"),
    "numbered list, name and kind": ANSWER.replace(
        "### Harborview Medical Center", "1. **Harborview Medical Center** – hospital"
    )
    .replace("### Primary Meeting Location: Cal Anderson Park", "1. **Primary Meeting Location: Cal Anderson Park**")
    .replace("\n**", "\n   - **"),
    "labels as headings": each_line(
        ANSWER, lambda line: "#### " + line[2:].replace("**: ", "\n") if line.startswith("**") else line
    ),
    "a table per item": each_line(
        ANSWER.replace("\n**Phone**", "\n\n| Field | Value |\n|---|---|\n**Phone**").replace(
            "Park\n**Address**", "Park\n\n| Field | Value |\n|---|---|\n**Address**"
        ),
        lambda line: f"| {line.replace(': ', ' | ', 1)} |" if line.startswith("**") else line,
    ),
    "choice behind the name": ANSWER.replace(
        "Primary Meeting Location: Cal Anderson Park", "Cal Anderson Park (Primary)"
    ),
    "choice with a dash": ANSWER.replace("Primary Meeting Location: ", "Primary Meeting Location – "),
    "short choice": ANSWER.replace("Primary Meeting Location: ", "PRIMARY: "),
    "meeting point": ANSWER.replace("Primary Meeting Location: ", "Primary Meeting Point: "),
    "parking and access as labels": ANSWER.replace(
        "**Practical Details**: Street parking on 11th Ave; paved, wheelchair accessible paths.",
        "**Practical Details**:\n- **Parking**: on the street\n- **Accessibility**: ramps at every entrance",
    ),
    "prose around": f"Here is the analysis you asked for:\n\n{ANSWER}\n\nStay safe, and review this plan every year!",
    "prose below headings": ANSWER.replace("Analysis\n", "Analysis\n\nThese serve the family best:\n").replace(
        "Locations\n", "Locations\nAgree on these places now.\n"
    ),
    "a title": f"# Emergency Contacts and Meeting Locations\n\n{ANSWER}",
    "a closing section": f"{ANSWER}\n## Summary\n\nBe prepared.\n",
    "groups of contacts": ANSWER.replace("### Harborview", "### Hospitals\n\n#### Harborview"),
    "a bold line below the name": ANSWER.replace(
        "Medical Center\n**Phone", "Medical Center\n\n**Level I Trauma**\n\n**Phone"
    ),
    "unknown fields": ANSWER.replace("**Category**", "**Languages**: English, Spanish\n**Category**"),
}


class TestSameContent:
    @pytest.mark.parametrize("markdown", SAME_CONTENT.values(), ids=SAME_CONTENT.keys())
    def test_reads_every_dress_of_an_answer_alike(self, markdown: str) -> None:
        result = read(markdown)

        assert result["contacts"] == [HARBORVIEW]
        assert result["meeting_locations"] == [CAL_ANDERSON]

    def test_has_nothing_to_warn_of_when_the_format_is_kept(self) -> None:
        assert read(ANSWER)["warnings"] == []

    def test_gives_json_that_can_be_stored(self) -> None:
        assert json.loads(dumps(read(ANSWER))) == read(ANSWER)


# Slips come together: each of these is laid over each other one.
SLIPS: dict[str, Callable[[str], str]] = {
    "levels": lambda text: text.replace("### ", "## "),
    "numbers": lambda text: text.replace("### H", "### 1. H").replace("## H", "## 1. H"),
    "colons inside": lambda text: text.replace("**: ", ":**"),
    "dashes": lambda text: text.replace("**: ", "** - "),
    "underscores": lambda text: text.replace("**", "__"),
    "italics": lambda text: text.replace("**", "*"),
    "no bold": lambda text: text.replace("**", ""),
    "bullets": lambda text: each_line(text, lambda line: "   - " + line if line.startswith("**") else line),
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "quoted": lambda text: each_line(text, lambda line: "> " + line),
    "indented": lambda text: each_line(text, lambda line: "    " + line),
    "fenced": lambda text: f"Here it is:\n\n```markdown\n{text}\n```\n\nTake care.",
    "rules": lambda text: text.replace("\n##", "\n---\n##"),
}
PAIRS = [pytest.param(one, other, id=f"{one}, {other}") for one in SLIPS for other in SLIPS if one != other]


class TestSlipsTogether:
    @pytest.mark.parametrize(("one", "other"), PAIRS)
    def test_reads_two_slips_at_once(self, one: str, other: str) -> None:
        result = read(SLIPS[other](SLIPS[one](ANSWER)))

        assert result["contacts"] == [HARBORVIEW]
        assert result["meeting_locations"] == [CAL_ANDERSON]


PIECES = (
    "#", "## ", "### ", "**", "*", "_", "- ", "1. ", "\n", "\n\n", ": ", "|", "---", "```", "> ", "    ", "\t", "\r",
    "(", ")", "[", "]", "<br>", "&amp;", "\\", "https://a.b", "é", "📞", "98", "Yes", "Phone", "Name", "Reasoning",
    "Practical Details", "parking", "Emergency Contacts", "Meeting Locations", "Primary Meeting Location",
)  # fmt: skip


class TestAnyText:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=60).map("".join))
    def test_never_fails_and_gives_what_can_be_stored(self, markdown: str) -> None:
        result = read(markdown.replace("\x00", ""))

        assert json.loads(dumps(result)) == result


class TestFields:
    @pytest.mark.parametrize(
        ("line", "field", "expected"),
        [
            pytest.param("**Website**: N/A", "website", None, id="no website"),
            pytest.param("**Website**: Not available", "website", None, id="website not available"),
            pytest.param("**Website**: www.seattle.gov/police", "website", "www.seattle.gov/police", id="bare site"),
            pytest.param("**Website**: seattle.gov/fire.", "website", "seattle.gov/fire", id="bare domain"),
            pytest.param("**Phone**: n/a (call 911)", "phone", None, id="no phone"),
            pytest.param("**Phone**: —", "phone", None, id="a dash for no phone"),
            pytest.param("**Phone**: 911 (emergencies)", "phone", "911 (emergencies)", id="phone with a note"),
            pytest.param("**Phone**:", "phone", None, id="nothing behind the colon"),
            pytest.param("**Fit Score**: N/A", "fit_score", None, id="no score"),
            pytest.param("**Fit Score**: 9/10", "fit_score", 90, id="a part of the full marks"),
            pytest.param("**Fit Score**: 87.5", "fit_score", 88, id="rounded"),
            pytest.param("**Fit Score**: about 80", "fit_score", 80, id="number within words"),
            pytest.param("**24/7 Available**: No", "available_24hr", False, id="no"),
            pytest.param("**24/7 Available**: no, weekdays only", "available_24hr", False, id="no with hours"),
            pytest.param("**24/7 Available**: Not 24/7", "available_24hr", False, id="not 24/7"),
            pytest.param("**24/7 Available**: ❌", "available_24hr", False, id="crossed out"),
            pytest.param("**24/7 Available**: N/A", "available_24hr", False, id="unknown hours"),
            pytest.param("**24/7 Available**: true", "available_24hr", True, id="true"),
            pytest.param("**24/7 Available**: **Yes** – emergency room", "available_24hr", True, id="bold yes"),
            pytest.param("**Availability**: 24/7", "available_24hr", True, id="availability"),
            pytest.param("**Relevant Scenarios**: None", "relevant_scenarios", [], id="no scenarios"),
            pytest.param("**Relevant Scenarios**: All", "relevant_scenarios", ["All"], id="one word"),
            pytest.param(
                "**Relevant Scenarios**: Earthquake (aftershocks, fires), Flood.",
                "relevant_scenarios",
                ["Earthquake (aftershocks, fires)", "Flood"],
                id="commas in parentheses",
            ),
            pytest.param("**Category**: Police & Security", "category", "Police & Security", id="signs in text"),
        ],
    )
    def test_reads(self, line: str, field: str, expected: object) -> None:
        result = read(f"## Emergency Contacts\n\n### Somebody\n\n- **Priority**: High\n- {line}\n")

        assert result["contacts"][0][field] == expected

    @pytest.mark.parametrize(
        ("details", "has_parking", "is_accessible"),
        [
            pytest.param("Free parking lot. ADA accessible.", True, True, id="both"),
            pytest.param("No parking, not wheelchair accessible", False, False, id="neither"),
            pytest.param("No parking on site; street parking nearby", True, False, id="parking near by"),
            pytest.param("There isn't any parking but ramps lead to the lawn", False, True, id="ramps only"),
            pytest.param("Open lawn, inaccessible at night", False, False, id="no mention"),
            pytest.param("Parking: yes. Accessible: no", True, False, id="as labels in text"),
        ],
    )
    def test_reads_yes_and_no_out_of_practical_details(
        self, details: str, has_parking: bool, is_accessible: bool
    ) -> None:
        meeting = read(f"### Secondary Meeting Location: Library\n**Practical Details**: {details}\n")[
            "meeting_locations"
        ][0]

        assert (meeting["has_parking"], meeting["is_accessible"]) == (has_parking, is_accessible)

    def test_keeps_paragraphs_that_follow_a_reasoning(self) -> None:
        markdown = ANSWER.replace("region.\n", "region.\n\nIt is 2 km away.\n\n")

        assert read(markdown)["contacts"][0]["reasoning"].endswith("in the region. It is 2 km away.")

    def test_sets_list_items_of_a_reasoning_apart(self) -> None:
        markdown = "### Somebody\n**Reasoning**:\n- Close by\n- Always open.\n- Known\n**Phone**: 1\n"

        assert read(markdown)["contacts"][0]["reasoning"] == "Close by; Always open. Known"


class TestSeveralItems:
    def test_keeps_the_order_of_the_text(self) -> None:
        names = ["Harborview", "Seattle Police", "Fire Station 10"]
        blocks = "\n".join(f"### {name}\n**Phone**: {index}\n" for index, name in enumerate(names))

        result = read(f"## Emergency Contacts Analysis\n{blocks}")

        assert [(contact["name"], contact["phone"]) for contact in result["contacts"]] == [
            ("Harborview", "0"), ("Seattle Police", "1"), ("Fire Station 10", "2"),
        ]  # fmt: skip

    def test_reads_the_rank_of_every_meeting_place(self) -> None:
        text = "\n".join(
            f"### {rank} Meeting Location: Park {rank}\n**Address**: 1 {rank} St"
            for rank in ("Primary", "Secondary", "Tertiary")
        )

        places = read(f"## Meeting Locations\n{text}")["meeting_locations"]

        assert [place["priority"] for place in places] == ["primary", "secondary", "tertiary"]
        assert places[2]["name"] == "Park Tertiary"

    def test_tells_contacts_from_meeting_places_by_their_fields_when_no_heading_does(self) -> None:
        result = read(
            "### Harborview\n**Phone**: 1\n**Fit Score**: 9\n\n### A Park\n**Suitable For**: all\n**Description**: x"
        )

        assert [contact["name"] for contact in result["contacts"]] == ["Harborview"]
        assert [place["name"] for place in result["meeting_locations"]] == ["A Park"]

    def test_does_not_take_the_rank_of_a_contact_for_a_meeting_place(self) -> None:
        result = read("## Emergency Contacts Analysis\n### Swedish First Hill - Primary\n**Phone**: 1\n")

        assert result["contacts"][0]["name"] == "Swedish First Hill - Primary"


class TestWarnings:
    @pytest.mark.parametrize(
        ("change", "warning"),
        [
            pytest.param(("**Phone**: 206-744-3000\n", ""), "'Harborview Medical Center' has no phone", id="missing"),
            pytest.param((": 98\n", ": high\n"), "fit_score: 'high' is no number", id="no number"),
            pytest.param((": Yes\n", ": it depends\n"), "'it depends' says neither yes nor no", id="no yes or no"),
            pytest.param(("https://www.uwmedicine.org/harborview", "on request"), "is no web address", id="url"),
            pytest.param(("**Category**", "**Fax**: 1\n**Category**"), "unknown field left out: Fax: 1", id="fax"),
            pytest.param(("**Category**", "**Phone**: 2\n**Category**"), "repeated field left out: Phone: 2", id="two"),
            pytest.param(("Primary Meeting Location: ", ""), "'Cal Anderson Park' has no priority", id="no rank"),
            pytest.param(("## Meeting", "## Notes\n\n## Meeting"), "heading without fields left out: Notes", id="note"),
            pytest.param(("## Meeting", "Stay calm.\n\n## Meeting"), "text left out: Stay calm.", id="prose"),
        ],
    )  # fmt: skip
    def test_names_what_is_missing_or_left_out(self, change: tuple[str, str], warning: str) -> None:
        warnings = read(ANSWER.replace(*change))["warnings"]

        assert len(warnings) == 1
        assert warnings[0].endswith(warning)
        assert warnings[0].startswith("line ")

    def test_counts_lines_from_the_start_of_the_text(self) -> None:
        assert read("Hello.\n\n" + ANSWER)["warnings"] == ["line 1: text left out: Hello."]

    def test_counts_lines_inside_a_fence_from_the_start_of_the_text(self) -> None:
        markdown = f"```markdown\nHello.\n\n{ANSWER}```"

        assert read(markdown)["warnings"] == ["line 2: text left out: Hello."]

    @pytest.mark.parametrize("text", ["", "I am sorry, I cannot help with that."], ids=["nothing", "a refusal"])
    def test_says_that_nothing_was_found(self, text: str) -> None:
        result = read(text)

        assert (result["contacts"], result["meeting_locations"]) == ([], [])
        assert [warning.split(":")[0] for warning in result["warnings"][:2]] == [
            "no contact was found", "no meeting location was found",
        ]  # fmt: skip

    def test_reads_an_answer_that_was_cut_off(self) -> None:
        result = read(ANSWER[: ANSWER.index("**Practical")])

        assert result["contacts"] == [HARBORVIEW]
        assert result["meeting_locations"][0]["suitable_for"] == []
        assert "has no suitable_for, has_parking, is_accessible" in result["warnings"][0]

    def test_cuts_long_texts_and_long_lists(self) -> None:
        warnings = read("\n\n".join(["word " * 100] * 150) + "\n" + ANSWER)["warnings"]

        assert len(warnings) == 101
        assert warnings[-1] == "and 50 more, between line 201 and line 299"
        assert len(warnings[0]) < 120


class TestInput:
    def test_takes_the_whole_output_of_an_llm_step(self) -> None:
        output = {"content": ANSWER, "finish_reason": "stop", "model": "m", "usage": {}}

        assert read(output) == read(ANSWER)

    def test_says_that_a_model_stopped_at_its_limit(self) -> None:
        warnings = read({"content": ANSWER, "finish_reason": "length"})["warnings"]

        assert warnings == ["the model stopped at its limit (max_tokens): the last block may be incomplete"]

    def test_reads_null_as_an_empty_text(self) -> None:
        result = read(None)

        assert result["contacts"] == []
        assert result["warnings"][0] == "the input is null, as a step leaves it that was skipped or failed"

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            pytest.param({"data": 1, "content": "x"}, "an object with the keys content, data", id="some object"),
            pytest.param({"content": None, "finish_reason": "stop"}, "an object with the keys", id="no content"),
            pytest.param(["x"], "a list", id="list"),
            pytest.param(1, "a number", id="number"),
            pytest.param(True, "a boolean", id="boolean"),
        ],
    )
    def test_refuses_what_is_no_text_and_says_where_the_text_is(self, value: JsonValue, kind: str) -> None:
        with pytest.raises(TransformError, match=rf"takes text, not {kind}.*\.content"):
            read(value)

    def test_says_that_the_schema_is_not_there(self) -> None:
        tools = TransformTools(render=lambda value, _names: value)

        with pytest.raises(TransformError, match=r"no Markdown schema 'x'. There are: auto, key_values, lists"):
            MarkdownToJson().apply("", MarkdownToJsonConfig(schema="x"), tools)


class TestCheck:
    @pytest.mark.parametrize(
        ("name", "nearest"),
        [("emergency_contact", "emergency_contacts"), ("section", "sections"), ("keyvalues", "key_values")],
    )
    def test_finds_unknown_schemas_when_a_file_is_loaded(self, name: str, nearest: str) -> None:
        config = MarkdownToJsonConfig.model_validate({"format": name})

        findings = MarkdownToJson().check(config, {"emergency_contacts": {}})

        assert [finding.pointer for finding in findings] == ["/schema"]
        assert f'Did you mean "{nearest}"' in findings[0].message

    @pytest.mark.parametrize("name", ["sections", "tables", "lists", "key_values", "auto", "emergency_contacts"])
    def test_accepts_the_general_readings_and_good_files(self, name: str) -> None:
        raw = json.loads((SCHEMAS / "emergency_contacts.json").read_text())

        assert MarkdownToJson().check(MarkdownToJsonConfig(schema=name), {"emergency_contacts": raw}) == ()

    def test_finds_what_is_wrong_with_a_schema_file(self) -> None:
        broken = {
            "sections": [{"output": "rows", "headings": ["Rows"], "fields": {"a": {"labels": ["A"], "type": "date"}}}]
        }

        findings = MarkdownToJson().check(MarkdownToJsonConfig(schema="rows"), {"rows": broken})

        assert "sections/0/fields/a/type" in findings[0].message

    @pytest.mark.parametrize(
        "markdown",
        ["- " * 3000 + "x", "*" * 20_000, "a-" * 50_000, "," * 50_000, "### x\n**Website**: " + "a-" * 50_000],
        ids=["nested lists", "stars", "dashes", "commas", "no address"],
    )  # fmt: skip
    def test_is_not_held_up_by_hostile_text(self, markdown: str) -> None:
        assert read(markdown)["meeting_locations"] == []
