"""Finds the items that a Markdown schema describes in lines of Markdown, whatever levels a model gave them.

`markdown_to_json.py` calls `read_items`. Two passes: first every line is told apart (heading of a
section, of an item, label of a field, plain text), then the fields of each item are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.markdown.headings import (
    find_section,
    find_section_of_item,
    item_name,
    split_choice,
    with_bold_headings,
)
from callboard.workflows.transforms.markdown.labels import (
    find_label,
    known_labels,
    split_at_labels,
    starts_bold,
    value_line,
)
from callboard.workflows.transforms.markdown.lines import Line
from callboard.workflows.transforms.markdown.schema import FieldRule, MarkdownSchema, SectionRule, normalise_label
from callboard.workflows.transforms.markdown.values import empty_value, find_mention, join_lines, read_value

MAX_WARNINGS = 100
_SHOWN_CHARS = 80


@dataclass(slots=True)
class _Label:
    """A label that was met, with the lines of its value. `name` is its normal form."""

    name: str
    line: Line
    is_known: bool
    lines: list[Line] = field(default_factory=list)
    opened_empty: bool = False


@dataclass(slots=True)
class _Item:
    """A heading with the labels below it. Without a section the labels decide which one it belongs to."""

    heading: Line
    section: SectionRule | None
    labels: list[_Label] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not any(label.is_known for label in self.labels)


class _Warnings:
    """What was left out, in the order of the lines; long texts are cut and long lists end with a count."""

    def __init__(self) -> None:
        self._found: list[tuple[int, str]] = []

    def add(self, line: Line, text: str) -> None:
        self._found.append((line.number, f"line {line.number}: {text}"))

    def left_out(self, line: Line, what: str) -> None:
        shown = line.text if len(line.text) <= _SHOWN_CHARS else line.text[:_SHOWN_CHARS] + "…"
        self.add(line, f"{what} left out: {shown}")

    def as_list(self, *, first: Sequence[str]) -> list[str]:
        texts = [*first, *(text for _, text in sorted(self._found, key=lambda found: found[0]))]
        beyond = len(texts) - MAX_WARNINGS
        return texts if beyond <= 0 else [*texts[:MAX_WARNINGS], f"and {beyond} more"]


def read_items(schema: MarkdownSchema, lines: Sequence[Line]) -> dict[str, JsonValue]:
    """Return {output of a section: [items]} for every section, and `warnings` about all that was left out."""
    warnings = _Warnings()
    result: dict[str, JsonValue] = {section.output: [] for section in schema.sections}
    for item in _Reader(schema, warnings).read(lines):
        section = item.section or _best_section(schema, item)
        result[section.output].append(_read_item(section, item, warnings))
    nowhere = [
        f"no {section.item} was found: there is no item with fields below a heading {section.headings[0]!r}"
        for section in schema.sections
        if not result[section.output]
    ]
    result["warnings"] = warnings.as_list(first=nowhere)
    return result


class _Reader:
    """The first pass: takes lines one by one and knows where it stands (section, item, open label)."""

    def __init__(self, schema: MarkdownSchema, warnings: _Warnings) -> None:
        self._schema = schema
        self._known = known_labels(schema)
        self._warnings = warnings
        self._section: SectionRule | None = None
        self._section_level = 0
        self._items: list[_Item] = []
        self._item: _Item | None = None
        self._label: _Label | None = None

    def read(self, lines: Sequence[Line]) -> list[_Item]:
        """Return the items that have at least one known field."""
        cut = [part for line in lines for part in split_at_labels(line, self._known)]
        for line in with_bold_headings(self._schema, self._known, cut):
            self._take(line)
        for item in self._items:
            if item.is_empty:
                self._warnings.left_out(item.heading, "heading without fields")
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
            self._warnings.left_out(line, "text" if label is None else "field without a heading above it")

    def _take_heading(self, line: Line) -> None:
        self._label = None
        section = find_section(self._schema, line.text)
        is_inside = section is self._section and line.level > self._section_level
        if section is not None and not is_inside:
            self._item, self._section, self._section_level = None, section, line.level
            return
        self._item = _Item(heading=line, section=find_section_of_item(self._schema, line.text) or self._section)
        self._items.append(self._item)

    def _is_field_heading(self, line: Line, label: _Label) -> bool:
        """A heading deeper than its item's that reads as a label is one: `#### Phone` below `### Harborview`."""
        rule = self._known.get(label.name)
        is_name = rule is not None and rule.heading
        return label.is_known and not is_name and self._item is not None and line.level > self._item.heading.level

    def _read_label(self, line: Line) -> _Label | None:
        found = find_label(line, self._known)
        if found is None:
            name = normalise_label(line.text)
            alone = name in self._known and (line.level > 0 or starts_bold(line))
            return _Label(name=name, line=line, is_known=True, opened_empty=True) if alone else None
        shown, value = found
        name = normalise_label(shown)
        if name not in self._known and not starts_bold(line):
            return None  # prose with a colon in it
        lines = [value_line(line, value)] if value else []
        return _Label(name=name, line=line, is_known=name in self._known, lines=lines, opened_empty=not value)

    def _continues(self, label: _Label, line: Line) -> bool:
        rule = self._known.get(label.name)
        if line.block == label.line.block or line.depth > label.line.depth or (rule is not None and rule.multiline):
            return True
        if not label.opened_empty:
            return False
        is_list = rule is not None and rule.type == "list" and line.depth > 0
        return not label.lines or label.lines[-1].block == line.block or is_list


