"""What the tests of commands share: a fake server, and a way to run a command as a user would."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from callboard.cli.main import app
from tests.fixtures.fake_callboard import KEY, FakeCallboard, fake_callboard


@dataclass(frozen=True)
class Ran:
    """What a command said and how it ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.stdout.splitlines()]


class Command:
    """Runs `callboard` in this process, away from the settings and files of this machine."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}

    def __call__(self, *arguments: str, stdin: str | None = None) -> Ran:
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=self.environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def server() -> Iterator[FakeCallboard]:
    with fake_callboard() as fake:
        yield fake


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """A command without a server of its own."""
    for name in ("CALLBOARD_URL", "CALLBOARD_API_KEY", "FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    made = Command()
    made.environment["CALLBOARD_HOME"] = str(home)
    return made


@pytest.fixture
def callboard(command: Command, server: FakeCallboard) -> Command:
    """A command that talks to the fake server with a good key."""
    command.environment |= {"CALLBOARD_URL": server.url, "CALLBOARD_API_KEY": KEY}
    return command
