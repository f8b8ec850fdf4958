"""What operators do over HTTP: clean up, erase a user, look at workers and queue; and who may do it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest

from callboard.core.clock import now
from callboard.jobs.repository.workers import mark_dead
from tests.fixtures.aged_jobs import age
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.job_rows import add_jobs, add_worker, change, claimed_job
from tests.fixtures.server import API, Server, ask, eventually, running_app, say, workflow

STALE, RETENTION = f"{API}/admin/cleanup/stale", f"{API}/admin/cleanup/retention"
OPERATIONS = [
    pytest.param("POST", "/admin/cleanup/stale", id="stale"),
    pytest.param("POST", "/admin/cleanup/retention", id="retention"),
    pytest.param("DELETE", "/users/ada/data", id="erase"),
    pytest.param("GET", "/admin/workers", id="workers"),
    pytest.param("GET", "/admin/queue", id="queue"),
]


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """A server without a worker: what is queued stays so."""
    async with running_app(database_url, tmp_path, embedded_worker=False) as server:
        server.files.write(workflow("echo", [say("show", "seen")]))
        yield server


class TestWhoMay:
    @pytest.mark.parametrize(("method", "path"), OPERATIONS)
    async def test_needs_the_scope_admin(self, server: Server, method: str, path: str) -> None:
        response = await server.client.request(method, API + path)

        assert (response.status_code, response.json()["error"]) == (403, "missing_scope")

    async def test_an_admin_of_a_tenant_reaches_its_jobs_alone(self, server: Server) -> None:
        admin = await server.new_key("admin", tenant_id="acme")
        theirs, ours = await aged(server, tenant_id="acme"), await aged(server)

        response = await admin.post(STALE, json={})

        assert response.json()["job_ids"] == [theirs]
        assert (await server.job(ours))["status"] == "queued"

    async def test_an_admin_of_a_tenant_cannot_erase_in_another(self, server: Server) -> None:
        admin = await server.new_key("admin", tenant_id="acme")

        other = await admin.delete(f"{API}/users/ada/data", params={"tenant_id": "default"})
        own = await admin.delete(f"{API}/users/ada/data", params={"tenant_id": "acme"})

        assert (other.status_code, other.json()["error"]) == (403, "other_tenant")
        assert (own.status_code, own.json()["tenant_id"]) == (200, "acme")


class TestStale:
    async def test_fails_them_and_tells_how_many_there_were_of_each_status(self, server: Server) -> None:
        job_id, young = await aged(server), await server.submit("echo")

        dry = (await server.admin.post(STALE, json={"dry_run": True})).json()
        wet = (await server.admin.post(STALE)).json()  # a body may be left away

        assert wet == {
            "dry_run": False,
            "older_than_hours": 72,
            "total": 1,
            "by_status": {"pending": 0, "queued": 1, "processing": 0},
            "job_ids": [job_id],
            "is_complete": True,
        }
        assert dry == {**wet, "dry_run": True}
        job = await server.job(job_id)
        assert (job["status"], job["is_stale"], job["error"]["type"]) == ("failed", True, "stale")
        assert (await server.job(young))["status"] == "queued"

    async def test_takes_another_number_of_hours(self, server: Server) -> None:
        await aged(server, hours=5)

        totals = [
            (await server.admin.post(STALE, json={"older_than_hours": hours, "dry_run": True})).json()["total"]
            for hours in (6, 4)
        ]

        assert totals == [0, 1]

    async def test_wakes_whoever_waits_for_the_job(self, server: Server) -> None:
        job_id = await aged(server)

        await server.admin.post(STALE)

        assert (await server.ended(job_id))["status"] == "failed"

    @pytest.mark.parametrize("body", [{"older_than_hours": 0}, {"older_than_hours": "72"}, {"hours": 3}, []], ids=str)
    async def test_refuses_what_it_does_not_know(self, server: Server, body: Any) -> None:
        assert (await server.admin.post(STALE, json=body)).status_code == 422


class TestRetention:
    async def test_deletes_what_ended_before_and_answers_404_for_it(self, server: Server) -> None:
        job_id = await ended(server, days=40)

        dry = (await server.admin.post(RETENTION, json={"older_than_days": 30, "dry_run": True})).json()
        wet = (await server.admin.post(RETENTION, json={"older_than_days": 30})).json()

        assert (dry["jobs"], dry["job_ids"], wet["jobs"], wet["is_complete"]) == (1, [job_id], 1, True)
        assert (await server.admin.get(f"{API}/jobs/{job_id}")).status_code == 404

    async def test_is_refused_without_a_number_where_jobs_are_kept_for_ever(self, server: Server) -> None:
        response = await server.admin.post(RETENTION)

        assert (response.status_code, response.json()["error"]) == (422, "retention_off")

    async def test_goes_by_the_setting_without_a_number(self, sqlite_url: str, tmp_path: Path) -> None:
        async with running_app(sqlite_url, tmp_path, embedded_worker=False, retention_days=30) as server:
            await ended(server, days=40)

            answer = (await server.admin.post(RETENTION)).json()

        assert (answer["older_than_days"], answer["jobs"]) == (30, 1)


class TestErase:
    async def test_deletes_the_jobs_of_the_user_and_revokes_their_keys(self, server: Server) -> None:
        server.files.write(workflow("echo", [say("show", "seen")]))
        key = await server.new_key("jobs:read", "jobs:write", user_id="ada")
        job_id, other = await server.submit("echo", by=key), await server.submit("echo", user_id="bob")

        response = await server.admin.delete(f"{API}/users/ada/data")

        answer = response.json()
        assert (response.status_code, answer["jobs"], answer["api_keys"], answer["left"]) == (200, 1, 1, 0)
        assert (await server.admin.get(f"{API}/jobs/{job_id}")).status_code == 404
        assert (await server.job(other))["status"] == "queued"
        assert (await key.get(f"{API}/jobs")).status_code == 401

    async def test_tells_in_a_dry_run_and_changes_nothing(self, server: Server) -> None:
        job_id = await server.submit("echo", user_id="ada")

        response = await server.admin.delete(f"{API}/users/ada/data", params={"dry_run": True})

        answer = response.json()
        assert (response.status_code, answer["jobs"], answer["left"], answer["dry_run"]) == (200, 1, 1, True)
        assert (await server.job(job_id))["status"] == "queued"

    async def test_answers_202_while_a_worker_holds_a_job(self, server: Server) -> None:
        await claimed_job(server.services.database, user_id="ada")

        answers = [await erase(server) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [202, 202]
        assert [answer.json()["cancelling"] for answer in answers] == [1, 0]
        assert answers[1].json()["left_by_status"] == {"processing": 1}

    async def test_stops_what_runs_and_erases_it_when_it_has_ended(self, database_url: str, tmp_path: Path) -> None:
        async with FakeLLM() as fake, running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
            server.files.write(workflow("slow", [ask("think", "[[delay:30]] well?")]))
            job_id = await server.submit("slow", user_id="ada")
            await server.until(job_id, "processing")

            await eventually(lambda: erase(server), until=lambda answer: answer.status_code == 200)

            assert (await server.admin.get(f"{API}/jobs/{job_id}")).status_code == 404

    @pytest.mark.parametrize("user_id", ["org/17", "auth0|42", "ä ö"])
    async def test_takes_ids_as_applications_have_them(self, server: Server, user_id: str) -> None:
        await server.submit("echo", user_id=user_id)

        response = await server.admin.delete(f"{API}/users/{httpx2.URL(user_id).raw_path.decode()}/data")

        assert (response.json()["user_id"], response.json()["jobs"]) == (user_id, 1)


class TestWorkers:
    async def test_lists_those_that_live_with_what_they_hold(self, server: Server) -> None:
        database = server.services.database
        alive = await add_worker(database, slots=7)
        expired = await add_worker(database, lease_seconds=-1)
        await mark_dead(database, await add_worker(database), only_if_expired=False)
        await add_jobs(database, 2, owner=alive, status="processing")

        answer = (await server.admin.get(f"{API}/admin/workers")).json()

        states = {UUID(item["worker_id"]): (item["state"], item["running"]) for item in answer["items"]}
        assert states == {alive: ("alive", 2), expired: ("expired", 0)}
        assert answer["items"][-1]["slots"] == 7

    async def test_lists_those_that_are_gone_when_asked(self, server: Server) -> None:
        database = server.services.database
        dead = await add_worker(database)
        await mark_dead(database, dead, only_if_expired=False)

        answer = (await server.admin.get(f"{API}/admin/workers", params={"include_gone": True})).json()

        (item,) = answer["items"]
        assert (item["worker_id"], item["state"]) == (str(dead), "dead")
        assert item["dead_at"].endswith("Z")


class TestQueue:
    async def test_tells_what_is_ready_and_what_runs(self, server: Server) -> None:
        database = server.services.database
        minute_ago = now() - timedelta(minutes=1)
        await add_jobs(database, 2, priority=9, queued_at=minute_ago)
        await add_jobs(database, 1, workflow_name="other")
        await add_jobs(database, 3, status="processing", user_id="ada", claimed_at=minute_ago)
        await add_jobs(database, 1, status="processing", claimed_at=now())
        await add_jobs(database, 1, status="waiting")

        queue = (await server.admin.get(f"{API}/admin/queue")).json()

        assert (queue["ready"], queue["running"], queue["waiting"]) == (3, 4, 1)
        assert queue["oldest_seconds"] >= 60
        assert [(group["priority"], group["jobs"]) for group in queue["ready_by_priority"]] == [(9, 2), (0, 1)]
        assert [(group["workflow_name"], group["jobs"]) for group in queue["ready_by_workflow"]] == [
            ("test", 2),
            ("other", 1),
        ]
        assert [(group["user_id"], group["jobs"]) for group in queue["running_by_user"]] == [("ada", 3), (None, 1)]
        assert queue["running_by_user"][0]["oldest_seconds"] >= 60

    async def test_is_empty_where_nothing_is(self, server: Server) -> None:
        queue = (await server.admin.get(f"{API}/admin/queue")).json()

        assert (queue["ready"], queue["oldest_seconds"], queue["ready_by_priority"]) == (0, 0, [])

    async def test_shows_an_admin_of_a_tenant_that_tenant_alone(self, server: Server) -> None:
        admin = await server.new_key("admin", tenant_id="acme")
        await add_jobs(server.services.database, 2, tenant_id="acme")
        await add_jobs(server.services.database, 5)

        assert (await admin.get(f"{API}/admin/queue")).json()["ready"] == 2


async def aged(server: Server, *, hours: float = 80, **columns: Any) -> str:
    """Return a queued job whose last progress is `hours` old."""
    (job_id,) = await add_jobs(server.services.database, 1, **columns)
    await age(server.services.database, job_id, hours=hours)
    return str(job_id)


async def ended(server: Server, *, days: float) -> str:
    """Return a job that ended `days` ago."""
    (job_id,) = await add_jobs(server.services.database, 1)
    async with server.services.database.transaction() as connection:
        await change(connection, job_id, {"status": "completed", "completed_at": now() - timedelta(days=days)})
    return str(job_id)


async def erase(server: Server) -> httpx2.Response:
    return await server.admin.delete(f"{API}/users/ada/data")
