"""What a check found in a workflow file, and the wording every check shares.

Made by `definition.py`, `catalogue.py`, the compiler and the step kinds; carried by
`InvalidWorkflowError`, shown by the API's health and validation answers and by the CLI.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum

MAX_NAMES_SHOWN = 12  # a longer list of what exists hides the message


class Severity(StrEnum):
    """An error keeps the workflow from running, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFinding:
    """One thing that is wrong in a workflow file.

    `pointer` is a JSON pointer into the definition ("" = the whole file). `line` and `column` count
    from 1 and are known for text that is no JSON at all.
    """

    pointer: str
    message: str
    code: str = "invalid"
    severity: Severity = Severity.ERROR
    file: str | None = None
    line: int | None = None
    column: int | None = None

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR

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


def pointer_of(*parts: str | int, base: str = "") -> str:
    """Return the JSON pointer that leads through `parts`, below `base`.

    >>> pointer_of("steps", 0, "a/b")
    '/steps/0/a~1b'
    >>> pointer_of("id", base="/steps/0")
    '/steps/0/id'
    """
    return base + "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that was most likely meant by `name`, or None.

    >>> nearest_name("promt", ["prompt", "model"])
    'prompt'
    """
    by_folded = {candidate.casefold(): candidate for candidate in known}
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
