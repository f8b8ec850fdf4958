"""The readings that need no schema: sections, tables, lists, keys, and all of them."""

from typing import Any

import pytest

from callboard.workflows.transforms.base import TransformTools
from callboard.workflows.transforms.markdown_to_json import MarkdownToJson, MarkdownToJsonConfig


def read(schema: str, markdown: str) -> dict[str, Any]:
    tools = TransformTools(render=lambda value, _names: value)
    return MarkdownToJson().apply(markdown, MarkdownToJsonConfig(schema=schema), tools)


def section(title: str, level: int, text: str = "", *children: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "level": level, "text": text, "children": list(children)}


class TestSections:
    def test_nests_by_level_and_bridges_skipped_ones(self) -> None:
        result = read("sections", "# A\none\n#### B\ntwo\n## C\n\nthree\n# D")

        assert result["sections"] == [
            section("A", 1, "one", section("B", 4, "two"), section("C", 2, "three")),
            section("D", 1),
        ]
        assert result["warnings"] == []

    def test_puts_text_before_the_first_heading_apart(self) -> None:
        result = read("sections", "Here is your plan:\n\n## Plan\nGo.")

        assert result["preamble"] == "Here is your plan:"
        assert result["sections"] == [section("Plan", 2, "Go.")]

    def test_keeps_the_text_as_markdown_and_the_title_plain(self) -> None:
        text = "- **one**\n  - two\n\n```\n# no heading\n```\n\n| a |\n|---|\n| b |"

        result = read("sections", f"## 1. *Plan* [A](https://a.example) ##\n\n{text}\n\n")

        assert result["sections"] == [section("1. Plan A", 2, text)]

    @pytest.mark.parametrize(
        ("markdown", "titles"),
        [
            pytest.param("Title\n=====\ntext", ["Title"], id="double line"),
            pytest.param("Title\n---\ntext", ["Title"], id="single line"),
            pytest.param("A sentence with a rule below it.\n---\n# Title", ["Title"], id="rule below prose"),
            pytest.param("**Phone**: 1\n---\n# Title", ["Title"], id="rule below a field"),
            pytest.param("Words before\nTitle\n=====\ntext", ["Title"], id="only the last line"),
            pytest.param("- item\n- ## in a list\n\n> ## quoted\n\n# Title", ["Title"], id="in lists and quotations"),
            pytest.param("##Title", ["Title"], id="no space"),
            pytest.param("```markdown\n# Title\n```", ["Title"], id="fenced"),
        ],
    )
    def test_reads_every_kind_of_heading(self, markdown: str, titles: list[str]) -> None:
        assert [found["title"] for found in read("sections", markdown)["sections"]] == titles

    def test_takes_bold_lines_where_there_is_no_heading(self) -> None:
        result = read("sections", "Hello.\n\n**First:**\n\none\n\n**not** all bold\n\n**Second**\n\ntwo")

        assert result["sections"] == [section("First", 1, "one\n\n**not** all bold"), section("Second", 1, "two")]
        assert result["warnings"] == ["there is no heading; the lines in bold were taken for headings"]

    def test_says_that_there_is_none(self) -> None:
        result = read("sections", "Only prose.")

        assert result == {
            "sections": [],
            "preamble": "Only prose.",
            "warnings": ["no heading was found: one is `## Title`; the whole text is in preamble"],
        }


class TestTables:
    def test_reads_rows_by_their_header(self) -> None:
        result = read("tables", "| **Name** | Phone |\n|:--|--:|\n| A \\| B | `1` |\n\nprose\n\nx | y\n---|---\n1 | 2")

        assert result == {
            "tables": [[{"Name": "A | B", "Phone": "1"}], [{"x": "1", "y": "2"}]],
            "warnings": [],
        }

    def test_gives_links_their_address_and_breaks_their_line(self) -> None:
        head = "| a | b | c | d |\n|---|---|---|---|\n"

        table = read("tables", head + "| [x](https://x.example) | <https://y.example> | [1](tel:1) | p<br>q |")[
            "tables"
        ]

        assert table == [[{"a": "x (https://x.example)", "b": "https://y.example", "c": "1", "d": "p\nq"}]]

    def test_sets_null_for_missing_cells_and_warns_of_surplus_ones(self) -> None:
        result = read("tables", "| a | b |\n|---|---|\n| 1 |\n| | 2 |\n| 3 | 4 | 5 |")

        assert result["tables"] == [[{"a": "1", "b": None}, {"a": "", "b": "2"}, {"a": "3", "b": "4"}]]
        assert result["warnings"] == [
            "line 3: the row has 1 cells for 2 columns; null is set for: b",
            "line 5: cell beyond the last column left out: 5",
        ]

    def test_names_columns_without_a_name_and_those_of_one_name(self) -> None:
        result = read("tables", "| | a | a |\n|---|---|---|\n| 1 | 2 | 3 |")

        assert result["tables"] == [[{"column 1": "1", "a": "2", "a (2)": "3"}]]
        assert result["warnings"] == ["line 1: the column 'a' is there twice; the second one is called 'a (2)'"]

    @pytest.mark.parametrize("dashes", ["|---|", "|---|---|---|", "> |---|"])
    def test_mends_a_row_of_dashes_that_does_not_fit_the_head(self, dashes: str) -> None:
        quote = "> " if dashes.startswith(">") else ""

        result = read("tables", f"{quote}| a | b |\n{dashes}\n{quote}| 1 | 2 |")

        assert result["tables"] == [[{"a": "1", "b": "2"}]]

    def test_says_that_there_is_none(self) -> None:
        assert read("tables", "a | b") == {
            "tables": [],
            "warnings": ["no table was found: one has a head, and a row of dashes below it"],
        }


