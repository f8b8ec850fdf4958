"""What a check found in a workflow file, and the wording every check shares.

Made by `definition.py`, `catalogue.py`, the compiler and the step kinds; carried by
`InvalidWorkflowError`, shown by the API's health and validation answers and by the CLI.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from itertools import islice

_ABOUT_KEYS = frozenset({"unknown_field", "duplicate_key", "bad_key"})
_PROMPT_FAULTS = frozenset({"invalid_prompt", "prompt_not_found", "prompt_outside_folder"})
MAX_NAMES_COMPARED = 1_000  # each costs some 5 us
MAX_NAMES_SHOWN = 12  # a longer list of what exists hides the message


class Severity(StrEnum):
    """An error keeps the workflow from running, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The line of source text around a place; `caret` counts characters of `text` up to the place, from 0."""

    text: str
    caret: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePlace:
    """A place in a file beside the definition, such as a line of a prompt. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    excerpt: Excerpt | None = field(default=None, compare=False)

    def describe(self) -> str:
        """Return the place as tools print it: file:line:column."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFinding:
    """One thing that is wrong in a workflow file.

    `pointer` is a JSON pointer into the definition ("" = the whole file). `line` and `column` count
    from 1; they are known for what was read from a file, and so is the `excerpt`. `offset` is where in the
    text at `pointer` the fault begins, in characters of the decoded text. `related` is the place in a
    prompt file that the finding is about.
    """

    pointer: str
    message: str
    code: str = "invalid"
    severity: Severity = Severity.ERROR
    file: str | None = None
    line: int | None = None
    column: int | None = None
    offset: int | None = field(default=None, compare=False)
    excerpt: Excerpt | None = field(default=None, compare=False)
    related: SourcePlace | None = None

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

    @property
    def is_about_key(self) -> bool:
        """True where the key itself is wrong, and not the value under it."""
        return self.code in _ABOUT_KEYS

    def in_file(self, file: str) -> "WorkflowFinding":
        """Return this finding as one of `file`, unless it already names a file of its own."""
        return self if self.file is not None else replace(self, file=file)

    def describe(self) -> str:
        """Return the finding as one line for people.

        >>> WorkflowFinding(pointer="/steps/0/id", message="The id is empty.", file="hello.json").describe()
        'hello.json /steps/0/id: The id is empty.'
        """
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}:{self.column}"
        where = " ".join(part for part in (place, self.pointer) if part)
        return f"{where}: {self.message}" if where else self.message


def without_repetition(findings: Iterable[WorkflowFinding]) -> list[WorkflowFinding]:
    """Return each finding once; a fault inside a prompt file once, however many steps use that file."""
    seen: dict[object, WorkflowFinding] = {}
    for finding in findings:
        is_of_prompt = finding.related is not None and finding.code in _PROMPT_FAULTS
        place = "" if is_of_prompt else finding.pointer
        seen.setdefault((place, finding.message, finding.offset, finding.related), finding)
    return list(seen.values())


def pointer_of(*parts: str | int, base: str = "") -> str:
    """Return the JSON pointer that leads through `parts`, below `base`.

    >>> pointer_of("steps", 0, "a/b")
    '/steps/0/a~1b'
    >>> pointer_of("id", base="/steps/0")
    '/steps/0/id'
    """
    return base + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def parts_of(pointer: str) -> tuple[str, ...]:
    """Return the parts of a JSON pointer.

    >>> parts_of("/steps/0/a~1b")
    ('steps', '0', 'a/b')
    """
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that was most likely meant by `name`, or None.

    >>> nearest_name("promt", ["prompt", "model"])
    'prompt'
    """
    by_folded = {candidate.casefold(): candidate for candidate in islice(known, MAX_NAMES_COMPARED)}
    matches = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[matches[0]] if matches else None


def suggest(name: str, known: Iterable[str], *, what: str = "There is") -> str:
    """Return a sentence (with a space before it) that helps whoever wrote the wrong `name`.

    >>> suggest("promt", ["prompt", "model"])
    ' Did you mean "prompt"?'
    >>> suggest("x", ["model", "prompt"], what="Known fields:")
    ' Known fields: model, prompt.'
    >>> suggest("x", [])
    ''
    """
    names = sorted(set(known))
    nearest = nearest_name(name, names)
    if nearest is not None:
        return f' Did you mean "{nearest}"?'
    if not names:
        return ""
    shown = ", ".join(names[:MAX_NAMES_SHOWN])
    more = f" and {len(names) - MAX_NAMES_SHOWN} more" if len(names) > MAX_NAMES_SHOWN else ""
    return f" {what} {shown}{more}."
