"""The one set of CommonMark rules that every reading uses, and the tokens that it makes of a text.

Called by `markdown/lines.py` and the general readings. markdown-it does the parsing, so numbering,
nesting, emphasis and tables are read as any viewer reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from callboard.workflows.transforms.markdown.source import Source


@dataclass(frozen=True, slots=True)
class Parsed:
    """The tokens of a text, and the definitions (`[1]: https://...`) as (address, first line, last line)."""

    tokens: Sequence[Token]
    definitions: Sequence[tuple[str, int, int]]


def parse(source: Source) -> Parsed:
    """Return the tokens of `source`; indented and tagged answers are read like any other.

    Lists deeper than ten levels are left out: the parser calls itself for each, and gets slow.
    """
    parser = MarkdownIt("commonmark").enable("table").disable(["code", "html_block"])
    environment: dict[str, dict[str, dict[str, Any]]] = {}
    tokens = parser.parse(source.text, environment)
    references = environment.get("references", {}).values()
    definitions = [(found["href"], found["map"][0] + 1, found["map"][1]) for found in references]
    return Parsed(tokens, definitions)
