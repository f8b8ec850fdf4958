"""Reads the input that a command is given: a file, stdin or JSON. Called by `submit`, `demo`, `run`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError

STDIN = "-"
_BEGINS_JSON = ("{", "[", '"')


def read_input(path: str) -> Any:
    """Return the JSON in the file at `path`, or on stdin for `-`. Raises: CommandError."""
    name = "stdin" if path == STDIN else path
    return _parse(_read(path), name)


def read_input_or_json(text: str) -> Any:
    """Return what `text` stands for: JSON as it is, a file's name, `-` for stdin. Raises: CommandError."""
    if text.lstrip().startswith(_BEGINS_JSON):
        return _parse(text.encode(), "the value of --input")
    return read_input(text)


def read_input_lines(path: str) -> Iterator[tuple[int, Any]]:
    """Yield the JSON of each line that is not empty, with its number. Raises: CommandError, at the bad line."""
    name = "stdin" if path == STDIN else path
    for number, line in enumerate(_read(path).splitlines(), start=1):
        if line.strip():
            yield number, _parse(line, f"{name} line {number}")


def _read(path: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        name = "stdin" if path == STDIN else path
        raise _unreadable(f"{name}: {error.strerror or error}.") from error


def _parse(text: bytes, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"{name} is not JSON: {error}.") from error


def _unreadable(message: str) -> CommandError:
    return CommandError(message, exit_code=ExitCode.USAGE, title="The input cannot be read")
