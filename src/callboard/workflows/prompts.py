"""Prompts: Markdown files with includes and variables, read once at load, rendered for each call.

Called by the catalogue (`FolderPrompts`, which files a bundle must hold), by the compiler
(`load_prompt`, `Prompt.check`) and by the llm step (`Prompt.render`). A worker reads prompts from its
bundle only.
"""

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import (
    InvalidPromptError,
    InvalidReferenceError,
    PromptError,
    UnresolvedReferenceError,
)
from callboard.workflows.findings import Severity, SourcePlace, WorkflowFinding, suggest
from callboard.workflows.reference_syntax import Key
from callboard.workflows.references import (
    LOOP_NAMES,
    SCOPE_ROOTS,
    SECRETS_ROOT,
    Reference,
    Scope,
    as_text,
    explain_unknown_name,
    read_reference,
)
from callboard.workflows.source_positions import Lines

MAX_INCLUDE_DEPTH = 10
MAX_FILE_BYTES = 1_000_000
MAX_PROMPT_CHARS = 2_000_000  # with all includes; ten levels of ten includes each would be far beyond
MAX_INCLUDES = 1_000
MAX_FAULTS = 100  # of one prompt that are told

_MARK = re.compile(r"\{\{\s*include:(?P<include>[^{}]*)\}\}|\{\{\s*(?P<word>[\w-]+(?:\.[\w-]+)*)\s*\}\}|\$\{")


class PromptSource(Protocol):
    """Where prompt files come from. Paths are relative, with `/`."""

    def read(self, path: str) -> str:
        """Return the text of the file. Raises: InvalidPromptError, with the nearest names that exist."""
        ...


@dataclass(frozen=True, slots=True)
class FolderPrompts:
    """The prompts of a folder, which nothing leaves: not by `..`, not by a symbolic link."""

    root: Path

    def read(self, path: str) -> str:
        checked = _inside(path)
        root = self.root.resolve()
        try:
            file = (root / checked).resolve()
            if not file.is_relative_to(root):
                raise _leaves(path)
            if not file.is_file():
                raise _unknown(checked, self.paths())
            if file.stat().st_size > MAX_FILE_BYTES:
                raise InvalidPromptError(
                    f'The prompt file "{checked}" is larger than {MAX_FILE_BYTES:,} bytes.', file=checked
                )
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            message = f'The prompt file "{checked}" is not UTF-8 (byte {error.start}).'
            raise InvalidPromptError(message, file=checked) from error
        except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
            raise InvalidPromptError(f'The prompt file "{checked}" cannot be read: {error}.', file=checked) from error

    def paths(self) -> list[str]:
        """Return the paths of all Markdown files in the folder."""
        return sorted(file.relative_to(self.root).as_posix() for file in self.root.rglob("*.md"))


@dataclass(frozen=True, slots=True)
class BundlePrompts:
    """The prompts of a bundle: text by path."""

    files: Mapping[str, str]

    def read(self, path: str) -> str:
        checked = _inside(path)
        if checked not in self.files:
            raise _unknown(checked, self.files)
        return self.files[checked]


@dataclass(frozen=True, slots=True)
class PromptProblem:
    """What `Prompt.check` found; `file` is the prompt file ("" for a prompt that stands in the definition).

    `place` is where in the prompt file; `offset` counts characters of a prompt that stands in the definition.
    """

    severity: Severity
    message: str
    code: str
    file: str
    place: SourcePlace | None = None
    offset: int | None = None

    def as_finding(self, pointer: str) -> WorkflowFinding:
        """Return it as a finding about the prompt that `pointer` names or holds."""
        return WorkflowFinding(
            pointer=pointer,
            message=self.message,
            code=self.code,
            severity=self.severity,
            offset=self.offset,
            related=self.place,
        )


