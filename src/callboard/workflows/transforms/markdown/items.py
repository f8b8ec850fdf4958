"""Finds the items that a Markdown schema describes in lines of Markdown, whatever levels a model gave them.

`markdown_to_json.py` calls `read_items`. Two passes: first every line is told apart (heading of a
section, of an item, label of a field, plain text), then `markdown/fields.py` reads the fields of each.
"""

import re
from collections.abc import Sequence

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.markdown.fields import Item, Label, describe, leave_out, read_item
from callboard.workflows.transforms.markdown.headings import find_section, find_section_of_item, with_bold_headings
from callboard.workflows.transforms.markdown.label_tables import table_lines
from callboard.workflows.transforms.markdown.labels import find_label, split_at_labels, starts_bold, value_line
from callboard.workflows.transforms.markdown.lines import Line, read_lines
from callboard.workflows.transforms.markdown.parsing import parse
from callboard.workflows.transforms.markdown.schema import MarkdownSchema, SectionRule, normalise_label
from callboard.workflows.transforms.markdown.source import Source
from callboard.workflows.transforms.markdown.warnings import Warnings

_BOLD_NEVER_CLOSED = re.compile(r"^\W*(\*\*|__)[^*_]*\*?$")


class MissingError(Exception):
    """What the schema requires is not in the text. `faults` says what, one sentence each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


def read_items(schema: MarkdownSchema, source: Source, warnings: Warnings) -> dict[str, JsonValue]:
    """Return {output of a section: [items]} for every section; `warnings` gets all that was left out.

    Raises: MissingError, where a required field or the least number of items is not there.
    """
    lines = _lines_of(schema, source, warnings)
    is_unfinished = _drop_unfinished(lines, warnings)
    items = _Reader(schema, warnings).read(lines)
    result: dict[str, JsonValue] = {section.output: [] for section in schema.sections}
    faults: list[str] = []
    by_section: dict[str, list[Item]] = {section.output: [] for section in schema.sections}
    for item in items:
        item.section = item.section or _best_section(schema, item)
        result[item.section.output].append(read_item(item.section, item, warnings, faults))
        by_section[item.section.output].append(item)
    if lines and (is_unfinished or _ends_too_early(lines[-1], items, by_section)):
        last = f" ({describe(items[-1].section, items[-1])})" if items and items[-1].section is not None else ""
        warnings.add(lines[-1].number, f"the text may have been cut off: its last block{last} may be incomplete")
    _count(schema, by_section, warnings, faults)
    if faults:
        raise MissingError(faults)
    return result


def _lines_of(schema: MarkdownSchema, source: Source, warnings: Warnings) -> list[Line]:
    reading = read_lines(source, parse(source))
    for number in reading.lost:
        warnings.left_out(number, "markup", source.lines[number - 1].strip())
    lines: list[Line] = []
    for block in reading.blocks:
        lines += [block] if isinstance(block, Line) else table_lines(block, schema)
    return [part for line in lines for part in split_at_labels(line, schema.labels)]


def _drop_unfinished(lines: list[Line], warnings: Warnings) -> bool:
    """Take away a last line in which bold was opened only: the start of a label that was never finished."""
    if not lines or not _BOLD_NEVER_CLOSED.match(lines[-1].text):
        return False
    unfinished = lines.pop()
    warnings.left_out(unfinished.number, "unfinished line", unfinished.text)
    return True


def _ends_too_early(last: Line, items: Sequence[Item], by_section: dict[str, list[Item]]) -> bool:
    """Return whether the text ends in an item that lacks fields which the one before it has, or in a heading."""
    if last.level:
        return True
    if not items or not items[-1].labels or items[-1].section is None:
        return False
    label = items[-1].labels[-1]
    if last.number != (label.lines[-1] if label.lines else label.line).number:
        return False  # something else follows it
    section = items[-1].section
    *_, last_item = siblings = by_section[section.output]
    missing = {name for name in last_item.missing if not section.fields_[name].heading}
    return bool(missing) and (len(siblings) == 1 or not missing <= set(siblings[-2].missing))


def _count(schema: MarkdownSchema, by_section: dict[str, list[Item]], warnings: Warnings, faults: list[str]) -> None:
    for section in schema.sections:
        count = len(by_section[section.output])
        if count < section.min_items:
            faults.append(f"{section.output} has {count} items and needs {section.min_items}")
        if not count:
            warnings.add_general(
                f"no {section.item} was found: there is no item with fields below a heading {section.headings[0]!r}"
            )


class _Reader:
    """The first pass: takes lines one by one and knows where it stands (section, item, open label)."""

    def __init__(self, schema: MarkdownSchema, warnings: Warnings) -> None:
        self._schema = schema
        self._known = schema.labels
        self._warnings = warnings
        self._section: SectionRule | None = None
        self._section_level = 0
        self._items: list[Item] = []
        self._item: Item | None = None
        self._label: Label | None = None

    def read(self, lines: Sequence[Line]) -> list[Item]:
        """Return the items that have at least one known field."""
        for line in with_bold_headings(self._schema, lines):
            self._take(line)
        for item in self._items:
            if item.is_empty:
                self._warnings.left_out(item.heading.number, "heading without fields", item.heading.text)
                for label in item.labels:
                    leave_out(label, "unknown field", self._warnings)
        return [item for item in self._items if not item.is_empty]

    def _take(self, line: Line) -> None:
        label = self._read_label(line)
        if line.level and (label is None or not self._is_field_heading(line, label)):
            self._take_heading(line)
        elif label is not None and self._item is not None:
            self._label = label
            self._item.labels.append(label)
        elif self._label is not None and self._continues(self._label, line):
            self._label.lines.append(line)
        else:
            what = "text" if label is None else "field without a heading above it"
            self._warnings.left_out(line.number, what, line.text)

    def _take_heading(self, line: Line) -> None:
        self._label = None
        section = find_section(self._schema, line.text)
        is_inside = section is self._section and line.level > self._section_level
        if section is not None and not is_inside:
            self._item, self._section, self._section_level = None, section, line.level
            return
        self._item = Item(heading=line, section=find_section_of_item(self._schema, line.text) or self._section)
        self._items.append(self._item)

    def _is_field_heading(self, line: Line, label: Label) -> bool:
        """A heading deeper than its item's that reads as a label is one: `#### Phone` below `### Harborview`."""
        rule = self._known.get(label.name)
        is_name = rule is not None and rule.heading
        return label.is_known and not is_name and self._item is not None and line.level > self._item.heading.level

    def _read_label(self, line: Line) -> Label | None:
        found = find_label(line, self._known)
        if found is None:
            name = normalise_label(line.text)
            alone = name in self._known and (line.level > 0 or starts_bold(line))
            return Label(name=name, line=line, is_known=True, opened_empty=True) if alone else None
        shown, value = found
        name = normalise_label(shown)
        if name not in self._known and (not starts_bold(line) or self._is_part_of_value(line)):
            return None  # prose with a colon in it, or `- **Main**: 206-...` below `Phone:`
        lines = [value_line(line, value)] if value else []
        return Label(name=name, line=line, is_known=name in self._known, lines=lines, opened_empty=not value)

    def _is_part_of_value(self, line: Line) -> bool:
        return self._label is not None and self._label.opened_empty and line.depth > self._label.line.depth

    def _continues(self, label: Label, line: Line) -> bool:
        if line.block == label.line.block:
            return True
        if label.line.block < 0:
            return False  # nothing goes on behind the end of a cell
        rule = self._known.get(label.name)
        takes_lists = rule is None or rule.multiline or rule.type == "list"
        if line.depth > label.line.depth and (takes_lists or label.opened_empty or label.line.depth):
            return True
        if rule is not None and rule.multiline:
            return True
        if not label.opened_empty:
            return False
        is_list = rule is not None and rule.type == "list" and line.depth > 0
        return not label.lines or label.lines[-1].block == line.block or is_list


def _best_section(schema: MarkdownSchema, item: Item) -> SectionRule:
    names = {label.name for label in item.labels}
    return max(schema.sections, key=lambda section: len(names & section.labels.keys()))