def _best_section(schema: MarkdownSchema, item: _Item) -> SectionRule:
    names = {label.name for label in item.labels}
    return max(schema.sections, key=lambda section: len(names & {name for name, _ in section.labels()}))


def _read_item(section: SectionRule, item: _Item, warnings: _Warnings) -> dict[str, JsonValue]:
    """The second pass: the fields of one item, with one warning for all that are missing."""
    by_name = _labels_by_name(section, item, warnings)
    shown = f"{section.item} {item_name(section, item.heading.text) or item.heading.text!r}"
    values: dict[str, JsonValue] = {}
    missing: list[str] = []
    for field_name, rule in section.fields_.items():
        value, problem, was_there = _read_field(section, rule, by_name, item.heading)
        values[field_name] = value
        if problem is not None:
            warnings.add(item.heading, f"{shown}: {field_name}: {problem}")
        if not was_there and not rule.optional:
            missing.append(field_name)
    if missing:
        warnings.add(item.heading, f"{shown} has no {', '.join(missing)}")
    return values


def _labels_by_name(section: SectionRule, item: _Item, warnings: _Warnings) -> dict[str, _Label]:
    names = {name for name, _ in section.labels()}
    by_name: dict[str, _Label] = {}
    for label in item.labels:
        if label.name not in names:
            warnings.left_out(label.line, "unknown field")
        elif label.name in by_name:
            warnings.left_out(label.line, "repeated field")
        else:
            by_name[label.name] = label
    return by_name


def _read_field(
    section: SectionRule, rule: FieldRule, by_name: dict[str, _Label], heading: Line
) -> tuple[JsonValue, str | None, bool]:
    """Return (value, what is wrong, whether it was there): by its label, else the heading, else mentions."""
    for label in _find_all(rule.labels, by_name):
        if label.lines:
            return *read_value(rule, label.lines), True
    if rule.heading:
        name = split_choice(rule.choices, heading.text)[0] if rule.choices else item_name(section, heading.text)
        return name or None, None, bool(name)
    searched = _find_all(rule.mentioned_in, by_name)
    if searched:
        text = "\n".join(join_lines(label.lines) for label in searched)
        return find_mention(rule.mentions, text) or False, None, True
    return empty_value(rule), None, False


def _find_all(labels: Sequence[str], by_name: dict[str, _Label]) -> list[_Label]:
    return [by_name[name] for name in map(normalise_label, labels) if name in by_name]
