"""JSON as people write it into files: read with all that is wrong with it, each at its line and column.

Called by `files.py` for workflow files and for the Markdown schemas that they name. Which files of a folder are
read at all is said here, too.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from callboard.core.json_values import JsonValue, locate_unstorable
from callboard.workflows.findings import WorkflowFinding, pointer_of
from callboard.workflows.json_faults import find_json_faults
from callboard.workflows.source_positions import Lines, SourceText

FileStamp: TypeAlias = tuple[int, int, int]  # mtime_ns, size, inode

MAX_FILE_BYTES = 5_000_000
TEST_SUFFIX = ".test.json"
SIDE_SUFFIXES = (TEST_SUFFIX, ".replay.json")  # recorded tests and their answers stand beside workflows

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A JSON text. `value` is None, with errors among the `findings`, where it cannot be used."""

    value: JsonValue
    findings: tuple[WorkflowFinding, ...]
    source: SourceText | None = None

    @property
    def is_usable(self) -> bool:
        return self.source is not None

    def place(self, findings: Iterable[WorkflowFinding]) -> list[WorkflowFinding]:
        """Return `findings` about the value with line, column and excerpt, in the order of the text."""
        source = self.source
        if source is None:
            return list(findings)
        return sorted(
            (_placed(finding, source) for finding in findings), key=lambda each: (each.line or 0, each.column or 0)
        )


def read_json_file(path: Path, what: str) -> JsonFile:
    """Return what the file `path` holds; `what` is its kind, for messages."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return _refused(f"The {what} is larger than {MAX_FILE_BYTES:,} bytes.")
        return read_json_bytes(path.read_bytes(), what)
    except OSError as error:
        return _refused(f"The {what} cannot be read: {error.strerror or error}.")


def read_json_bytes(data: bytes, what: str) -> JsonFile:
    """Return what `data` holds; `what` is its kind, for messages."""
    if len(data) > MAX_FILE_BYTES:
        return _refused(f"The {what} is larger than {MAX_FILE_BYTES:,} bytes.")
    if data.startswith(_UTF16_MARKS):
        message = f"The {what} is UTF-16. Save it as UTF-8."
        return JsonFile(None, (WorkflowFinding(pointer="", message=message, code="not_json", line=1, column=1),))
    body = data.removeprefix(_UTF8_MARK)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        return _not_utf8(body, error, what)
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return JsonFile(None, tuple(_faults_of(text, error)))
    unstorable = locate_unstorable(value)
    if unstorable is not None:
        pointer, reason = unstorable
        refused = WorkflowFinding(pointer=pointer, message=f"This cannot be stored: {reason}.", code="unreadable")
        is_deep = reason.startswith("nested")
        source = SourceText(text)
        return JsonFile(None, (refused if is_deep else _placed(refused, source),))
    source = SourceText(text)
    return JsonFile(value, tuple(_silent_faults(source)), source)


def json_files_in(folder: Path) -> Iterator[Path]:
    """Yield the JSON files of `folder` itself, but no recorded tests and answers; none, when there is no folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_definition = entry.name.endswith(".json") and not entry.name.endswith(SIDE_SUFFIXES)
                if is_definition and not entry.name.startswith(".") and entry.is_file():
                    yield Path(entry.path)
    except OSError:  # the folder or a file went away while we looked: the next look sees what is left
        return


def stamped_files_in(folder: Path) -> Iterator[tuple[Path, FileStamp]]:
    """Yield the files of `json_files_in`, each with what changes when it does."""
    for path in json_files_in(folder):
        try:
            yield path, stamp_of(path.stat())
        except OSError:  # gone since it was listed
            continue


def stamp_of(status: os.stat_result) -> FileStamp:
    """Return what changes when a file does."""
    return status.st_mtime_ns, status.st_size, status.st_ino


def objects_in(value: JsonValue) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """Yield every object in `value` with its pointer, in the order of the text."""
    stack: list[tuple[str, JsonValue]] = [("", value)]
    while stack:
        pointer, item = stack.pop()
        if isinstance(item, dict):
            yield pointer, item
            stack.extend((pointer_of(key, base=pointer), child) for key, child in reversed(item.items()))
        elif isinstance(item, list):
            stack.extend((pointer_of(index, base=pointer), child) for index, child in reversed(list(enumerate(item))))


def _refused(message: str) -> JsonFile:
    return JsonFile(None, (WorkflowFinding(pointer="", message=message, code="unreadable"),))


def _not_utf8(body: bytes, error: UnicodeDecodeError, what: str) -> JsonFile:
    """Tell where the first byte stands that is no UTF-8, with what can be read of its line."""
    readable = body[: error.start].decode()
    spot = Lines(readable + "?").spot_at(len(readable))
    byte = body[error.start]
    message = f"The {what} is not UTF-8: byte 0x{byte:02x} is no character there. Save it as UTF-8."
    finding = WorkflowFinding(pointer="", message=message, code="not_json", line=spot.line, column=spot.column)
    return JsonFile(None, (finding,))


def _faults_of(text: str, error: orjson.JSONDecodeError) -> Iterable[WorkflowFinding]:
    lines = Lines(text)
    reason = error.msg.partition(": line ")[0]
    for fault in find_json_faults(text, reason=reason, position=error.pos):
        spot = lines.spot_at(fault.position)
        yield WorkflowFinding(
            pointer="",
            message=fault.message,
            code="not_json",
            line=spot.line,
            column=spot.column,
            excerpt=lines.excerpt_at(spot),
        )


def _silent_faults(source: SourceText) -> Iterable[WorkflowFinding]:
    """Yield what the parser takes without a word, and means something else than it says."""
    for repeated in source.repeated_keys:
        spot, first = source.lines.spot_at(repeated.position), source.lines.spot_at(repeated.first_position)
        key = repeated.pointer.rpartition("/")[2]
        yield WorkflowFinding(
            pointer=repeated.pointer,
            message=f'The key "{key}" is twice in this object, first on line {first.line}. Keep one of them.',
            code="duplicate_key",
            line=spot.line,
            column=spot.column,
            excerpt=source.lines.excerpt_at(spot),
        )
    for pointer in source.big_integers:
        message = "This whole number does not fit into 64 bit and would lose digits. Write it as text."
        yield _placed(WorkflowFinding(pointer=pointer, message=message, code="number_too_large"), source)


def _placed(finding: WorkflowFinding, source: SourceText) -> WorkflowFinding:
    if finding.line is not None:
        return finding
    spot = source.locate(finding.pointer, at_key=finding.is_about_key, offset=finding.offset)
    return replace(finding, line=spot.line, column=spot.column, excerpt=source.lines.excerpt_at(spot))
