"""What the reader of schemas does where a text says something twice, elsewhere, or not quite."""

import json
from pathlib import Path
from typing import Any

import pytest

from callboard.workflows.transforms.base import TransformTools
from callboard.workflows.transforms.markdown_to_json import MarkdownToJson, MarkdownToJsonConfig

SCHEMAS = Path(__file__).parents[5] / "src" / "callboard" / "workflows" / "markdown_schemas"
RAW = json.loads((SCHEMAS / "emergency_contacts.json").read_text())


def read(markdown: str) -> dict[str, Any]:
    tools = TransformTools(render=lambda value, _names: value, markdown_schemas={"emergency_contacts": RAW})
    return MarkdownToJson().apply(markdown, MarkdownToJsonConfig(schema="emergency_contacts"), tools)


class TestNames:
    def test_prefers_the_label_and_names_the_heading_that_it_leaves_out(self) -> None:
        result = read("## Contacts\n### Hospital\n**Name**: Harborview\n**Phone**: 1")

        assert result["contacts"][0]["name"] == "Harborview"
        assert "line 2: heading, as the name stands below it, left out: Hospital" in result["warnings"]

    @pytest.mark.parametrize(
        ("head", "row"),
        [
            pytest.param("| Name | Phone | Address |", "| A | 1 | x St |", id="its own label"),
            pytest.param("| Phone | Name | Address |", "| 1 | A | x St |", id="not the first"),
            pytest.param("| Contact | Phone | Address |", "| A | 1 | x St |", id="a word before names"),
            pytest.param("| # | Who | Phone | Address |", "| 1. | A | 1 | x St |", id="behind the numbers"),
            pytest.param("| Phone | Location | Address |", "| 1 | A | x St |", id="the first of two for one field"),
        ],
    )
    def test_finds_the_column_with_the_names(self, head: str, row: str) -> None:
        dashes = "|---" * (head.count("|") - 1) + "|"

        (contact,) = read(f"## Contacts\n\n{head}\n{dashes}\n{row}\n")["contacts"]

        assert (contact["name"], contact["phone"], contact["address"]) == ("A", "1", "x St")

    def test_reads_rows_without_a_name(self) -> None:
        result = read("## Contacts\n\n| Phone | Address |\n|---|---|\n| 1 | x St |\n| | |\n")

        assert [(contact["name"], contact["phone"]) for contact in result["contacts"]] == [(None, "1")]

    def test_names_words_that_stand_where_numbers_do(self) -> None:
        result = read("## Contacts\n\n| # | Name | Phone |\n|---|---|---|\n| 1 | A | 1 |\n| new | B | 2 |\n")

        assert [contact["name"] for contact in result["contacts"]] == ["A", "B"]
        assert "line 6: text left out: new" in result["warnings"]

    def test_names_rows_that_belong_to_no_column(self) -> None:
        table = "| Field | A | B |\n|---|---|---|\n| Phone | 1 | 2 |\n| Address | x | y |\n| Notes | | |"

        result = read(f"## Contacts\n\n{table}\n")

        assert [contact["name"] for contact in result["contacts"]] == ["A", "B"]
        assert "line 7: field without a heading above it left out: Notes:" in result["warnings"]


class TestMarkup:
    def test_counts_definitions_of_links_as_used(self) -> None:
        result = read("## Contacts\n### A\n**Website**: [site][1]\n\n[1]: https://a.example\n[2]: https://b.example")

        assert result["contacts"][0]["website"] == "https://a.example"
        assert [text for text in result["warnings"] if "markup" in text] == [
            "line 6: markup left out: [2]: https://b.example"
        ]

    def test_reads_code_that_goes_over_lines(self) -> None:
        result = read("## Contacts\n### A\n**Address**: `x St\nSeattle`\n**Phone**: 1")

        assert result["contacts"][0]["address"] == "x St Seattle"
        assert not any("markup" in text for text in result["warnings"])

    def test_names_what_is_nested_too_deep(self) -> None:
        lines = "\n".join("  " * depth + f"- level {depth}" for depth in range(14))

        warnings = read(f"## Contacts\n### A\n**Phone**: 1\n\n{lines}")["warnings"]

        assert warnings[-2:] == ["lines 5-13: text left out: level 0", "lines 14-18: markup left out: - level 9"]

    def test_names_lines_of_code(self) -> None:
        result = read("## Contacts\n### A\n**Phone**: 1\n\n```json\n{}\n\n[1]\n```\n")

        assert result["warnings"][-2:] == ["line 6: text left out: {}", "line 8: text left out: [1]"]

    def test_unwraps_a_fence_only_up_to_its_end(self) -> None:
        result = read("```md\n## Contacts\n### A\n**Phone**: 1\n```\n\nBye.")

        assert result["contacts"][0]["phone"] == "1"
        assert result["warnings"][-1] == "line 7: text left out: Bye."


class TestEndOfValues:
    def test_takes_no_list_for_a_part_of_a_number_above_it(self) -> None:
        result = read("## Contacts\n### A\n**Phone**: 1\n\n- Keep calm\n- Call")

        assert result["contacts"][0]["phone"] == "1"
        assert result["warnings"][-1] == "lines 5-6: text left out: Keep calm"

    def test_takes_the_list_below_a_label_without_a_value(self) -> None:
        assert read("## Contacts\n### A\n**Phone**:\n\n- 1\n- 2")["contacts"][0]["phone"] == "1; 2"

    def test_names_unknown_fields_below_a_heading_without_any_other(self) -> None:
        result = read("## Contacts\n### A\n**Phone**: 1\n\n### Notes\n**Fax**: 2\nmore\n")

        assert result["warnings"][-2:] == [
            "line 5: heading without fields left out: Notes",
            "lines 6-7: unknown field left out: Fax: 2",
        ]

    @pytest.mark.parametrize(
        ("value", "score", "left_out"),
        [
            pytest.param("near\n85", 85, "line 3: text behind fit_score left out: near", id="the second line"),
            pytest.param("near\nby", None, "line 4: text behind fit_score left out: by", id="no line"),
        ],
    )
    def test_takes_the_one_line_that_can_be_read(self, value: str, score: int | None, left_out: str) -> None:
        result = read(f"## Contacts\n### A\n**Fit Score**: {value}\n**Phone**: 1")

        assert result["contacts"][0]["fit_score"] == score
        assert any(text == left_out for text in result["warnings"])

    def test_reads_yes_and_no_over_lines(self) -> None:
        result = read("## Contacts\n### A\n**24/7 Available**: The doors are open 24\nhours a day\n**Phone**: 1")

        assert result["contacts"][0]["available_24hr"] is True

    def test_names_details_that_mention_nothing(self) -> None:
        details = "**Practical Details**:\n- Parking on the street\n- Toilets"

        result = read(f"## Meeting Locations\n### Primary Meeting Location: A\n{details}\n")

        assert result["meeting_locations"][0]["has_parking"] is True
        assert "line 5: text behind Practical Details left out: Toilets" in result["warnings"]
