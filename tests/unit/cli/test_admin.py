"""`callboard admin`: asks before something is lost, goes on until all is done, and tells what was."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_callboard import JOB_ID, Answer, FakeCallboard
from tests.unit.cli.conftest import Command

STALE, RETENTION = "POST /api/v1/admin/cleanup/stale", "POST /api/v1/admin/cleanup/retention"
ERASE = "DELETE /api/v1/users/ada/data"


def stale(*, queued: int = 0, processing: int = 0, **fields: Any) -> Answer:
    by_status = {"pending": 0, "queued": queued, "processing": processing}
    about = {"dry_run": False, "older_than_hours": 72, "job_ids": [JOB_ID], "is_complete": True}
    return Answer({**about, "total": queued + processing, "by_status": by_status, **fields})


def retention(**fields: Any) -> Answer:
    about = {"dry_run": False, "older_than_days": 90, "job_ids": [], "is_complete": True}
    return Answer({**about, "jobs": 0, "bundles": 0, "outbox_rows": 0, **fields})


def erasure(*, left: int = 0, **fields: Any) -> Answer:
    counts = {"jobs": 0, "cancelling": 0, "usage_rows": 0, "api_keys": 0, "left": left, "left_by_status": {}}
    about = {"dry_run": False, "tenant_id": "default", "user_id": "ada"}
    return Answer({**about, **counts, **fields}, 202 if left else 200)


class TestConfirmation:
    @pytest.mark.parametrize(
        "arguments", [("stale",), ("retention",), ("erase-user", "ada")], ids=lambda arguments: arguments[0]
    )
    def test_sends_nothing_where_nobody_can_be_asked(
        self, callboard: Command, server: FakeCallboard, arguments: tuple[str, ...]
    ) -> None:
        ran = callboard("admin", *arguments)

        assert (ran.exit_code, server.requests) == (2, [])
        assert "say --yes" in ran.stderr


class TestStale:
    def test_tells_how_many_failed(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(STALE, stale(queued=2, processing=1))

        ran = callboard("admin", "stale", "--older-than-hours", "24", "--yes")

        assert ran.stdout == "No progress for 72 hours: 3 jobs failed (queued 2, processing 1).\n"
        assert server.requests[0].body == {"older_than_hours": 24, "dry_run": False}

    def test_goes_on_until_all_are_done(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(STALE, stale(queued=2, is_complete=False), stale(queued=1))

        done = callboard("admin", "stale", "--yes", "--json").json

        assert (done["total"], done["by_status"]["queued"], done["is_complete"]) == (3, 3, True)
        assert len(server.requests) == 2

    def test_asks_nobody_in_a_dry_run_and_names_jobs(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(STALE, stale(queued=1, dry_run=True))

        ran = callboard("admin", "stale", "--dry-run")

        assert server.requests[0].body["dry_run"] is True
        assert ran.stdout == f"No progress for 72 hours: 1 job would fail (queued 1).\n{JOB_ID}\n"


class TestRetention:
    def test_goes_on_until_all_are_deleted(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(RETENTION, retention(jobs=500, is_complete=False), retention(jobs=20, bundles=1, outbox_rows=7))

        ran = callboard("admin", "retention", "--yes")

        assert ran.stdout == "Older than 90 days, deleted: jobs 520, bundles 1, outbox rows 7.\n"
        assert [request.body for request in server.requests] == [{"older_than_days": None, "dry_run": False}] * 2

    def test_asks_nobody_in_a_dry_run(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(RETENTION, retention(jobs=3, dry_run=True))

        ran = callboard("admin", "retention", "--older-than-days", "90", "--dry-run")

        assert server.requests[0].body == {"older_than_days": 90, "dry_run": True}
        assert "would be deleted: jobs 3" in ran.stdout


class TestEraseUser:
    def test_asks_again_until_nothing_is_left(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(ERASE, erasure(jobs=2, cancelling=1, api_keys=1, left=1), erasure(jobs=1, usage_rows=4))

        ran = callboard("admin", "erase-user", "ada", "--tenant", "acme", "--yes")

        assert ran.exit_code == 0
        assert "erased: jobs 3, jobs stopped 1, names in usage rows 4, keys 1." in " ".join(ran.stdout.split())
        assert "left" not in ran.stdout
        assert [request.query for request in server.requests] == [{"tenant_id": ["acme"]}] * 2

    def test_fails_while_some_are_left(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(ERASE, erasure(cancelling=1, left=1))

        ran = callboard("admin", "erase-user", "ada", "--wait", "0", "--yes")

        assert ran.exit_code == 1
        assert "Jobs left: 1." in ran.stdout

    def test_sends_an_id_with_a_slash_as_one(self, callboard: Command, server: FakeCallboard) -> None:
        server.on("DELETE /api/v1/users/org%2F17/data", erasure())

        assert callboard("admin", "erase-user", "org/17", "--yes").exit_code == 0

    def test_tells_in_a_dry_run(self, callboard: Command, server: FakeCallboard) -> None:
        server.on(ERASE, erasure(jobs=2, dry_run=True, left=2))

        ran = callboard("admin", "erase-user", "ada", "--dry-run", "--json")

        assert (ran.exit_code, ran.json["jobs"]) == (0, 2)
        assert server.requests[0].query == {"dry_run": ["true"]}


class TestWorkers:
    def test_shows_a_line_per_worker(self, callboard: Command, server: FakeCallboard) -> None:
        server.on("GET /api/v1/admin/workers", Answer({"items": [worker()]}))

        ran = callboard("admin", "workers", "--all")

        (line,) = [line for line in ran.stdout.splitlines() if JOB_ID in line]
        assert all(part in line for part in ("expired", "worker-1", "4711", "12/1,000"))
        assert server.requests[0].query == {"include_gone": ["true"]}

    def test_says_when_there_is_none(self, callboard: Command, server: FakeCallboard) -> None:
        server.on("GET /api/v1/admin/workers", Answer({"items": []}))

        assert callboard("admin", "workers").stdout == "No workers: nobody runs jobs.\n"


class TestQueue:
    def test_shows_numbers_and_groups(self, callboard: Command, server: FakeCallboard) -> None:
        server.on("GET /api/v1/admin/queue", Answer(queue()))

        ran = callboard("admin", "queue")

        assert ran.stdout.startswith("Ready 40, the oldest for 12.5 s. Running 20. Waiting 0.\n")
        assert all(part in ran.stdout for part in ("Ready by priority", "hello", "Running by user", "(nobody)"))
        assert "Ready by workflow" not in ran.stdout

    def test_json_is_the_answer(self, callboard: Command, server: FakeCallboard) -> None:
        server.on("GET /api/v1/admin/queue", Answer(queue()))

        assert callboard("admin", "queue", "--json").json == queue()


class TestKey:
    def test_is_the_operators_own_where_settings_have_both(
        self, command: Command, server: FakeCallboard, home: Path
    ) -> None:
        server.on("GET /api/v1/admin/queue", Answer(queue()))
        host, port = server.url.removeprefix("http://").split(":")
        command.environment |= {"HOST": host, "PORT": port}
        command.environment |= {"LLM_MICROSERVICE_API_KEY": "k" * 16, "ADMIN_API_KEY": "a" * 16}

        ran = command("admin", "queue", "--json")

        assert server.requests[0].headers["x-api-key"] == "a" * 16
        assert json.loads(ran.stdout)["status"] == 401  # the fake server knows another key


def worker(**fields: Any) -> dict[str, Any]:
    return {
        "worker_id": JOB_ID,
        "state": "expired",
        "host": "worker-1",
        "pid": 4711,
        "slots": 1000,
        "running": 12,
        "lease_until": "2026-11-20T10:01:00Z",
        "started_at": "2026-11-20T09:00:00Z",
        "stopped_at": None,
        "dead_at": None,
        **fields,
    }


def queue() -> dict[str, Any]:
    return {
        "ready": 40,
        "oldest_seconds": 12.5,
        "running": 20,
        "waiting": 0,
        "ready_by_priority": [{"priority": 0, "jobs": 40, "oldest_seconds": 12.5}],
        "ready_by_workflow": [],
        "running_by_workflow": [{"workflow_name": "hello", "jobs": 20, "oldest_seconds": 3.1}],
        "running_by_user": [{"user_id": None, "jobs": 20, "oldest_seconds": 3.1}],
    }
