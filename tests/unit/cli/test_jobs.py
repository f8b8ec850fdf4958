"""`callboard jobs`: lists, one job, watching, cancelling, costs; for people and for programs."""

import json

import pytest

from tests.fixtures.fake_callboard import (
    JOB_ID,
    NO_COSTS,
    Answer,
    FakeCallboard,
    job,
    problem,
    step,
    usage_row,
)
from tests.unit.cli.conftest import Command


class TestList:
    def test_shows_a_line_per_job(self, callboard: Command, server: FakeCallboard) -> None:
        server.on("GET /api/v1/jobs", Answer({"jobs": [job()], "next_cursor": "more"}))

        ran = callboard("jobs", "list")

        (line,) = [line for line in ran.stdout.splitlines() if JOB_ID in line]
        assert all(part in line for part in ("completed", "hello", "2.5 s", "1/1", "$0.0198"))
        assert "--cursor more" in ran.stdout

    def test_passes_filters_on(self, callboard: Command, server: FakeCallboard) -> None:
        server.on("GET /api/v1/jobs", Answer({"jobs": [], "next_cursor": None}))

        ran = callboard(
            *("jobs", "list", "--status", "failed", "--status", "cancelled", "--workflow", "hello", "--limit", "3")
        )

        assert ran.stdout == "No jobs.\n"
        assert server.requests[0].query == {
            "limit": ["3"],
            "status": ["failed", "cancelled"],
            "workflow_name": ["hello"],
        }

    def test_prints_the_page_as_it_came(self, callboard: Command, server: FakeCallboard) -> None:
        page = {"jobs": [job()], "next_cursor": None}
        server.on("GET /api/v1/jobs", Answer(page))

        assert callboard("jobs", "list", "--json").json == page


class TestShow:
    def test_shows_facts_steps_and_result(self, callboard: Command, server: FakeCallboard) -> None:
        server.has_job(job(), steps=[step()], usage=[usage_row()])

        ran = callboard("jobs", "show", JOB_ID)

        assert ran.exit_code == 0
        for said in ("hello 1.0.0", "3,000", "greet", "1,716 tokens", '"greeting": "Hello, Ada!"'):
            assert said in ran.stdout
        assert "cost_data" not in ran.stdout

    def test_text_from_outside_moves_no_cursor(self, callboard: Command, server: FakeCallboard) -> None:
        server.has_job(job(run_name="\x1b[2Jgone [bold]x[/bold]"))

        ran = callboard("jobs", "show", JOB_ID)

        assert "\x1b" not in ran.stdout
        assert "[bold]x[/bold]" in ran.stdout

    def test_json_is_the_job(self, callboard: Command, server: FakeCallboard) -> None:
        server.has_job(job())

        assert callboard("jobs", "show", JOB_ID, "--json").json == job()


