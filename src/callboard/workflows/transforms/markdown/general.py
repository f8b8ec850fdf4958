"""The general readings of Markdown, which need no schema. `markdown_to_json.py` calls `read_general`."""

from typing import Any

from callboard.workflows.transforms.markdown.key_values import read_key_values
from callboard.workflows.transforms.markdown.lines import Line, read_lines
from callboard.workflows.transforms.markdown.lists import read_lists
from callboard.workflows.transforms.markdown.parsing import Parsed, parse
from callboard.workflows.transforms.markdown.sections import read_sections
from callboard.workflows.transforms.markdown.source import Source
from callboard.workflows.transforms.markdown.tables import read_tables
from callboard.workflows.transforms.markdown.warnings import Warnings

# Each with what to say where it finds nothing.
_READINGS = {
    "sections": "no heading was found: one is `## Title`; the whole text is in preamble",
    "tables": "no table was found: one has a head, and a row of dashes below it",
    "lists": "no list was found: an item begins with `- `, `* ` or `1. `",
    "key_values": "no key was found: a line with one is `**Key**: value`",
}
GENERAL_READINGS = frozenset({*_READINGS, "auto"})


def read_general(name: str, source: Source, warnings: Warnings) -> dict[str, Any]:
    """Return what `name` (one of `GENERAL_READINGS`) finds, under its own name; `auto` finds all four.

    `sections` has "preamble" beside it. A reading tells what it doubts of its own kind: `tables` says
    nothing of the prose between tables, and `auto` nothing of kinds that the text does not have.
    """
    parsed = parse(source)
    names = _READINGS if name == "auto" else {name: _READINGS[name]}
    found: dict[str, Any] = {}
    for reading in names:
        found.update(_read(reading, source, parsed, warnings))
    if name != "auto" and not found[name]:
        warnings.add_general(_READINGS[name])
    return found


def _read(name: str, source: Source, parsed: Parsed, warnings: Warnings) -> dict[str, Any]:
    if name == "sections":
        return read_sections(parsed.tokens, source, warnings)
    if name == "tables":
        return {name: read_tables(parsed.tokens, source, warnings)}
    if name == "lists":
        return {name: read_lists(parsed.tokens, warnings)}
    lines = [block for block in read_lines(source, parsed).blocks if isinstance(block, Line)]
    return {name: read_key_values(lines, warnings)}
