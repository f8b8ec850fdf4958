"""Ini files as we read them: entries with their place, and `${NAME}` expanded from the environment.

`core/ini_settings.py` turns the entries into settings. The standard library's parser reads the form. `%` is
a plain character, a comment has a line of its own, a value may go on in lines that are indented.
"""

import re
from collections.abc import Iterator, Mapping
from configparser import (
    DuplicateOptionError,
    DuplicateSectionError,
    MissingSectionHeaderError,
    ParsingError,
    RawConfigParser,
)
from dataclasses import dataclass, field
from pathlib import Path

_REFERENCE = re.compile(r"\$(\$\{)|\$\{([^{}]*)\}|\$\{")
# existing files write ${NAME:default}, too: their default begins right after the colon
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-?(.*))?", re.DOTALL)


class IniFileError(ValueError):
    """A settings file cannot be used. The message has a line for each thing that is wrong, and shows no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IniEntry:
    """One `key = text` of a file, with nothing expanded yet. `line` counts from 1."""

    file: Path
    line: int
    section: str
    key: str
    text: str = field(repr=False)  # it may be a secret

    @property
    def place(self) -> str:
        return f"{self.file}, line {self.line}, [{self.section}] {self.key}"


def read_ini_file(path: Path) -> list[IniEntry]:
    """Return the entries of a file in their order; none when there is no such file.

    A pair of double quotes round a value is taken off, as in `.env`.
    Raises: IniFileError, when it cannot be read.
    """
    parser = _Parser()
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise IniFileError(f"{path}: cannot be read: {reason}.") from error
    try:
        parser.read_file(parser.counted(text.splitlines()))
    except (ParsingError, DuplicateOptionError, DuplicateSectionError) as error:
        raise IniFileError(_describe(path, error)) from None  # the parser's own text would show the line
    return [
        IniEntry(file=path, line=parser.line_of(key), section=section, key=str(key), text=_unquote(text))
        for section in parser.sections()
        for key, text in parser.items(section)
    ]


def expand(entry: IniEntry, environment: Mapping[str, str]) -> str:
    """Return the entry's text with each `${NAME}` and `${NAME:-default}` replaced by that variable.

    The default is for a variable that is not set or empty. `$${` stands for `${`. What a variable holds is not
    looked at again. Raises: IniFileError, for a variable that is not set and has no default.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1]:
            return "${"
        inside = _INSIDE.fullmatch(found[2] or "")
        if inside is None:
            raise IniFileError(
                f"{entry.place}: after ${{ comes the name of an environment variable (letters, digits, _), perhaps "
                "a default after : or :-, then }; none of them holds a brace. Write $${ for the characters themselves."
            )
        name, default = inside.groups()
        value = environment.get(name)
        if value is None and default is None:
            raise IniFileError(
                f"{entry.place}: the environment variable {name} is not set. "
                f"Set it, or write ${{{name}:-}} with what is to hold without it after the minus."
            )
        return value or default or ""

    return _REFERENCE.sub(replace, entry.text)


class _Key(str):
    """The name of an option, with the line that it stands in."""

    __slots__ = ("line",)

    line: int


class _Parser(RawConfigParser):
    """The standard parser, which also notes lines. [DEFAULT] is a section like any other."""

    def __init__(self) -> None:
        super().__init__(default_section="")
        self._line = 0

    def counted(self, lines: list[str]) -> Iterator[str]:
        for self._line, line in enumerate(lines, start=1):
            yield line

    def optionxform(self, optionstr: str) -> str:
        """Keep the name as it is written. The parser calls this as soon as it has read the line."""
        key = _Key(optionstr)
        key.line = self._line
        return key

    @staticmethod
    def line_of(key: str) -> int:
        return key.line if isinstance(key, _Key) else 0


def _unquote(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _describe(path: Path, error: ParsingError | DuplicateOptionError | DuplicateSectionError) -> str:
    match error:
        case DuplicateOptionError():
            return f"{path}, line {error.lineno}: [{error.section}] has {error.option} already."
        case DuplicateSectionError():
            return f"{path}, line {error.lineno}: there is a section [{error.section}] already; put both together."
        case MissingSectionHeaderError():
            return f"{path}, line {error.lineno}: a [section] comes first; any name will do, as in [callboard]."
    lines = [number for number, _ in error.errors]
    return "\n".join(f"{path}, line {number}: is neither [section] nor `name = value`." for number in lines)