@dataclass(frozen=True, slots=True)
class _Word:
    """A `{{word}}`: a variable where there is one of that name, and otherwise text."""

    text: str
    reference: Reference
    file: str

    @property
    def is_of_scope(self) -> bool:
        return self.reference.root in SCOPE_ROOTS and bool(self.reference.keys)


@dataclass(frozen=True, slots=True)
class _Placeholder:
    """A `${path}` of a prompt file."""

    reference: Reference
    file: str

    @property
    def is_of_scope(self) -> bool:
        return self.reference.root in SCOPE_ROOTS


_Part: TypeAlias = str | _Word | _Placeholder


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with its includes in place. `files` = every file it was made of, text by path."""

    path: str
    files: Mapping[str, str]
    _parts: tuple[_Part, ...]

    @property
    def references(self) -> tuple[Reference, ...]:
        """Every `${...}`, those of the step's variables too."""
        return tuple(part.reference for part in self._parts if isinstance(part, _Placeholder))

    @property
    def words(self) -> tuple[str, ...]:
        """The names in `{{name}}`, in order, each once."""
        return tuple(dict.fromkeys(part.reference.text for part in self._parts if isinstance(part, _Word)))

    def render(self, variables: Mapping[str, JsonValue], scope: Scope) -> str:
        """Return the prompt's text with the step's `variables`, and the scope, put in.

        What was put in is never looked at again. A `{{word}}` that nothing defines stays as it is.

        Raises: PromptError, naming the file and the nearest name, for a `${...}` that leads to nothing.
        """
        inner = scope.with_locals(**variables)
        return "".join([part if isinstance(part, str) else _fill(part, inner) for part in self._parts])

    def check(self, variables: Collection[str], *, local_names: Collection[str] = ()) -> list[PromptProblem]:
        """Return what is wrong when only `variables`, and the loop's `local_names`, are defined.

        An undefined `${name}` is an error, an undefined `{{word}}` a warning.
        """
        known = {*variables, *local_names, *SCOPE_ROOTS}
        problems: dict[tuple[str, str], PromptProblem] = {}
        for part in self._parts:
            if isinstance(part, str) or part.reference.root in known or len(problems) >= MAX_FAULTS:
                continue
            problem = _undefined_word(part, known) if isinstance(part, _Word) else _undefined_name(part, known)
            if (problem.file, problem.message) not in problems:
                place = self.place_in(part.file, part.reference)
                offset = None if part.file else part.reference.position
                problems[problem.file, problem.message] = replace(problem, place=place, offset=offset)
        return list(problems.values())

    def uses_of_scope(self, variables: Collection[str]) -> Iterator[tuple[str, Reference]]:
        """Yield each path of the run that it reads, with the prompt file it stands in; `variables` hide the run's."""
        for part in self._parts:
            if not isinstance(part, str) and part.is_of_scope and part.reference.root not in variables:
                yield part.file, part.reference

    def place_in(self, file: str, reference: Reference) -> SourcePlace | None:
        """Return where in the prompt `file` a reference stands; None for a prompt that is text of the definition."""
        return _place_in(self.files[file], file, reference.position) if file else None


def findings_of_prompt(error: InvalidPromptError, pointer: str) -> list[WorkflowFinding]:
    """Return everything that is wrong with the prompt that `pointer` names or holds."""
    return [
        WorkflowFinding(
            pointer=pointer,
            message=fault.message,
            code=fault.code,
            offset=fault.position if fault.place is None and not fault.file else None,
            related=fault.place,
        )
        for fault in error.faults
    ]


def load_prompt(source: PromptSource, path: str) -> Prompt:
    """Return the prompt of the file `path`, with its includes.

    Raises: InvalidPromptError, for a file that is missing, leaves the folder, includes itself (with the
    whole chain), lies deeper than `MAX_INCLUDE_DEPTH`, or holds a `${...}` that cannot be read.
    """
    checked = _inside(path)
    loader = _Loader(source)
    with suppress(_EnoughFaultsError):
        loader.add_file(checked, ())
    loader.raise_faults()
    return Prompt(checked, loader.files, tuple(loader.parts))