class TestWatch:
    def test_prints_no_colours_or_cursor_movements_into_a_pipe(self, callboard: Command, server: FakeCallboard) -> None:
        server.has_job(job("processing"), job(), steps=[step()], usage=[usage_row()])

        ran = callboard("jobs", "watch", JOB_ID)

        assert ran.exit_code == 0
        assert "\x1b" not in ran.stdout
        assert "\r" not in ran.stdout

    def test_a_cancelled_job_ends_with_1(self, callboard: Command, server: FakeCallboard) -> None:
        server.has_job(job("cancelled"))

        assert callboard("jobs", "watch", JOB_ID).exit_code == 1

    def test_shows_why_a_step_failed(self, callboard: Command, server: FakeCallboard) -> None:
        broken = step(status="failed", error={"message": "The provider said no."}, attempts=3)
        server.has_job(job("failed"), steps=[broken])

        ran = callboard("jobs", "watch", JOB_ID)

        assert "The provider said no." in ran.stdout
        assert "(3 attempts)" in ran.stdout

    def test_an_error_is_a_json_line_too(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(f"GET /api/v1/status/{JOB_ID}", problem(404, "Not found", code="job_not_found"))

        ran = callboard("jobs", "watch", JOB_ID, "--json")

        assert ran.exit_code == 5
        assert [line["error"] for line in ran.json_lines] == ["job_not_found"]


class TestCancel:
    def test_says_what_became_of_it(self, callboard: Command, server: FakeCallboard) -> None:
        outcome = {"job_id": JOB_ID, "status": "completed", "outcome": "already_ended"}
        server.on(f"DELETE /api/v1/workflow/{JOB_ID}", Answer(outcome))

        ran = callboard("jobs", "cancel", JOB_ID)

        assert ran.exit_code == 0
        assert "already ended, status completed" in ran.stdout


class TestUsage:
    def test_tells_units_from_tokens(self, callboard: Command, server: FakeCallboard) -> None:
        places = usage_row(service="google_places", provider="google_places", model="nearby_search", input_tokens=7)
        totals = {**NO_COSTS, "input_tokens": 1204, "output_tokens": 512, "total_cost_usd": 0.0361}
        body = {"items": [places, usage_row()], "totals": totals, "next_cursor": None}
        server.on(f"GET /api/v1/jobs/{JOB_ID}/usage", Answer(body))

        ran = callboard("jobs", "usage", JOB_ID)

        assert "nearby_search, 7 units" in ran.stdout
        total = next(line for line in ran.stdout.splitlines() if "total" in line)
        assert total.split() == ["total", "1,204", "512", "$0.0361"]

    def test_json_holds_every_page(self, callboard: Command, server: FakeCallboard) -> None:
        operation = f"GET /api/v1/jobs/{JOB_ID}/usage"
        first = {"items": [usage_row("a")], "totals": NO_COSTS, "next_cursor": "more"}
        last = {"items": [usage_row("b")], "totals": NO_COSTS, "next_cursor": None}
        server.on(operation, Answer(first), Answer(first), Answer(last))

        ran = callboard("jobs", "usage", JOB_ID, "--json")

        assert [row["path"] for row in ran.json["items"]] == ["a", "b"]
        assert ran.json["next_cursor"] is None


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "exit_code"),
        [(401, 4), (403, 4), (404, 5), (400, 6), (409, 6), (422, 6), (429, 6), (500, 1), (503, 3)],
    )
    def test_exit_codes(self, callboard: Command, server: FakeCallboard, status: int, exit_code: int) -> None:
        server.on("GET /api/v1/jobs", problem(status, "Some title", "Some detail"))

        ran = callboard("jobs", "list")

        assert ran.exit_code == exit_code
        assert f"Some title ({status})" in ran.stderr
        assert "Some detail" in ran.stderr
        assert "Traceback" not in ran.stderr

    def test_json_prints_the_problem_document(self, callboard: Command, server: FakeCallboard) -> None:
        answer = problem(409, "Conflict", code="illegal_move")
        server.on("GET /api/v1/jobs", answer)

        ran = callboard("jobs", "list", "--json")

        assert ran.json == answer.body
        assert ran.stderr == ""

    def test_server_away(self, command: Command) -> None:
        ran = command("jobs", "list", "--url", "http://127.0.0.1:1", "--api-key", "x")

        assert ran.exit_code == 3
        assert "http://127.0.0.1:1" in ran.stderr
        assert "callboard serve" in ran.stderr

    def test_server_away_in_json(self, command: Command) -> None:
        ran = command("jobs", "list", "--url", "http://127.0.0.1:1", "--api-key", "x", "--json")

        assert (ran.exit_code, ran.json["error"]) == (3, "server_away")

    def test_a_url_that_is_none(self, command: Command) -> None:
        ran = command("jobs", "list", "--url", "localhost:8000", "--api-key", "x")

        assert ran.exit_code == 2
        assert "http://" in ran.stderr

    def test_a_refused_key_tells_where_it_came_from(self, callboard: Command) -> None:
        ran = callboard("jobs", "list", "--api-key", "wrong")

        assert ran.exit_code == 4
        assert "The key came from --api-key" in ran.stderr

    def test_no_key_at_all_tells_where_one_was_looked_for(self, callboard: Command) -> None:
        del callboard.environment["CALLBOARD_API_KEY"]

        ran = callboard("jobs", "list", "--json")

        assert ran.exit_code == 4
        assert json.loads(ran.stdout)["status"] == 401

    def test_a_wrong_setting_is_named(self, command: Command) -> None:
        command.environment["PORT"] = "many"

        ran = command("jobs", "list")

        assert ran.exit_code == 2
        assert "PORT" in ran.stderr