class TestLists:
    def test_reads_every_list_with_nested_items_behind_their_own(self) -> None:
        result = read("lists", "- a\n  1. b\n     - c\n- **d**\n\nprose\n\n3) e\n4) f")

        assert result == {"lists": [["a", "b", "c", "d"], ["e", "f"]], "warnings": []}

    def test_keeps_the_paragraphs_of_an_item_as_lines(self) -> None:
        markdown = "- a\n  goes on\n\n  second\n  - nested\n\n  third\n\n  ```\n  code\n  ```\n-\n"

        assert read("lists", markdown)["lists"] == [["a goes on\nsecond\nthird\ncode", "nested"]]

    def test_leaves_the_boxes_of_tasks_out(self) -> None:
        result = read("lists", "- [ ] pack water\n- [x] call mother\n- [link](https://a.example)")

        assert result["lists"] == [["pack water", "call mother", "link (https://a.example)"]]
        assert result["warnings"] == ["line 2: the tick of a done task is left out: call mother"]

    def test_says_that_there_is_none(self) -> None:
        assert read("lists", "prose")["warnings"] == ["no list was found: an item begins with `- `, `* ` or `1. `"]


class TestKeyValues:
    @pytest.mark.parametrize(
        "line",
        [
            "**Phone**: 1 2",
            "**Phone:** 1 2",
            "**Phone:**1 2",
            "- **Phone**: 1 2",
            "> __Phone__: 1 2",
            "📞 **Phone**: 1  2",
            "**Phone** - 1 2",
            "**Phone**：1 2",
            "1. **Phone**: *1* 2",
            "<b>Phone</b>: 1 2",
            "Phone: 1 2",
            "- Phone: 1 2",
        ],
    )
    def test_reads_every_dress_of_a_line(self, line: str) -> None:
        assert read("key_values", f"Some prose.\n\n{line}\n") == {"key_values": {"Phone": "1 2"}, "warnings": []}

    def test_reads_plain_keys_only_where_none_is_bold(self) -> None:
        assert read("key_values", "Note: this\n\n**Phone**: 1")["key_values"] == {"Phone": "1"}

    @pytest.mark.parametrize(
        "line", ["https://a.example", "At 10:30 we go", "Here is what I would do for you: go", "**:** x"]
    )
    def test_takes_no_prose_for_a_key(self, line: str) -> None:
        result = read("key_values", line)

        assert result["key_values"] == {}
        assert result["warnings"] == ["no key was found: a line with one is `**Key**: value`"]

    def test_reads_a_value_over_lines_and_the_list_below_a_key(self) -> None:
        markdown = (
            "**A**: one\ntwo\n\nprose\n\n**B**:\n- x\n  goes on\n  - y\n- z\n\nprose\n\n"
            "**C**:\n\nparagraph\n\nprose\n\n- **D**:\n  - q\n- r\n\n**E**:\n# Title\n**F**: 1 | **G**: 2"
        )

        assert read("key_values", markdown)["key_values"] == {
            "A": "one two", "B": "x goes on\ny\nz", "C": "paragraph", "D": "q", "E": "", "F": "1", "G": "2",
        }  # fmt: skip

    def test_keeps_every_value_of_a_repeated_key(self) -> None:
        result = read("key_values", "**A**: 1\n\n**A**: 2")

        assert result["key_values"] == {"A": "1", "A (2)": "2"}
        assert result["warnings"] == ["line 3: the key 'A' is there again; this one is called 'A (2)'"]


class TestAuto:
    def test_finds_all_four_kinds(self) -> None:
        result = read("auto", "Hi.\n\n# T\n\n**K**: v\n\n- i\n\n| a |\n|---|\n| 1 |")

        assert result.keys() == {"sections", "preamble", "tables", "lists", "key_values", "warnings"}
        assert (result["sections"][0]["title"], result["preamble"]) == ("T", "Hi.")
        assert (result["tables"], result["lists"], result["key_values"]) == ([[{"a": "1"}]], [["i"]], {"K": "v"})

    def test_does_not_warn_of_what_the_text_does_not_have(self) -> None:
        assert read("auto", "")["warnings"] == []


class TestInput:
    @pytest.mark.parametrize(
        "wrapped", ["\ufeff# T\r\n\r\nx", "\n\n# T\n\nx\n\n", "```md\n# T\n\nx\n```", "```\n# T\n\nx"]
    )
    def test_is_unwrapped(self, wrapped: str) -> None:
        assert read("sections", wrapped)["sections"] == [section("T", 1, "x")]

    def test_keeps_code_that_is_part_of_the_text(self) -> None:
        markdown = "```markdown\n# T\n\n```python\n# no heading\n```\n```"

        assert read("sections", markdown)["sections"] == [section("T", 1, "```python\n# no heading\n```")]

    def test_keeps_two_blocks_of_code(self) -> None:
        markdown = "```\n# a\n```\n\n```\n# b\n```"

        assert read("sections", markdown)["preamble"] == markdown

    def test_unwraps_markdown_among_other_text_and_leaves_code(self) -> None:
        markdown = "Here:\n\n````md\n# T\n```\n# code\n```\n````\n\n```sh\n# code\n```"

        assert [found["title"] for found in read("sections", markdown)["sections"]] == ["T"]

    def test_unwraps_a_bare_fence_where_it_holds_headings_or_labels(self) -> None:
        markdown = "Here:\n\n```\n## T\nx\n```\n\nBye.\n\n```\n# code\n```"

        assert read("sections", markdown)["sections"] == [section("T", 2, "x\n\n\nBye.\n\n```\n# code\n```")]

    def test_unwraps_a_fence_that_was_cut_off(self) -> None:
        assert read("sections", "Here:\n\n```md\n## T\nx")["sections"] == [section("T", 2, "x")]