def compile_prompt(text: str, source: PromptSource, *, where: str = "") -> Prompt:
    """Return the prompt of a `text` that stands in the definition; its includes start at the prompts folder.

    >>> prompt = compile_prompt("Be {{tone}}: ${mail}, {{other}}", BundlePrompts({}))
    >>> prompt.render({"tone": "kind", "mail": "{{tone}}"}, Scope())
    'Be kind: {{tone}}, {{other}}'

    Raises: InvalidPromptError.
    """
    loader = _Loader(source)
    with suppress(_EnoughFaultsError):
        loader.add_text(text, "", (), where)
    loader.raise_faults()
    return Prompt("", loader.files, tuple(loader.parts))


class _TooLargeError(InvalidPromptError):
    """The prompt is too large to go on."""


class _EnoughFaultsError(Exception):
    """So many faults are noted that more help nobody."""


class _Loader:
    """Puts includes in place, depth first, and goes on past what cannot be read, so that all of it is told."""

    def __init__(self, source: PromptSource) -> None:
        self.files: dict[str, str] = {}
        self.parts: list[_Part] = []
        self._faults: list[InvalidPromptError] = []
        self._source = source
        self._chars = 0
        self._includes = 0

    def raise_faults(self) -> None:
        """Raise the first of what could not be read; it carries the others."""
        if self._faults:
            first = self._faults[0]
            first.faults = tuple({(fault.message, fault.place): fault for fault in self._faults}.values())
            raise first

    def add_file(self, path: str, chain: tuple[str, ...]) -> None:
        if path in chain:
            shown = " -> ".join((*chain[chain.index(path) :], path))
            raise InvalidPromptError(f"Prompt files include each other in a circle: {shown}.", file=chain[-1])
        if len(chain) > MAX_INCLUDE_DEPTH:
            shown = " -> ".join((*chain, path))
            message = f"Prompt files include each other more than {MAX_INCLUDE_DEPTH} deep: {shown}."
            raise InvalidPromptError(message, file=chain[-1])
        if path not in self.files:
            self.files[path] = self._read(path, chain)
        self.add_text(self.files[path], path, (*chain, path), f"prompt {path}")

    def add_text(self, text: str, path: str, chain: tuple[str, ...], where: str) -> None:
        self._count(len(text), path)
        done = 0
        while (match := _MARK.search(text, done)) is not None:
            self._add(text[done : match.start()])
            if match["include"] is not None:
                self._include(match["include"].strip(), match.start(), path, chain)
                done = match.end()
            elif match["word"] is not None:
                self.parts.append(_word(match, path, where))
                done = match.end()
            else:
                done = self._add_reference(text, match.start(), path, where)
        self._add(text[done:])

    def _include(self, target: str, position: int, path: str, chain: tuple[str, ...]) -> None:
        self._includes += 1
        joined = posixpath.join(posixpath.dirname(path), target) if not target.startswith("/") else target
        try:
            self.add_file(_inside(joined), chain)
        except _TooLargeError:
            raise
        except InvalidPromptError as error:
            message = error.message
            if error.file is None:
                message = f"{_named(path)}: {{{{include:{target}}}}}: {error.message}"
            self._note(message, path, position, code=error.code)

    def _note(self, message: str, path: str, position: int, *, code: str | None = None) -> None:
        place = _place_in(self.files[path], path, position) if path else None
        self._faults.append(InvalidPromptError(message, file=path, position=position, code=code, place=place))
        if len(self._faults) >= MAX_FAULTS:
            raise _EnoughFaultsError

    def _read(self, path: str, chain: tuple[str, ...]) -> str:
        try:
            return self._source.read(path)
        except InvalidPromptError as error:
            if not chain:
                raise
            message = f"{error.message.rstrip('.')}, included by {chain[-1]}."
            raise InvalidPromptError(message, file=chain[-1], code=error.code) from error

    def _add_reference(self, text: str, start: int, path: str, where: str) -> int:
        try:
            part, end = read_reference(text, start, where=where)
        except InvalidReferenceError as error:
            line = text.count("\n", 0, start) + 1
            message = f"{error.message.rstrip('.')} (line {line})."
            self._note(message, path, start if error.position is None else error.position)
            return start + 2
        self.parts.append(_Placeholder(part, path) if isinstance(part, Reference) else part)
        return end

    def _add(self, text: str) -> None:
        if text:
            self.parts.append(text)

    def _count(self, chars: int, path: str) -> None:
        self._chars += chars
        if self._chars > MAX_PROMPT_CHARS or self._includes > MAX_INCLUDES:
            message = f"With its includes the prompt is over {MAX_PROMPT_CHARS:,} characters or {MAX_INCLUDES:,} files."
            raise _TooLargeError(message, file=path)


