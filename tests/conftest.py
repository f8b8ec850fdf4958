"""What every test has: databases of its own, no network, settings that nobody's environment changes."""

import os
import signal
from pathlib import Path

import pytest

from callboard.core.config import Settings
from tests.fixtures.network_guard import install_network_guard
from tests.fixtures.postgres_server import NO_PGBOUNCER, NO_POSTGRES

pytest_plugins = ["tests.fixtures.databases", "tests.fixtures.pgbouncer_server"]
WANTED = {  # what tests leave out when it is missing, by what their reason begins with, and how to have it
    NO_POSTGRES: (
        "PostgreSQL",
        "Start one on 127.0.0.1:5432, set TEST_DATABASE_URL, or install initdb and pg_ctl.",
    ),
    NO_PGBOUNCER: ("pgbouncer", "Install it."),
}


def pytest_configure() -> None:
    install_network_guard()
    _let_programs_be_interrupted()


def _let_programs_be_interrupted() -> None:
    """Give programs that tests start the usual Ctrl-C: a shell that runs the tests behind it lets nobody have it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what was left out. Reads the reports, so it also works where several processes test."""
    for mark, (name, what_to_do) in WANTED.items():
        skipped = [report for report in terminalreporter.stats.get("skipped", []) if mark in str(report.longrepr)]
        if skipped:
            reason = str(skipped[0].longrepr).partition(mark)[2].rstrip("')\"")
            terminalreporter.section(f"{name.upper()} WAS LEFT OUT", sep="!", red=True, bold=True)
            terminalreporter.write_line(f"{len(skipped)} tests did not run on {name}: {reason}")
            terminalreporter.write_line(what_to_do)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take the settings of this machine away: keys in the environment, a `.env` in the current folder."""
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)
    for alias in ("DEFAULT_OPENAI_MODEL_NAME", "GOOGLE_SERVICES_API_KEY"):
        monkeypatch.delenv(alias, raising=False)
    monkeypatch.setenv("CALLBOARD_CONFIG_DIR", str(tmp_path))  # a settings.ini, too
    monkeypatch.setitem(Settings.model_config, "env_file", None)
