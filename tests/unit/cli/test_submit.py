"""`callboard submit`: what it sends, what it shows, how it ends."""

from pathlib import Path

import pytest

from tests.fixtures.fake_callboard import JOB_ID, Answer, FakeCallboard, job, problem, step, usage_row
from tests.unit.cli.conftest import Command

SUBMIT = "POST /api/v1/workflow"
ACCEPTED = Answer(
    {
        "job_id": JOB_ID,
        "celery_task_id": "c",
        "status": "queued",
        "estimated_wait_seconds": 0,
        "status_url": f"/api/v1/status/{JOB_ID}",
    },
    202,
)
FAILED = job(
    "failed",
    error={
        "type": "replay_miss",
        "category": "provider",
        "message": "No recorded answer.",
        "retryable": False,
        "step_id": "greet",
        "details": {},
    },
)


class TestSubmit:
    def test_sends_the_file_and_the_options(self, callboard: Command, server: FakeCallboard, tmp_path: Path) -> None:
        server.on(SUBMIT, ACCEPTED)
        path = tmp_path / "input.json"
        path.write_text('{"name": "Zoë"}', "utf-8")

        ran = callboard(
            *("submit", "hello", "--input", str(path), "--priority", "7", "--user-id", "ada"),
            *("--run-name", "first", "--idempotency-key", "once", "--budget-usd", "0.05"),
        )

        assert ran.exit_code == 0
        assert JOB_ID in ran.stdout
        (request,) = server.seen(SUBMIT)
        assert request.body == {
            "workflow_name": "hello",
            "input_data": {"name": "Zoë"},
            "priority": 7,
            "user_id": "ada",
            "run_name": "first",
            "budget_usd": 0.05,
        }
        assert request.headers["idempotency-key"] == "once"

    def test_reads_stdin(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(SUBMIT, ACCEPTED)

        ran = callboard("submit", "hello", "-i", "-", "--json", stdin='{"name": "Ada"}')

        assert ran.json["job_id"] == JOB_ID
        assert server.requests[0].body["input_data"] == {"name": "Ada"}

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            pytest.param(b"{oops", "is not JSON", id="no JSON"),
            pytest.param(b"\xff\xfe\x00", "is not JSON", id="no UTF-8"),
            pytest.param(None, "No such file", id="no file"),
        ],
    )
    def test_says_why_an_input_cannot_be_read(
        self, callboard: Command, server: FakeCallboard, tmp_path: Path, content: bytes | None, said: str
    ) -> None:
        path = tmp_path / "input.json"
        if content is not None:
            path.write_bytes(content)

        ran = callboard("submit", "hello", "--input", str(path))

        assert ran.exit_code == 2
        assert said in ran.stderr
        assert server.requests == []

    def test_wait_ends_as_the_job_does(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(SUBMIT, ACCEPTED)
        server.has_job(FAILED)

        ran = callboard("submit", "hello", "-i", "-", "--wait", stdin="{}")

        assert ran.exit_code == 1
        assert "replay_miss in step greet: No recorded answer." in ran.stdout

    def test_wait_prints_one_document(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(SUBMIT, ACCEPTED)
        server.has_job(job())

        ran = callboard("submit", "hello", "-i", "-", "--wait", "--json", stdin="{}")

        assert ran.exit_code == 0
        assert ran.json["result"]["greeting"] == "Hello, Ada!"

    def test_watch_shows_the_steps(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(SUBMIT, ACCEPTED)
        server.has_job(job(), steps=[step()], usage=[usage_row()])

        ran = callboard("submit", "hello", "-i", "-", "--watch", stdin="{}")

        assert ran.exit_code == 0
        assert "1.0 s  1,716 tokens  $0.0041" in ran.stdout

    def test_watch_prints_json_lines(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(SUBMIT, ACCEPTED)
        server.has_job(job("processing"), job(), steps=[step()], usage=[usage_row()])

        ran = callboard("submit", "hello", "-i", "-", "--watch", "--json", stdin="{}")

        assert [line["event"] for line in ran.json_lines] == ["submitted", "job", "step", "job"]

    def test_shows_every_error_of_a_refused_input(self, callboard: Command, server: FakeCallboard) -> None:
        errors = [
            {"pointer": "/body/input_data/name", "message": "is missing", "code": "required"},
            {"pointer": "/body/input_data/age", "message": "-1 is below 0", "code": "minimum"},
        ]
        server.on(SUBMIT, problem(422, "Input not valid", "2 errors", errors=errors))

        ran = callboard("submit", "hello", "-i", "-", stdin="{}")

        assert ran.exit_code == 6
        assert ran.stdout == ""
        for said in ("Input not valid (422)", "/body/input_data/name", "-1 is below 0", "request-1"):
            assert said in ran.stderr
