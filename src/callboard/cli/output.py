"""Where a command's words go: stdout for what was asked for, stderr for errors, JSON when a program reads.

Made by every command from its `--json` option. Colours and anything that moves appear only on a terminal;
rich itself obeys NO_COLOR.
"""

import json
import sys
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console

PIPE_WIDTH = 120  # columns when no terminal says how wide it is


@dataclass(frozen=True, slots=True)
class Output:
    """The two streams of a command. `is_json`: stdout carries JSON only, so people's words are left out.

    `is_stream`: the command shows something as it happens, so every JSON document is one line.
    """

    is_json: bool
    console: Console
    errors: Console
    is_stream: bool = False

    def say(self, text: Any = "", *, style: str | None = None, soft_wrap: bool = False) -> None:
        """Print for people; nothing with --json. Text from outside is never read as markup.

        `soft_wrap` leaves long lines whole, so that they can be copied.
        """
        if not self.is_json:
            self.console.print(text, style=style, markup=False, highlight=False, emoji=False, soft_wrap=soft_wrap)

    def complain(self, text: Any, *, style: str | None = None) -> None:
        """Print for people on stderr."""
        self.errors.print(text, style=style, markup=False, highlight=False, emoji=False)

    def document(self, value: Any) -> None:
        """Print the one JSON document of a command, or the next line of one that streams."""
        _write_json(value, indent=None if self.is_stream else 2)


def open_output(*, is_json: bool, is_stream: bool = False) -> Output:
    """Return the streams of this process."""
    for stream in (sys.stdout, sys.stderr):
        _never_fail_on_characters(stream)
    return Output(is_json, _console(stderr=False), _console(stderr=True), is_stream)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=PIPE_WIDTH)


def _never_fail_on_characters(stream: TextIO) -> None:
    """Let a terminal without UTF-8 show `?` for what it cannot, instead of ending the command."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def _write_json(value: Any, *, indent: int | None) -> None:
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(value, indent=indent, ensure_ascii=not is_utf8) + "\n")
    sys.stdout.flush()
