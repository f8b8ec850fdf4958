"""Commands against a real server and a real database, each in a process of its own, as a user runs them."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from callboard.core.config import Settings

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 30.0
HELLO = '{"name": "Ada", "language": "English"}'  # an input that replay knows


class Callboard:
    """Runs `callboard` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        ours = {name.upper() for name in Settings.model_fields} | {"CALLBOARD_URL", "CALLBOARD_API_KEY", "FORCE_COLOR"}
        self.environment = {name: value for name, value in os.environ.items() if name.upper() not in ours}
        self.environment |= {"CALLBOARD_HOME": str(home), "PYTHONPATH": str(ROOT / "src"), "POLL_SECONDS": "0.2"}

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            env=self.environment,
            cwd=ROOT,
        )

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        return json.loads(self.run(*arguments, "--json", stdin=stdin).stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command(arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=ROOT,
        )

    @staticmethod
    def _command(arguments: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "callboard.cli.main", *arguments]


@pytest.fixture
def callboard(tmp_path: Path) -> Callboard:
    return Callboard(tmp_path / "home")


@pytest.fixture
def server(callboard: Callboard) -> Iterator[Callboard]:
    """A served home; commands find it by CALLBOARD_URL."""
    process = callboard.start("serve", "--port", "0", "--json")
    try:
        callboard.environment["CALLBOARD_URL"] = json.loads(_read_line(process.stdout))["url"]
        yield callboard
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_SECONDS)


