"""What the tests of commands share: a fake server, and a way to run a command as a user would."""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
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


class Flows:
    """A folder with workflows, prompts, inputs and tests, as a user has one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, content: Any) -> Path:
        """Write `content`, as JSON where it is no text, and return where it is."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content if isinstance(content, str) else json.dumps(content, indent=2), "utf-8")
        return target

    def workflow(self, name: str, *steps: dict[str, Any], **top_level: Any) -> Path:
        """Write the definition `name` and return its file."""
        return self.write(f"definitions/{name}.json", {"name": name, "steps": list(steps), **top_level})


@pytest.fixture
def flows(tmp_path: Path, command: Command) -> Iterator[Flows]:
    """A folder of workflows that `command` works on, and logs as they were when it is done."""
    root = tmp_path / "flows"
    command.environment |= {"WORKFLOWS_DIR": str(root / "definitions"), "PROMPTS_DIR": str(root / "prompts")}
    yield Flows(root)
    structlog.reset_defaults()
    ours = [each for each in logging.getLogger().handlers if type(each).__module__.startswith("callboard.")]
    for handler in ours:
        logging.getLogger().removeHandler(handler)
    logging.getLogger().setLevel(logging.WARNING)
    logging.captureWarnings(capture=False)
