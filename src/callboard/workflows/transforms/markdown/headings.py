"""What a heading means to a Markdown schema: the start of a section, of an item, and the item's name.

Called by `markdown/items.py`. Models number headings, decorate them, change their levels, and write
them as bold lines or list items; none of that decides here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from callboard.workflows.transforms.markdown.labels import KnownLabels, find_label
from callboard.workflows.transforms.markdown.lines import Line
from callboard.workflows.transforms.markdown.schema import FieldRule, MarkdownSchema, SectionRule, normalise_label

_NUMBERING = re.compile(r"^\W*(?:\(?#?\d{1,3}[.):]\s+)?[^\w(\"'“]*")
_SEPARATORS = " \t:：-–—|·,;"
_BOLD_SECTION_LEVEL = 2
_BOLD_ITEM_LEVEL = 6  # below every real heading
_MAX_TITLE_CHARS = 100


def find_section(schema: MarkdownSchema, heading: str) -> SectionRule | None:
    """Return the one section that a heading opens. A title that names several opens none."""
    text = f" {_words(heading)} "
    found = [section for section in schema.sections if any(_opens(text, alias) for alias in section.headings)]
    if len(found) != 1 or find_section_of_item(schema, heading) is not None:
        return None
    return found[0]


def find_section_of_item(schema: MarkdownSchema, heading: str) -> SectionRule | None:
    """Return the section to which alone an item with such a heading belongs: "Primary Meeting Location: ..."."""
    text = strip_numbering(heading).casefold()
    for section in schema.sections:
        spellings = [
            spelling for rule in heading_choices(section) for all_ in rule.choices.values() for spelling in all_
        ]
        if any(text.startswith(spelling.casefold()) for spelling in spellings if " " in spelling):
            return section
    return None


def heading_choices(section: SectionRule) -> list[FieldRule]:
    """Return the fields of a section that a heading decides by one of a few words."""
    return [rule for rule in section.fields_.values() if rule.heading and rule.choices]


def strip_numbering(heading: str) -> str:
    """Return a heading without what stands before its words.

    >>> strip_numbering("2) 🏥 Harborview"), strip_numbering("#3. Fire Station 10"), strip_numbering("911 Dispatch")
    ('Harborview', 'Fire Station 10', '911 Dispatch')
    """
    return _NUMBERING.sub("", heading).strip()


def item_name(section: SectionRule, heading: str) -> str:
    """Return a heading without numbering, the words before a name, and the word that is its choice."""
    name = strip_numbering(heading).strip(_SEPARATORS)
    for rule in heading_choices(section):
        name = split_choice(rule.choices, name)[1]
    for prefix in sorted(section.heading_prefixes, key=len, reverse=True):
        found = re.match(rf"{re.escape(prefix)}\s*(?:#?\d+\s*)?(?:[:：–—|]|\s-\s|$)\s*", name, re.IGNORECASE)
        if found:
            name = name[found.end() :]
            break
    return strip_numbering(name).strip(_SEPARATORS)


def split_choice(choices: Mapping[str, Sequence[str]], heading: str) -> tuple[str | None, str]:
    """Return (choice, the rest) of a heading; (None, all of it) where it holds none of the choices.

    >>> split_choice({"primary": ["Primary Meeting Location"]}, "1. Primary Meeting Location: Cal Anderson Park")
    ('primary', 'Cal Anderson Park')
    >>> split_choice({"primary": ["Primary Meeting Location"]}, "Cal Anderson Park (Primary)")
    ('primary', 'Cal Anderson Park')
    """
    text = strip_numbering(heading)
    spellings = [(spelling, value) for value, all_ in choices.items() for spelling in (value, *all_)]
    for spelling, value in sorted(spellings, key=lambda pair: len(pair[0]), reverse=True):
        word = re.escape(spelling)
        start = re.match(rf"{word}\s*(?:#?\d+\s*)?(?:[:：–—|-]+\s*|(?=\()|$)", text, re.IGNORECASE)
        if start:
            rest = text[start.end() :].strip(_SEPARATORS)
            return value, rest[1:-1] if rest.startswith("(") and rest.endswith(")") else rest
        end = re.search(rf"(?:\(\s*{word}\s*\)|[–—|-]\s*{word})\s*$", text, re.IGNORECASE)
        if end:
            return value, text[: end.start()].strip(_SEPARATORS)
    return None, text.strip(_SEPARATORS)


def with_bold_headings(schema: MarkdownSchema, lines: Sequence[Line]) -> list[Line]:
    """Return `lines` with those made headings that do the work of one without a `#`.

    They are bold as a whole or underlined and stand above labels, or are the list item in which the
    labels are nested.
    """
    known = schema.labels
    result: list[Line] = []
    label_follows = False
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        before = lines[index - 1] if index else None
        after = lines[index + 1] if index + 1 < len(lines) else None
        if _is_label(line, known):
            label_follows = True
        elif line.level:
            label_follows = False
        elif _is_marked(line) and find_section(schema, line.text) is not None:
            label_follows = False
            line = replace(line, level=_BOLD_SECTION_LEVEL)
        elif not _stands_below_item(schema, before) and (
            (label_follows and _is_marked(line)) or _holds_labels(line, after, known)
        ):
            label_follows = False
            line = _as_item_heading(line)
        result.append(line)
    result.reverse()
    return result if any(line.level for line in result) else _with_plain_headings(schema, result)


def _with_plain_headings(schema: MarkdownSchema, lines: Sequence[Line]) -> list[Line]:
    """Return the lines of a text without any marks, those made headings that begin a paragraph and name something."""
    result: list[Line] = []
    for index, line in enumerate(lines):
        after = lines[index + 1] if index + 1 < len(lines) else None
        begins = not index or lines[index - 1].block != line.block
        level = 0
        if begins and _is_title(line, schema):
            level = _plain_level(line, after, schema)
        result.append(replace(line, level=level))
    return result


def _plain_level(line: Line, after: Line | None, schema: MarkdownSchema) -> int:
    if find_section(schema, line.text) is not None:
        return _BOLD_SECTION_LEVEL
    return _BOLD_ITEM_LEVEL if after is not None and _is_label(after, schema.labels) else 0


def _is_title(line: Line, schema: MarkdownSchema) -> bool:
    is_short = len(line.text) <= _MAX_TITLE_CHARS and not line.text.endswith((".", "!", "?", ",", ";", ":"))
    return is_short and not _is_label(line, schema.labels)


def _is_label(line: Line, known: KnownLabels) -> bool:
    found = find_label(line, known)
    return (found is not None and normalise_label(found[0]) in known) or normalise_label(line.text) in known


def _is_marked(line: Line) -> bool:
    return line.is_underlined or _is_bold_alone(line)


def _is_bold_alone(line: Line) -> bool:
    """Bold from the first word to the last; a number before it and a colon behind it do not count."""
    bold = [index for index, run in enumerate(line.runs) if run.bold]
    if not bold:
        return False
    before = "".join(run.text for run in line.runs[: bold[0]])
    behind = "".join(run.text for run in line.runs[bold[0] :] if not run.bold)
    return not before.strip(" \t(#.):0123456789") and not behind.strip(" \t:：.")


def _stands_below_item(schema: MarkdownSchema, before: Line | None) -> bool:
    """A bold line right below an item's own heading describes that item."""
    return before is not None and before.level > 0 and find_section(schema, before.text) is None


def _holds_labels(line: Line, after: Line | None, known: KnownLabels) -> bool:
    if after is None or after.depth <= line.depth or not _is_label(after, known) or line.text.endswith(":"):
        return False
    return line.depth > 0 or line.runs[0].bold


def _as_item_heading(line: Line) -> Line:
    bold = tuple(run for run in line.runs if run.bold and not line.is_underlined)
    return replace(line, level=_BOLD_ITEM_LEVEL, runs=bold or line.runs)


def _opens(text: str, alias: str) -> bool:
    wanted = _alias_words(alias)
    return f" {wanted} " in text if " " in wanted else text.strip() == wanted


@lru_cache(maxsize=1_024)
def _alias_words(alias: str) -> str:
    return _words(alias)


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", strip_numbering(text).casefold()))
