"""Whose jobs a key reaches: its tenant's, its user's, nobody else's, on every path."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fixtures.server import API, Server, running_app, say, workflow

JOB_PATHS = [
    pytest.param("GET", "/status/{job_id}", id="status"),
    pytest.param("GET", "/jobs/{job_id}", id="get"),
    pytest.param("GET", "/jobs/{job_id}/steps", id="steps"),
    pytest.param("GET", "/jobs/{job_id}/usage", id="usage"),
    pytest.param("DELETE", "/workflow/{job_id}", id="cancel"),
]
NO_JOB = "019a9f3e-6f00-7000-8000-000000000001"
OPERATIONS = [
    pytest.param("POST", "/workflow", "jobs:write", id="submit"),
    pytest.param("DELETE", f"/workflow/{NO_JOB}", "jobs:write", id="cancel"),
    pytest.param("POST", "/jobs/cancel", "jobs:write", id="cancel many"),
    pytest.param("GET", f"/status/{NO_JOB}", "jobs:read", id="status"),
    pytest.param("GET", f"/jobs/{NO_JOB}", "jobs:read", id="get"),
    pytest.param("GET", "/jobs", "jobs:read", id="list"),
    pytest.param("GET", f"/jobs/{NO_JOB}/steps", "jobs:read", id="steps"),
    pytest.param("GET", f"/jobs/{NO_JOB}/usage", "jobs:read", id="usage"),
    pytest.param("GET", "/workflows", "jobs:read", id="workflows"),
    pytest.param("GET", "/workflows/echo", "jobs:read", id="workflow"),
]
BODIES: dict[str, dict[str, Any]] = {
    "/workflow": {"workflow_name": "echo"},
    "/jobs/cancel": {"job_ids": [NO_JOB]},
}


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with running_app(database_url, tmp_path) as server:
        server.files.write(workflow("echo", [say("show", "seen")]))
        yield server


@pytest.fixture
async def sqlite_server(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """For what has nothing to do with the database."""
    async with running_app(sqlite_url, tmp_path) as server:
        server.files.write(workflow("echo", [say("show", "seen")]))
        yield server


async def send(client: httpx2.AsyncClient, method: str, path: str, **options: Any) -> httpx2.Response:
    body = BODIES.get(path) if method == "POST" else None
    return await client.request(method, API + path, json=body, **options)


async def list_ids(client: httpx2.AsyncClient, **params: str) -> set[str]:
    response = await client.get(f"{API}/jobs", params=params)
    assert response.status_code == 200, response.text
    return {job["job_id"] for job in response.json()["jobs"]}


class TestKeys:
    @pytest.mark.parametrize(("method", "path", "scope"), OPERATIONS)
    async def test_are_needed_everywhere(self, sqlite_server: Server, method: str, path: str, scope: str) -> None:
        unknown = {"none": None, "wrong": "wrong", "well-formed": "cb_" + "x" * 43}

        for kind, key in unknown.items():
            response = await send(sqlite_server.as_key(key), method, path)

            assert response.status_code == 401, kind
            assert response.headers["www-authenticate"] == "APIKey"

    @pytest.mark.parametrize(("method", "path", "scope"), OPERATIONS)
    async def test_need_the_scope_of_the_operation(
        self, sqlite_server: Server, method: str, path: str, scope: str
    ) -> None:
        others = {"jobs:read", "jobs:write", "workflows:write"} - {scope}
        under_scoped = await sqlite_server.new_key(*sorted(others))
        just_right = await sqlite_server.new_key(scope)

        refused = await send(under_scoped, method, path)
        taken = await send(just_right, method, path)

        assert (refused.status_code, refused.json()["error"]) == (403, "missing_scope")
        assert scope in refused.json()["detail"]
        assert taken.status_code in {200, 202, 404}

    async def test_are_useless_once_revoked(self, server: Server) -> None:
        made = (await server.admin.post(f"{API}/api-keys", json={"name": "a", "scopes": ["jobs:write"]})).json()
        client = server.as_key(made["key"])
        assert (await server.post_job("echo", by=client)).status_code == 202

        await server.admin.delete(f"{API}/api-keys/{made['id']}")

        refused = await server.post_job("echo", by=client)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_api_key")

    async def test_are_asked_for_before_the_body_is_looked_at(self, server: Server) -> None:
        response = await server.as_key(None).post(f"{API}/workflow", json={"colour": "red"})

        assert response.status_code == 401
        assert "colour" not in response.text


class TestTenants:
    @pytest.mark.parametrize(("method", "path"), JOB_PATHS)
    async def test_do_not_see_each_others_jobs(self, server: Server, method: str, path: str) -> None:
        job_id = await server.submit("echo")
        acme = await server.new_key("jobs:read", "jobs:write", tenant_id="acme")

        response = await send(acme, method, path.format(job_id=job_id))
        missing = await send(acme, method, path.format(job_id=NO_JOB))

        assert (response.status_code, response.json()["error"]) == (404, "job_not_found")
        assert response.json()["detail"].replace(job_id, NO_JOB) == missing.json()["detail"]
        assert (await server.ended(job_id))["status"] == "completed"

    async def test_list_their_own_alone(self, server: Server) -> None:
        acme = await server.new_key("jobs:read", "jobs:write", tenant_id="acme")
        ours, theirs = await server.submit("echo"), await server.submit("echo", by=acme)

        assert await list_ids(server.client) == {ours}
        assert await list_ids(acme) == {theirs}
        assert await list_ids(server.admin) == {ours, theirs}

    async def test_cancel_their_own_alone(self, server: Server) -> None:
        acme = await server.new_key("jobs:read", "jobs:write", tenant_id="acme")
        ours, theirs = await server.submit("echo"), await server.submit("echo", by=acme)
        await server.ended(theirs)

        answer = (await acme.post(f"{API}/jobs/cancel", json={"job_ids": [ours, theirs]})).json()

        assert [item["outcome"] for item in answer["items"]] == ["not_found", "already_ended"]
        assert answer["items"][0]["status"] is None
        assert (await server.ended(ours))["status"] == "completed"


class TestUsers:
    @pytest.mark.parametrize(("method", "path"), JOB_PATHS)
    async def test_do_not_see_each_others_jobs(self, server: Server, method: str, path: str) -> None:
        bound = await server.new_key("jobs:read", "jobs:write", user_id="ada")
        bobs, nobodys = await server.submit("echo", user_id="bob"), await server.submit("echo")

        for job_id in (bobs, nobodys):
            response = await send(bound, method, path.format(job_id=job_id))

            assert (response.status_code, response.json()["error"]) == (404, "job_not_found")
            assert (await server.ended(job_id))["status"] == "completed"

    @pytest.mark.parametrize(("method", "path"), JOB_PATHS)
    async def test_are_named_by_a_service_in_the_query(self, server: Server, method: str, path: str) -> None:
        job_id = await server.submit("echo", user_id="ada")
        await server.ended(job_id)

        own = await send(server.client, method, path.format(job_id=job_id), params={"user_id": "ada"})
        other = await send(server.client, method, path.format(job_id=job_id), params={"user_id": "bob"})

        assert own.status_code == 200
        assert (other.status_code, other.json()["error"]) == (404, "job_not_found")

    async def test_list_their_own_alone(self, server: Server) -> None:
        bound = await server.new_key("jobs:read", "jobs:write", user_id="ada")
        by_key, by_service = await server.submit("echo", by=bound), await server.submit("echo", user_id="ada")
        await server.submit("echo", user_id="bob")

        assert await list_ids(bound) == await list_ids(server.client, user_id="ada") == {by_key, by_service}
        assert (await server.job(by_key))["user_id"] == "ada"

    async def test_cancel_their_own_alone(self, server: Server) -> None:
        bound = await server.new_key("jobs:write", user_id="ada")
        bobs = await server.submit("echo", user_id="bob")

        by_key = await bound.post(f"{API}/jobs/cancel", json={"job_ids": [bobs]})
        by_service = await server.client.post(f"{API}/jobs/cancel?user_id=ada", json={"job_ids": [bobs]})

        outcomes = [answer.json()["items"][0]["outcome"] for answer in (by_key, by_service)]
        assert outcomes == ["not_found", "not_found"]
        assert (await server.ended(bobs))["status"] == "completed"

    async def test_cannot_act_for_another(self, server: Server) -> None:
        bound = await server.new_key("jobs:read", "jobs:write", user_id="ada")

        submitted = await server.post_job("echo", by=bound, user_id="bob")
        listed = await bound.get(f"{API}/jobs", params={"user_id": "bob"})

        assert (submitted.status_code, listed.status_code) == (403, 403)
        assert await list_ids(server.admin) == set()

    async def test_of_the_same_name_in_two_tenants_are_two(self, server: Server) -> None:
        acme = await server.new_key("jobs:read", "jobs:write", tenant_id="acme", user_id="ada")
        job_id = await server.submit("echo", user_id="ada")

        assert await list_ids(acme) == set()
        assert (await acme.get(f"{API}/jobs/{job_id}")).status_code == 404
