"""From the text behind a label to the value of a field: text, link, number, yes or no, list, choice.

Called by `markdown/fields.py`. Each reader returns the value and, where the text could not be read, why.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.markdown.lines import Line
from callboard.workflows.transforms.markdown.numbers import read_decimal, read_integer
from callboard.workflows.transforms.markdown.schema import FieldRule, normalise_label
from callboard.workflows.transforms.markdown.warnings import shorten

# What models write where there is nothing to write.
_NOTHING = re.compile(
    r"(n\s*/\s*a|n\.a\.|none|nil|null|unknown|tbd|[-–—]{1,9}|\?{1,3}|keine?( angaben?)?|unbekannt"
    r"|ning[uú]n[oa]?|desconocid[oa]"
    r"|not (publicly )?(available|applicable|provided|listed|known|specified)"
    r"|(none|no (website|phone|address|number)( \w+)?) (available|listed|provided|found)|no (website|phone|address))"
    r"[\s.!]{0,9}(\([^)]*\))?[\s.]{0,9}",
    re.IGNORECASE,
)
_NOTHING_CHARS = 200
_YES = re.compile(r"(yes|true|y|always|ja|s[ií]|oui|[✓✔✅☑])(?!\w)", re.IGNORECASE)
_NO = re.compile(r"(no|not|false|n|never|nein|nicht|nunca|non|[✗✘❌✖✕])(?!\w)", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(no|not|without|lacks?|lacking|never|none|unavailable|\w{1,30}n['’]t|kein\w{0,2}|ohne|nicht|sin)\b",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"[.;,\n]\s|\b(?:but|however|although|aber|pero)\b", re.IGNORECASE)
_URL = re.compile(
    r"(?:https?://|www\.)[^\s<>()\[\]\"']+|(?<![@\w.-])(?:[\w-]++\.)+[a-z]{2,6}+(?![\w-])(?:/[^\s<>()]*)?",
    re.IGNORECASE,
)
_URL_SEARCHED_CHARS = 2_000  # an address stands near the start
_LIST_SEPARATORS = ",;|•·"
_LIST_EDGES = " \t\"'`[]*_"
_LAST_AND = re.compile(r"^(?P<first>.+\S)\s+(?:and|und|y)\s+(?P<last>\S.*)$", re.IGNORECASE)
_LEADING_AND = re.compile(r"^(?:and|or|und|oder|y|o)\s+", re.IGNORECASE)
_MAX_WORDS_BESIDE_AND = 3
_MAX_CHARS_BESIDE_AND = 200

Reading = tuple[JsonValue, str | None]


def is_nothing(text: str) -> bool:
    """Return whether `text` only says that there is nothing to say.

    >>> is_nothing("N/A (no public website)"), is_nothing("Not listed."), is_nothing("None of us")
    (True, True, False)
    """
    bare = text.strip().strip("*_")
    return not bare or (len(bare) <= _NOTHING_CHARS and _NOTHING.fullmatch(bare) is not None)


def join_lines(lines: Sequence[Line], separator: str = " ") -> str:
    """Return the text of `lines` as one, list items set apart where nothing else ends them."""
    parts: list[str] = []
    last, previous = "", 0
    for line in lines:
        text = line.text
        if last and line.block != previous and line.depth and last[-1] not in ".!?;:":
            parts.append("; ")
        elif last:
            # the comma that ends a line of an address is the separator already
            parts.append(" " if separator.strip() and last.endswith(separator.strip()) else separator)
        parts.append(text)
        last, previous = text or last, line.block
    return "".join(parts).strip()


def read_value(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    """Return what `lines` mean as a field of this rule, and what is wrong with them (None: nothing)."""
    return _READERS[rule.type](rule, lines)


def empty_value(rule: FieldRule) -> JsonValue:
    """Return what stands for a field that the text does not have: a fresh list, where it is one."""
    if isinstance(rule.default, list):
        return list(rule.default)
    if rule.default is not None:
        found: JsonValue = rule.default
        return found
    return {"list": [], "boolean": False}.get(rule.type)


def find_mention(words: Sequence[str], text: str) -> bool | None:
    """Return whether `text` affirms one of `words`; None where it has none of them.

    >>> find_mention(["parking"], "No on-site parking, but street parking on 15th Ave")
    True
    >>> find_mention(["parking"], "There isn't any parking"), find_mention(["parking"], "Open lawn")
    (False, None)
    """
    found = None
    for clause in _CLAUSES.split(text):
        if _holds(clause, words):
            if _NEGATION.search(clause) is None:
                return True
            found = False
    return found


def match_choice(choices: Mapping[str, Sequence[str]], text: str) -> str | None:
    """Return the choice that `text` spells, or None."""
    wanted = normalise_label(text)
    for value, spellings in choices.items():
        if wanted in {normalise_label(spelling) for spelling in (value, *spellings)}:
            return value
    return None


def split_list(text: str) -> list[str]:
    """Return the items that a line names, the last two parted by "and". A comma inside parentheses parts nothing.

    >>> split_list("Quake (fires, gas), Flood"), split_list("earthquake and flood"), split_list("a, b, and c")
    (['Quake (fires, gas)', 'Flood'], ['earthquake', 'flood'], ['a', 'b', 'c'])
    >>> split_list("Families who live near the river and need a ride to the shelter")
    ['Families who live near the river and need a ride to the shelter']
    """
    parts = _split_at_signs(text)
    return [*parts[:-1], *_split_last_and(parts[-1])] if parts else []


def _read_text(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines, rule.line_separator)
    return (None if is_nothing(text) else text), None


def _read_url(_rule: FieldRule, lines: Sequence[Line]) -> Reading:
    runs = [run for line in lines for run in line.runs]
    linked = [run.href for run in runs if run.href and not run.href.startswith(("tel:", "mailto:"))]
    if linked:
        return linked[0], None
    text = join_lines(lines)
    if is_nothing(text):
        return None, None
    found = _URL.search(text[:_URL_SEARCHED_CHARS])
    if found is None:
        return None, f"{shorten(text)!r} is no web address"
    return found.group().rstrip(".,;:!"), None


def _read_integer(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines)
    return (None, None) if is_nothing(text) else read_integer(text, out_of=rule.out_of)


def _read_decimal(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines)
    return (None, None) if is_nothing(text) else read_decimal(text, out_of=rule.out_of)


def _read_boolean(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines).lstrip("*_ ")
    if _YES.match(text):
        return True, None
    if is_nothing(text):
        return bool(rule.default), None
    if _NO.match(text):
        return False, None
    mentioned = find_mention(rule.mentions, text)
    if mentioned is not None:
        return mentioned, None
    if _holds(text, rule.denials):
        return False, None
    if rule.any_text_means_yes:
        return _NEGATION.search(text) is None, None
    return False, f"{shorten(text)!r} says neither yes nor no"


def _read_list(_rule: FieldRule, lines: Sequence[Line]) -> Reading:
    split = _split_at_signs if _is_bulleted(lines) else split_list
    return [item for line in lines for item in split(line.text) if not is_nothing(item)], None


def _read_choice(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines)
    choice = match_choice(rule.choices, text)
    if choice is None and not is_nothing(text):
        return None, f"{shorten(text)!r} is none of: {', '.join(rule.choices)}"
    return choice, None


def _holds(text: str, words: Sequence[str]) -> bool:
    return any(re.search(rf"(?<![^\W\d]){re.escape(word)}(?!\w)", text, re.IGNORECASE) for word in words)


def _is_bulleted(lines: Sequence[Line]) -> bool:
    """Return whether each item has a line of its own: "Search and rescue" is one then."""
    return len({line.block for line in lines}) > 1


def _split_at_signs(text: str) -> list[str]:
    starts, depth = [0], 0
    for index, char in enumerate(text):
        depth = max(0, depth + (char == "(") - (char == ")"))
        if char in _LIST_SEPARATORS and not depth:
            starts.append(index + 1)
    parts = [_bare(text[start : end - 1]) for start, end in zip(starts, [*starts[1:], len(text) + 1], strict=True)]
    return [_LEADING_AND.sub("", part) if index else part for index, part in enumerate(filter(None, parts))]


def _split_last_and(text: str) -> list[str]:
    """Part "earthquake and flood"; a sentence with an "and" in it is one item."""
    found = _LAST_AND.match(text) if len(text) <= _MAX_CHARS_BESIDE_AND else None
    if found is None or any(len(side.split()) > _MAX_WORDS_BESIDE_AND for side in found.group("first", "last")):
        return [text]
    return [_bare(found["first"]), _bare(found["last"])]


def _bare(text: str) -> str:
    return text.strip(_LIST_EDGES).rstrip(".").strip(_LIST_EDGES)


_READERS: dict[str, Callable[[FieldRule, Sequence[Line]], Reading]] = {
    "text": _read_text,
    "url": _read_url,
    "integer": _read_integer,
    "decimal": _read_decimal,
    "boolean": _read_boolean,
    "list": _read_list,
    "choice": _read_choice,
}