def _word(match: re.Match[str], path: str, where: str) -> _Word:
    name = match["word"]
    root, *keys = name.split(".")
    steps: tuple[Key, ...] = tuple(keys)
    return _Word(match.group(), Reference(name, root, steps, where=where, position=match.start()), path)


def _place_in(text: str, path: str, position: int) -> SourcePlace:
    lines = Lines(text)
    spot = lines.spot_at(position)
    return SourcePlace(file=path, line=spot.line, column=spot.column, excerpt=lines.excerpt_at(spot))


def _fill(part: _Word | _Placeholder, scope: Scope) -> str:
    if isinstance(part, _Word) and not _is_defined(part.reference, scope):
        return part.text
    try:
        return as_text(part.reference.resolve(scope))
    except UnresolvedReferenceError as error:
        raise PromptError(error.message) from error


def _is_defined(reference: Reference, scope: Scope) -> bool:
    return reference.root in scope.locals or (reference.root in SCOPE_ROOTS and bool(reference.keys))


def _undefined_word(part: _Word, known: Iterable[str]) -> PromptProblem:
    hint = suggest(part.reference.root, known, what="Defined here:")
    message = f"{_named(part.file)}: nothing defines {part.text}, so it stays as it is.{hint}"
    return PromptProblem(Severity.WARNING, message, "undefined_word", part.file)


def _undefined_name(part: _Placeholder, known: Iterable[str]) -> PromptProblem:
    root = part.reference.root
    hint = suggest(root, known, what="Defined here:")
    message, code = f"{_named(part.file)}: nothing defines ${{{part.reference.text}}}.{hint}", "undefined_variable"
    if root == SECRETS_ROOT or root in LOOP_NAMES:
        reason = explain_unknown_name(root, ())
        message = f"{_named(part.file)}: ${{{part.reference.text}}}: {reason}"
        code = "secret_not_allowed" if root == SECRETS_ROOT else code
    return PromptProblem(Severity.ERROR, message, code, part.file)


def _inside(path: str) -> str:
    """Return `path` in its plain form. Raises: InvalidPromptError, when it leaves the folder."""
    if not path or "\x00" in path or "\\" in path:
        raise InvalidPromptError(f"{path[:100]!r} is no path of a prompt file.")
    plain = posixpath.normpath(path)
    if plain.startswith(("/", "../")) or plain in {"..", "."}:
        raise _leaves(path)
    return plain


def _leaves(path: str) -> InvalidPromptError:
    return InvalidPromptError(f'"{path[:100]}" leaves the prompts folder.', code="prompt_outside_folder")


def _unknown(path: str, known: Iterable[str]) -> InvalidPromptError:
    names = frozenset(known)
    if f"{path}.md" in names:
        hint = f' Did you mean "{path}.md"?'
    else:
        hint = suggest(path, names, what="There are:") or " The prompts folder is empty."
    return InvalidPromptError(f'There is no prompt file "{path[:100]}".{hint}', code="prompt_not_found")


def _named(path: str) -> str:
    return f"prompt {path}" if path else "the prompt text"
