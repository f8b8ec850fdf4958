"""`callboard run` on a terminal of its own: the person at the keyboard is asked, and the answer is the run's."""

import json
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callboard.core.config import Settings

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 60.0
_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
FORM = {"type": "object", "required": ["fine"], "properties": {"fine": {"type": "boolean"}, "why": {"type": "string"}}}
STEPS = [
    {"id": "nap", "type": "wait", "config": {"seconds": 0.3}},
    {"id": "ok", "type": "approval", "timeout": 600, "config": {"title": "Send it?", "form_schema": FORM}},
    {"id": "paid", "type": "wait", "timeout": 600, "config": {"event": "paid"}},
]
OUTPUTS = {"answer": "${steps.ok.answer}", "sum": "${steps.paid.payload.sum}"}


class Terminal:
    """A process on a terminal: what it shows, and what is typed."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        ours = {name.upper() for name in Settings.model_fields} | {"NO_COLOR", "FORCE_COLOR"}
        environment = {name: value for name, value in os.environ.items() if name.upper() not in ours}
        environment |= {"PYTHONPATH": str(ROOT / "src"), "TERM": "xterm", "COLUMNS": "120"}
        command = [sys.executable, "-m", "callboard.cli.main", *arguments]
        controller, process_side = pty.openpty()
        self.pid = os.posix_spawn(
            "/bin/sh",
            ["/bin/sh", "-c", 'cd "$0" && exec "$@"', str(folder), *command],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, process_side, target) for target in (0, 1, 2)],
            setsid=True,
        )
        os.close(process_side)
        self._controller = controller
        self._shown = b""
        self._seen = 0

    def type_at(self, prompt: str, line: str) -> None:
        """Type `line` when `prompt` has been shown."""
        self._seen = self._read_until(prompt.encode())
        os.write(self._controller, f"{line}\n".encode())

    def interrupt_at(self, prompt: str) -> None:
        self._read_until(prompt.encode())
        os.kill(self.pid, signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Return the exit code and all that was shown."""
        self._read_until(None)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status), _CONTROL.sub(b"", self._shown).decode()

    def close(self) -> None:
        os.close(self._controller)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def _read_until(self, wanted: bytes | None) -> int:
        """Read until `wanted` stands behind what was answered last, or to the end; return where it ends."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            place = -1 if wanted is None else self._shown.find(wanted, self._seen)
            if wanted is not None and place >= 0:
                return place + len(wanted)
            if select.select([self._controller], [], [], 1)[0]:
                try:
                    more = os.read(self._controller, 65_536)
                except OSError:  # Linux says EIO when the process has ended
                    more = b""
                if not more:
                    break
                self._shown += more
        assert wanted is None, f"{wanted!r} was not shown: {self._shown[-2000:]!r}"
        return len(self._shown)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A run that has begun."""
    (tmp_path / "flow.json").write_text(json.dumps({"name": "flow", "steps": STEPS, "outputs": OUTPUTS}), "utf-8")
    opened = Terminal(tmp_path, "run", "flow.json")
    yield opened
    opened.close()


class TestRunOnATerminal:
    def test_asks_and_goes_on_with_the_answer(self, terminal: Terminal) -> None:
        terminal.type_at("fine (yes or no): ", "perhaps")
        terminal.type_at("fine (yes or no): ", "yes")
        terminal.type_at("why (may be left out): ", "")
        terminal.type_at("payload as JSON, or nothing: ", '{"sum": 5}')
        exit_code, shown = terminal.end()

        assert exit_code == 0, shown
        assert "? Send it?  ok" in shown
        assert "left" in shown  # the countdown of the nap
        result = shown[shown.rindex("\r\n{") :]
        assert json.loads(result) == {"answer": {"fine": True}, "sum": 5}

    def test_can_be_interrupted_while_it_asks(self, terminal: Terminal) -> None:
        terminal.interrupt_at("fine (yes or no): ")
        exit_code, shown = terminal.end()

        assert exit_code == 130
        assert "Stopped. So far: no calls" in shown
