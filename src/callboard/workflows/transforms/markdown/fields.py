"""The items of a Markdown schema, and the fields of each out of its labels, its heading and its mentions.

`markdown/items.py` finds the items and calls `read_item` for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.markdown.headings import item_name, split_choice
from callboard.workflows.transforms.markdown.lines import Line
from callboard.workflows.transforms.markdown.schema import FieldRule, SectionRule, normalise_label
from callboard.workflows.transforms.markdown.values import (
    Reading,
    empty_value,
    find_mention,
    join_lines,
    read_value,
)
from callboard.workflows.transforms.markdown.warnings import Warnings

_OF_ONE_LINE = frozenset({"url", "integer", "decimal", "boolean", "choice"})


@dataclass(slots=True)
class Label:
    """A label that was met, with the lines of its value. `name` is its normal form."""

    name: str
    line: Line
    is_known: bool
    lines: list[Line] = field(default_factory=list)
    opened_empty: bool = False


@dataclass(slots=True)
class Item:
    """A heading with the labels below it. Without a section the labels decide which one it belongs to.

    `missing`: the fields that its text did not have, once it was read.
    """

    heading: Line
    section: SectionRule | None
    labels: list[Label] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not any(label.is_known for label in self.labels)


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found of one field. `problem`: why it could not be read, or what is doubtful about it."""

    value: JsonValue
    is_there: bool = True
    problem: str | None = None
    number: int = 0  # the line of its label


def read_item(section: SectionRule, item: Item, warnings: Warnings, faults: list[str]) -> dict[str, JsonValue]:
    """Return the fields of one item; `faults` gets what is required and not there."""
    by_name = _labels_by_name(section, item, warnings)
    values: dict[str, JsonValue] = {}
    for name, rule in section.fields_.items():
        found = _read_field(section, name, rule, by_name, item.heading, warnings)
        values[name] = found.value
        if found.problem is not None:
            warnings.add(found.number, f"{describe(section, item)}: {name}: {found.problem}")
        if rule.required and (not found.is_there or found.value is None):
            faults.append(f"line {item.heading.number}: {describe(section, item)} has no {name}")
        elif not found.is_there and not rule.optional:
            item.missing.append(name)
    for label in by_name.values():
        if section.labels[label.name] is None:
            _leave_out_without_mention(section, label, warnings)
    if item.missing:
        missing = ", ".join(item.missing)
        warnings.add(item.heading.number, f"{describe(section, item)} has no {missing}")
    return values


def describe(section: SectionRule, item: Item) -> str:
    """Return what an item is called in warnings."""
    return f"{section.item} {(item_name(section, item.heading.text) or item.heading.text)!r}"


def leave_out(label: Label, what: str, warnings: Warnings) -> None:
    """Warn that a label and all lines of its value are not in the result."""
    warnings.left_out(label.line.number, what, label.line.text)
    for line in label.lines:
        if line.number != label.line.number:
            warnings.left_out(line.number, what, line.text)


def _labels_by_name(section: SectionRule, item: Item, warnings: Warnings) -> dict[str, Label]:
    by_name: dict[str, Label] = {}
    for label in item.labels:
        before = by_name.get(label.name)
        if label.name not in section.labels:
            leave_out(label, "unknown field", warnings)
        elif before is not None and before.lines:
            leave_out(label, "repeated field", warnings)
        else:
            by_name[label.name] = label
    return by_name


def _read_field(
    section: SectionRule,
    name: str,
    rule: FieldRule,
    by_name: Mapping[str, Label],
    heading: Line,
    warnings: Warnings,
) -> _Found:
    """Find a field by its label, else in the heading, else by mentions."""
    filled = [label for label in _find_all(rule.label_names, by_name) if label.lines]
    for label in filled[1:]:
        leave_out(label, f"second value of {name}", warnings)
    if filled:
        _check_heading(section, rule, filled[0], heading, warnings)
        return _read_label(name, rule, filled[0], warnings)
    if rule.heading:
        said = split_choice(rule.choices, heading.text)[0] if rule.choices else item_name(section, heading.text)
        return _Found(said or empty_value(rule), is_there=bool(said))
    searched = _find_all(rule.searched_names, by_name)
    if searched:
        mentioned = find_mention(rule.mentions, "\n".join(join_lines(label.lines) for label in searched))
        return _Found(empty_value(rule) if mentioned is None else mentioned)
    return _Found(empty_value(rule), is_there=False)


def _read_label(name: str, rule: FieldRule, label: Label, warnings: Warnings) -> _Found:
    (value, problem), used = _read_lines(rule, label.lines)
    for line in label.lines:
        if line not in used:
            warnings.left_out(line.number, f"text behind {name}", line.text)
    return _Found(empty_value(rule) if value in (None, []) else value, problem=problem, number=used[0].number)


def _read_lines(rule: FieldRule, lines: Sequence[Line]) -> tuple[Reading, Sequence[Line]]:
    """Return the value and the lines that it comes from: one line says a number, all of them a text."""
    found = read_value(rule, lines)
    if rule.type not in _OF_ONE_LINE or len(lines) == 1:
        return found, lines
    for line in lines:
        alone = read_value(rule, [line])
        if alone[1] is None and alone[0] is not None:
            return alone, [line]
    return found, lines[:1] if found[1] is not None else lines


def _leave_out_without_mention(section: SectionRule, label: Label, warnings: Warnings) -> None:
    """Warn of the lines below a label that is only searched for mentions, where they have none."""
    words = [word for rule in section.fields_.values() for word in rule.mentions]
    for line in label.lines:
        if line.number != label.line.number and find_mention(words, line.text) is None:
            warnings.left_out(line.number, f"text behind {label.line.text.split(':')[0]}", line.text)


def _check_heading(section: SectionRule, rule: FieldRule, label: Label, heading: Line, warnings: Warnings) -> None:
    """A name that stands in a label wins over another one in the heading, which must not go unseen."""
    if not rule.heading or rule.choices:
        return
    in_heading = item_name(section, heading.text)
    if in_heading and normalise_label(in_heading) != normalise_label(join_lines(label.lines)):
        warnings.left_out(heading.number, "heading, as the name stands below it,", heading.text)


def _find_all(names: Sequence[str], by_name: Mapping[str, Label]) -> list[Label]:
    return [by_name[name] for name in names if name in by_name]