@pytest.fixture
def silent_model(callboard: Callboard) -> Iterator[None]:
    """A language model that takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        callboard.environment |= {
            "DEFAULT_LLM_PROVIDER": "openai_compatible",
            "DEFAULT_LLM_MODEL_NAME": "silent",
            "OPENAI_COMPATIBLE_BASE_URL": f"http://127.0.0.1:{listener.getsockname()[1]}/v1",
            "SHUTDOWN_GRACE_SECONDS": "0",
        }
        yield


class TestSubmit:
    def test_a_job_runs_and_can_be_looked_at(self, server: Callboard) -> None:
        job = server.json("submit", "hello", "--input", "-", "--wait", stdin=HELLO)

        assert job["status"] == "completed"
        assert server.json("jobs", "list")["jobs"][0]["job_id"] == job["job_id"]
        assert server.run("jobs", "show", job["job_id"]).returncode == 0
        assert server.json("jobs", "cancel", job["job_id"])["outcome"] == "already_ended"

    def test_watch_ends_in_the_end_of_the_job(self, server: Callboard) -> None:
        ran = server.run("submit", "hello", "-i", "-", "--watch", "--json", stdin=HELLO)

        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        assert lines[0]["event"] == "submitted"
        assert "step" in {line["event"] for line in lines}
        assert lines[-1]["job"]["status"] == "completed"

    def test_a_refused_input_ends_with_6(self, server: Callboard) -> None:
        ran = server.run("submit", "hello", "-i", "-", stdin="[]")

        assert ran.returncode == 6
        assert "422" in ran.stderr

    def test_an_unknown_workflow_ends_with_5(self, server: Callboard) -> None:
        ran = server.run("submit", "helo", "-i", "-", stdin="{}")

        assert ran.returncode == 5
        assert "hello" in ran.stderr


class TestKeys:
    def test_a_key_works_until_it_is_revoked(self, server: Callboard) -> None:
        created = server.json("keys", "create", "reader", "--scope", "jobs:read")
        as_reader = ("jobs", "list", "--api-key", created["key"])

        before = server.run(*as_reader).returncode
        server.run("keys", "revoke", created["id"])
        _until(lambda: server.run(*as_reader).returncode == 4)

        assert before == 0
        assert [key["id"] for key in server.json("keys", "list")["items"]] == [created["id"]]

    def test_create_prints_the_key_alone_on_stdout(self, callboard: Callboard) -> None:
        ran = callboard.run("keys", "create", "app")

        assert ran.stdout.startswith("cb_")
        assert len(ran.stdout.split()) == 1

    @pytest.mark.parametrize(
        ("arguments", "exit_code"),
        [
            pytest.param(("create", ""), 2, id="no name"),
            pytest.param(("create", "x", "--scope", "everything"), 2, id="no such scope"),
            pytest.param(("create", "x", "--scope", "admin", "--user-id", "ada"), 2, id="an admin bound to a user"),
            pytest.param(("revoke", "019a9f3e-6f00-7000-8000-000000000001"), 5, id="no such key"),
            pytest.param(("list", "--cursor", "nonsense"), 6, id="no such page"),
        ],
    )
    def test_what_is_wrong_is_said(self, callboard: Callboard, arguments: tuple[str, ...], exit_code: int) -> None:
        ran = callboard.run("keys", *arguments)

        assert ran.returncode == exit_code
        assert ran.stderr
        assert "Traceback" not in ran.stderr


class TestLimits:
    def test_are_set_shown_and_taken_away(self, server: Callboard) -> None:
        server.run("limits", "set", "0.50", "--user-id", "ada")
        listed = server.json("limits", "list")["items"]
        said = server.run("limits", "set", "none", "--tenant", "acme", "--period", "month").stdout
        server.run("limits", "remove", "--user-id", "ada")

        assert [(each["user_id"], each["period"], each["limit_usd"]) for each in listed] == [("ada", "day", 0.5)]
        assert said.strip() == 'Tenant "acme" may spend any amount a month.'
        assert [each["tenant_id"] for each in server.json("limits", "list")["items"]] == ["acme"]
        assert server.json("limits", "spending")["items"] == []

    @pytest.mark.parametrize(
        ("arguments", "exit_code"),
        [
            pytest.param(("set", "much"), 2, id="no number"),
            pytest.param(("set", "--", "-1"), 2, id="below nothing"),
            pytest.param(("set", "1", "--period", "year"), 2, id="no such period"),
            pytest.param(("remove", "--user-id", "ada"), 5, id="no such limit"),
        ],
    )
    def test_what_is_wrong_is_said(self, callboard: Callboard, arguments: tuple[str, ...], exit_code: int) -> None:
        ran = callboard.run("limits", *arguments)

        assert ran.returncode == exit_code
        assert ran.stderr
        assert "Traceback" not in ran.stderr


class TestDb:
    def test_up_and_down(self, callboard: Callboard) -> None:
        empty = callboard.run("db", "current", "--json")
        up = callboard.json("db", "upgrade")
        current = callboard.run("db", "current", "--json")
        down = callboard.json("db", "downgrade", "base", "--yes")

        assert (empty.returncode, json.loads(empty.stdout)["current"]) == (1, None)
        assert up["current"] == up["needed"]
        assert (current.returncode, json.loads(current.stdout)["is_current"]) == (0, True)
        assert down["current"] is None

    def test_downgrade_asks_for_a_yes(self, callboard: Callboard) -> None:
        callboard.run("db", "upgrade")

        ran = callboard.run("db", "downgrade", "base")

        assert ran.returncode == 2
        assert "--yes" in ran.stderr
        assert callboard.run("db", "current").returncode == 0

    @pytest.mark.parametrize("arguments", [("upgrade", "nonsense"), ("downgrade", "nonsense", "--yes")], ids=" ".join)
    def test_an_unknown_revision_is_said(self, callboard: Callboard, arguments: tuple[str, ...]) -> None:
        ran = callboard.run("db", *arguments)

        assert ran.returncode == 1
        assert "nonsense" in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_a_database_that_is_away_is_said(self, callboard: Callboard) -> None:
        callboard.environment["DATABASE_URL"] = "postgresql://user:hidden-password@127.0.0.1:1/none"

        ran = callboard.run("db", "current")

        assert ran.returncode == 1
        assert "DATABASE_URL" in ran.stderr
        assert "hidden-password" not in ran.stderr
        assert "Traceback" not in ran.stderr


class TestServe:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
    def test_a_signal_stops_it_in_good_order(self, callboard: Callboard, number: signal.Signals) -> None:
        process = callboard.start("serve", "--port", "0")
        said = _read_line(process.stdout)

        process.send_signal(number)
        _, log = process.communicate(timeout=PATIENCE_SECONDS)

        assert "listens on http://127.0.0.1:" in said
        assert process.returncode == 0
        assert "Traceback" not in log

    def test_a_taken_port_is_said(self, callboard: Callboard) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            ran = callboard.run("serve", "--port", str(other.getsockname()[1]))

        assert ran.returncode == 1
        assert "--port 0" in ran.stderr

    def test_production_without_keys_is_refused_in_words(self, callboard: Callboard) -> None:
        callboard.environment["ENVIRONMENT"] = "production"

        ran = callboard.run("serve", "--port", "0")

        assert ran.returncode == 2
        assert "SECRET_KEY" in ran.stderr
        assert "Traceback" not in ran.stderr


class TestWorker:
    def test_runs_jobs_beside_a_server_without_one(self, callboard: Callboard) -> None:
        callboard.environment["EMBEDDED_WORKER"] = "false"
        server, worker = callboard.start("serve", "--port", "0", "--json"), callboard.start("worker")
        try:
            callboard.environment["CALLBOARD_URL"] = json.loads(_read_line(server.stdout))["url"]
            job = callboard.json("submit", "hello", "-i", "-", "--wait", stdin=HELLO)
        finally:
            for process in (worker, server):
                process.terminate()
                process.communicate(timeout=PATIENCE_SECONDS)

        assert job["status"] == "completed"
        assert worker.returncode == 0


class TestWatch:
    def test_ctrl_c_leaves_quietly(self, silent_model: None, server: Callboard) -> None:
        job_id = _submit_to_silent_model(server)
        process = server.start("jobs", "watch", job_id)
        time.sleep(1.5)

        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=PATIENCE_SECONDS)

        assert process.returncode == 130
        assert (said, complained) == ("", "")


class TestDemo:
    def test_shows_steps_results_costs_and_who_answered(self, callboard: Callboard) -> None:
        ran = callboard.run("demo")

        assert ran.returncode == 0, ran.stderr
        for said in (
            "analysis",
            "Contacts",
            "Meeting locations",
            "tokens",
            "$",
            "KEPT IN FILES",
            "GOOGLE_PLACES_API_KEY",
        ):
            assert said in ran.stdout
        assert "\x1b" not in ran.stdout

    def test_works_again(self, callboard: Callboard) -> None:
        first, second = callboard.json("demo"), callboard.json("demo")

        assert [first["job"]["status"], second["job"]["status"]] == ["completed", "completed"]
        assert first["job"]["job_id"] != second["job"]["job_id"]

    def test_tells_why_its_server_did_not_start(self, callboard: Callboard) -> None:
        callboard.environment["DATABASE_URL"] = "postgresql://user:password@127.0.0.1:1/none"

        ran = callboard.run("demo")

        assert ran.returncode == 1
        assert "DATABASE_URL" in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_an_input_that_was_not_recorded_names_the_ways_out(self, callboard: Callboard, tmp_path: Path) -> None:
        recorded = json.loads((ROOT / "workflows/inputs/emergency_contacts.seattle.json").read_text("utf-8"))
        recorded["formData"]["location"]["lat"] = 10.5
        path = tmp_path / "elsewhere.json"
        path.write_text(json.dumps(recorded), "utf-8")

        ran = callboard.run("demo", "--input", str(path))

        assert ran.returncode == 1
        assert "GOOGLE_PLACES_API_KEY" in ran.stdout
        assert "sandbox" in ran.stdout

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
    def test_leaves_nothing_running(self, callboard: Callboard, number: signal.Signals) -> None:
        process = callboard.start("demo", "--keep")
        url = _read_until(process.stdout, "is up: ").split("is up: ")[1].split(",")[0]
        _read_until(process.stdout, "until Ctrl-C")

        process.send_signal(number)
        process.communicate(timeout=PATIENCE_SECONDS)

        _until(lambda: not _answers(url))

    def test_cancels_its_job_when_it_is_interrupted(self, callboard: Callboard, silent_model: None) -> None:
        process = callboard.start("demo", "--workflow", "hello")
        _read_until(process.stdout, "is stored and will run")
        time.sleep(1)

        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)

        assert process.returncode == 130
        with sqlite3.connect(callboard.home / "callboard.db") as database:
            assert database.execute("SELECT status FROM llm_workflow_jobs").fetchall() == [("cancelled",)]


def _submit_to_silent_model(callboard: Callboard) -> str:
    return str(callboard.json("submit", "hello", "-i", "-", stdin=HELLO)["job_id"])


def _read_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def _read_until(stream: IO[str] | None, text: str) -> str:
    while line := _read_line(stream):
        if text in line:
            return line
    raise AssertionError(f"the command ended before it said {text!r}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/live", timeout=1):
            return True
    except OSError:
        return False


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
