"""The table of commands, their help, and the version."""

import subprocess
import sys
from importlib import import_module

import pytest
from typer.main import get_command

from callboard import __version__
from callboard.cli.main import COMMANDS
from tests.unit.cli.conftest import Command

LEAVES = [
    ("demo",),
    ("serve",),
    ("validate",),
    ("schema",),
    ("worker",),
    ("submit",),
    ("dry-run",),
    ("diagram",),
    *(("jobs", name) for name in ("list", "show", "watch", "cancel", "usage")),
    *(("admin", name) for name in ("stale", "retention", "erase-user", "workers", "queue")),
    ("models",),
    ("plugins",),
    *(("keys", name) for name in ("create", "list", "revoke")),
    ("settings",),
    *(("db", name) for name in ("upgrade", "downgrade", "current")),
]


class TestHelp:
    def test_lists_every_command_and_the_exit_codes(self, command: Command) -> None:
        ran = command("--help")

        assert ran.exit_code == 0
        assert all(name in ran.stdout for name in COMMANDS)
        assert "Exit codes" in ran.stdout

    @pytest.mark.parametrize("arguments", LEAVES, ids=" ".join)
    def test_shows_examples(self, command: Command, arguments: tuple[str, ...]) -> None:
        ran = command(*arguments, "--help")

        assert ran.exit_code == 0
        assert "Examples:" in ran.stdout
        assert f"callboard {' '.join(arguments)}" in ran.stdout
        assert "--json" in ran.stdout

    def test_says_the_same_of_a_command_as_the_command_does(self) -> None:
        for module, summary in COMMANDS.values():
            command = get_command(import_module(f"callboard.cli.{module}").app)
            assert (command.help or "").startswith(summary)

    def test_loads_neither_database_nor_engine(self) -> None:
        code = (
            "import sys; from callboard.cli.main import app; app(['--help'], standalone_mode=False); "
            "sys.exit(bool({'sqlalchemy', 'fastapi', 'aiohttp', 'cel'} & set(sys.modules)))"
        )

        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

        assert done.returncode == 0, done.stderr.decode()

    def test_no_command_of_that_name(self, command: Command) -> None:
        ran = command("job", "list")

        assert ran.exit_code == 2
        assert "Did you mean 'jobs'" in ran.stderr


class TestVersion:
    def test_is_the_packages(self, command: Command) -> None:
        assert command("--version").stdout == f"callboard {__version__}\n"
