"""From the text behind a label to the value of a field: text, link, number, yes or no, list, choice.

Called by `markdown/items.py`. Each reader returns the value and, where the text could not be read, why.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.markdown.lines import Line, Run
from callboard.workflows.transforms.markdown.schema import FieldRule, normalise_label

# What models write where there is nothing to write.
_NOTHING = re.compile(
    r"(n\s*/\s*a|n\.a\.|none|nil|unknown|tbd|[-–—]+"
    r"|not (publicly )?(available|applicable|provided|listed|known|specified)"
    r"|(none|no (website|phone|address|number)( \w+)?) (available|listed|provided|found)|no (website|phone|address))"
    r"[\s.!]*(\([^)]*\))?[\s.]*",
    re.IGNORECASE,
)
_YES = re.compile(r"(yes|true|y|always|[✓✔✅☑])(?!\w)", re.IGNORECASE)
_NO = re.compile(r"(no|not|false|n|never|[✗✘❌✖✕])(?!\w)", re.IGNORECASE)
_NEGATION = re.compile(r"\b(no|not|without|lacks?|lacking|never|none|unavailable|\w+n['’]t)\b", re.IGNORECASE)
_CLAUSES = re.compile(r"[.;,\n]\s|\bbut\b|\bhowever\b|\balthough\b", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d{1,9}(?:,\d{3})*(?:\.\d+)?")
_URL = re.compile(
    r"(?:https?://|www\.)[^\s<>()\[\]\"']+|(?<![@\w])[\w-]+(?:\.[\w-]+)*\.[a-z]{2,6}(?:/[^\s<>()]*)?", re.IGNORECASE
)
_URL_SEARCHED_CHARS = 2_000  # an address stands near the start; the search is quadratic in bad text
_LIST_SEPARATORS = ",;|•·"
_LIST_EDGES = " \t\"'`[]*_"

Reading = tuple[JsonValue, str | None]


def is_nothing(text: str) -> bool:
    """Return whether `text` only says that there is nothing to say.

    >>> is_nothing("N/A (no public website)"), is_nothing("Not listed."), is_nothing("None of us")
    (True, True, False)
    """
    return not text.strip() or _NOTHING.fullmatch(text.strip()) is not None


def join_lines(lines: Sequence[Line], separator: str = " ") -> str:
    """Return the text of `lines` as one, list items set apart where nothing else ends them."""
    text = ""
    previous = 0
    for line in lines:
        if not text:
            text = line.text
        elif line.block != previous and line.depth and text[-1] not in ".!?;:":
            text += "; " + line.text
        else:
            text += separator + line.text
        previous = line.block
    return text.strip()


def read_value(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    """Return what `lines` mean as a field of this rule, and what is wrong with them (None: nothing)."""
    return _READERS[rule.type](rule, lines)


def empty_value(rule: FieldRule) -> JsonValue:
    """Return what stands for a field that the text does not have."""
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
        if any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", clause, re.IGNORECASE) for word in words):
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


def _read_text(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines, rule.line_separator)
    return (None if is_nothing(text) else text), None


def _read_url(_rule: FieldRule, lines: Sequence[Line]) -> Reading:
    linked = [run.href for run in _runs_of(lines) if run.href and not run.href.startswith(("tel:", "mailto:"))]
    if linked:
        return linked[0], None
    text = join_lines(lines)
    if is_nothing(text):
        return None, None
    found = _URL.search(text[:_URL_SEARCHED_CHARS])
    if found is None:
        return None, f"{text!r} is no web address"
    return found.group().rstrip(".,;:!"), None


def _read_integer(_rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines)
    if is_nothing(text):
        return None, None
    found = _NUMBER.search(text)
    if found is None:
        return None, f"{text!r} is no number"
    return int(float(found.group().replace(",", "")) + 0.5), None


def _read_boolean(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines).lstrip("*_ ")
    if _YES.match(text):
        return True, None
    if is_nothing(text) or _NO.match(text):
        return False, None
    mentioned = find_mention(rule.mentions, text)
    if mentioned is not None:
        return mentioned, None
    if rule.any_text_means_yes:
        return _NEGATION.search(text) is None, None
    return False, f"{text!r} says neither yes nor no"


def _read_list(_rule: FieldRule, lines: Sequence[Line]) -> Reading:
    found = []
    for line in lines:
        for part in _split_list(line.text):
            item = part.strip(_LIST_EDGES).removeprefix("and ").strip(_LIST_EDGES).rstrip(".")
            if item and not is_nothing(item):
                found.append(item)
    return found, None


def _split_list(text: str) -> list[str]:
    """Return the items of `text`. A comma inside parentheses parts nothing: "Quake (fires, gas), Flood"."""
    parts, depth = [""], 0
    for char in text:
        depth = max(0, depth + (char == "(") - (char == ")"))
        if char in _LIST_SEPARATORS and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _read_choice(rule: FieldRule, lines: Sequence[Line]) -> Reading:
    text = join_lines(lines)
    choice = match_choice(rule.choices, text)
    if choice is None and not is_nothing(text):
        return None, f"{text!r} is none of: {', '.join(rule.choices)}"
    return choice, None


def _runs_of(lines: Sequence[Line]) -> list[Run]:
    return [run for line in lines for run in line.runs]


_READERS: dict[str, Callable[[FieldRule, Sequence[Line]], Reading]] = {
    "text": _read_text,
    "url": _read_url,
    "integer": _read_integer,
    "boolean": _read_boolean,
    "list": _read_list,
    "choice": _read_choice,
}
