"""Asking for jobs: ETag, ?wait=, lists with their filters and pages, steps."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, ask, eventually, running_app, say, workflow

NO_JOB = "019a9f3e-6f00-7000-8000-000000000001"


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """`echo` ends at once, `slow` after half a second, `endless` never."""
    async with FakeLLM() as fake, running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
        server.files.write(workflow("echo", [say("show", "seen")]))
        server.files.write(workflow("slow", [ask("think", "[[delay:0.5]]")]))
        server.files.write(workflow("endless", [say("show", "seen"), ask("think", "[[hang]]")]))
        yield server


@pytest.fixture
async def sqlite_server(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """For what has nothing to do with the database."""
    async with running_app(sqlite_url, tmp_path) as server:
        yield server


async def list_page(server: Server, **params: Any) -> dict[str, Any]:
    response = await server.client.get(f"{API}/jobs", params=params)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


async def list_ids(server: Server, **params: Any) -> list[str]:
    return [job["job_id"] for job in (await list_page(server, **params))["jobs"]]


class TestEtag:
    async def test_answers_304_while_the_job_is_as_it_was(self, server: Server) -> None:
        job_id = await server.submit("echo")
        await server.ended(job_id)
        first = await server.client.get(f"{API}/status/{job_id}")
        etag = first.headers["etag"]

        for condition in (etag, f'"x", {etag}', "*"):
            again = await server.client.get(f"{API}/jobs/{job_id}", headers={"If-None-Match": condition})

            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)

    async def test_changes_with_the_job(self, server: Server) -> None:
        job_id = await server.submit("slow")
        before = await server.client.get(f"{API}/status/{job_id}")

        after = await server.client.get(
            f"{API}/status/{job_id}", params={"wait": 20}, headers={"If-None-Match": before.headers["etag"]}
        )

        assert (after.status_code, after.json()["status"]) == (200, "completed")
        assert after.headers["etag"] != before.headers["etag"]

    async def test_of_another_job_says_nothing(self, server: Server) -> None:
        one, other = await server.submit("echo"), await server.submit("echo")
        await server.ended(one)
        await server.ended(other)
        etag = (await server.client.get(f"{API}/status/{one}")).headers["etag"]

        response = await server.client.get(f"{API}/status/{other}", headers={"If-None-Match": etag})

        assert response.status_code == 200


class TestWait:
    async def test_answers_as_soon_as_the_job_has_ended(self, server: Server) -> None:
        job_id = await server.submit("slow")
        started = time.monotonic()

        job = (await server.client.get(f"{API}/status/{job_id}", params={"wait": 30})).json()

        assert job["status"] == "completed"
        assert time.monotonic() - started < 5  # the call takes 0.5 s

    async def test_answers_after_its_seconds_when_the_job_goes_on(self, server: Server) -> None:
        job_id = await server.submit("endless")
        started = time.monotonic()

        job = (await server.client.get(f"{API}/jobs/{job_id}", params={"wait": 0.4})).json()

        assert job["status"] == "processing"
        assert 0.4 <= time.monotonic() - started < 3

    async def test_serves_many_waiters_with_few_connections(self, server: Server) -> None:
        job_id = await server.submit("slow")
        waiters = [server.client.get(f"{API}/status/{job_id}", params={"wait": 20}) for _ in range(50)]

        answers = await asyncio.gather(*waiters)

        assert {answer.json()["status"] for answer in answers} == {"completed"}

    async def test_ends_with_a_cancel(self, server: Server) -> None:
        job_id = await server.submit("endless")
        waiting = asyncio.create_task(server.client.get(f"{API}/status/{job_id}", params={"wait": 20}))
        await server.until(job_id, "processing")

        await server.client.delete(f"{API}/workflow/{job_id}")

        assert (await asyncio.wait_for(waiting, 5)).json()["status"] == "cancelled"

    @pytest.mark.parametrize("wait", ["-1", "31", "nan", "inf", "x", ""])
    async def test_is_a_number_of_seconds(self, sqlite_server: Server, wait: str) -> None:
        response = await sqlite_server.client.get(f"{API}/status/{NO_JOB}", params={"wait": wait})

        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == ["/query/wait"]


class TestRead:
    @pytest.mark.parametrize("path", ["/status/{}", "/jobs/{}", "/jobs/{}/steps", "/jobs/{}/usage"])
    async def test_answers_404_for_a_job_that_never_was(self, server: Server, path: str) -> None:
        response = await server.client.get(API + path.format(NO_JOB))

        assert (response.status_code, response.json()["error"]) == (404, "job_not_found")
        assert NO_JOB in response.json()["detail"]

    async def test_shows_how_far_a_running_job_is(self, server: Server) -> None:
        job_id = await server.submit("endless")
        job = await eventually(lambda: server.job(job_id), until=lambda job: job["current_step"] == "think")

        assert (job["status"], job["steps_completed"], job["total_steps"]) == ("processing", 1, 2)
        assert (job["result"], job["error"], job["completed_at"]) == (None, None, None)


class TestList:
    async def test_walks_through_all_exactly_once_while_new_ones_come(self, server: Server) -> None:
        ids = [await server.submit("echo") for _ in range(7)]
        seen: list[str] = []
        cursor: str | None = ""

        while cursor is not None:
            page = await list_page(server, limit=3, **({"cursor": cursor} if cursor else {}))
            seen += [job["job_id"] for job in page["jobs"]]
            cursor = page["next_cursor"]
            await server.submit("echo")

        assert seen == ids[::-1]

    async def test_takes_an_offset_from_older_clients(self, server: Server) -> None:
        ids = [await server.submit("echo") for _ in range(4)]

        assert await list_ids(server, offset=1, limit=2) == [ids[2], ids[1]]
        assert await list_ids(server, offset=4) == []

    async def test_filters_by_status(self, server: Server) -> None:
        done, running = await server.submit("echo"), await server.submit("endless")
        await server.ended(done)
        await server.until(running, "processing")

        assert await list_ids(server, status="completed") == [done]
        assert await list_ids(server, status="running") == await list_ids(server, status="processing") == [running]
        assert await list_ids(server, status=["completed", "processing"]) == [running, done]
        assert await list_ids(server, status="failed") == []

    async def test_filters_by_workflow_user_and_time(self, server: Server) -> None:
        first = await server.submit("echo", user_id="ada")
        second = await server.submit("slow", user_id="bob")
        moment = datetime.fromisoformat((await server.job(second))["created_at"])
        at = moment.isoformat()

        assert await list_ids(server, workflow_name="echo") == [first]
        assert await list_ids(server, user_id="bob") == [second]
        assert await list_ids(server, workflow_name="echo", user_id="bob") == []
        assert await list_ids(server, created_before=at) == [first]
        assert await list_ids(server, created_after=(moment - timedelta(microseconds=1)).isoformat()) == [second]
        assert await list_ids(server, created_after=at) == []

    async def test_takes_times_in_any_zone_and_without_one_as_utc(self, server: Server) -> None:
        job_id = await server.submit("echo")

        for before in ("2999-01-01T00:00:00+23:59", "2999-01-01T00:00:00Z", "2999-01-01T00:00:00", "2999-01-01"):
            assert await list_ids(server, created_before=before) == [job_id]
            assert await list_ids(server, created_after=before) == []

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=201",
            "limit=x",
            "cursor=abc",
            "cursor=%00",
            "cursor=%F0%9F%98%80",
            "offset=-1",
            "offset=1000001",
            "status=done",
            "status=queued&status=nothing",
            "created_after=yesterday",
            "created_after=1700000000",
            "created_before=9999-12-31T23:59:59-23:59",
            "created_after=0001-01-01T00:00:00%2B23:59",
            "workflow_name=%00",
            "user_id=%00",
            "limit=5&limit=6",
        ],
    )
    async def test_refuses_what_cannot_be_meant(self, sqlite_server: Server, query: str) -> None:
        response = await sqlite_server.client.get(f"{API}/jobs?{query}")

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"].startswith("/query/" + query.partition("=")[0])


class TestSteps:
    async def test_show_what_each_gave_and_what_runs_now(self, server: Server) -> None:
        job_id = await server.submit("endless")
        path = f"{API}/jobs/{job_id}/steps"
        answer = await eventually(
            lambda: server.client.get(path), until=lambda answer: len(answer.json()["items"]) == 2
        )

        items = answer.json()["items"]
        assert [(item["path"], item["type"], item["status"]) for item in items] == [
            ("show", "transform", "succeeded"),
            ("think", "llm", "running"),
        ]
        assert (items[0]["output"], items[1]["completed_at"]) == ("seen", None)

    async def test_come_in_pages_without_a_gap(self, server: Server) -> None:
        branches = {"type": "parallel", "id": "all", "config": {"steps": [say(f"b{n}", str(n)) for n in range(5)]}}
        server.files.write(workflow("wide", [branches, say("last", "end")]))
        job_id = await server.submit("wide")
        await server.ended(job_id)
        paths: list[str] = []
        params: dict[str, Any] = {"limit": 2}

        while True:
            page = (await server.client.get(f"{API}/jobs/{job_id}/steps", params=params)).json()
            paths += [item["path"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            params["cursor"] = page["next_cursor"]

        assert sorted(paths) == sorted(["all", "last", *(f"all/b{n}" for n in range(5))])

    @pytest.mark.parametrize(
        "cursor",
        [
            "abc",
            "MDAwMS0wMS0wMVQwMDowMDowMCsyMzo1OSBh",  # 0001-01-01T00:00:00+23:59 a
            "OTk5OS0xMi0zMVQyMzo1OTo1OS0yMzo1OSBh",  # 9999-12-31T23:59:59-23:59 a
            "MjAyNi0wMS0wMVQwMDowMDowMFogAA==",  # a path of NUL
        ],
        ids=["no cursor", "before all time", "after all time", "NUL"],
    )
    async def test_refuse_a_cursor_that_no_page_gave(self, server: Server, cursor: str) -> None:
        job_id = await server.submit("echo")

        response = await server.client.get(f"{API}/jobs/{job_id}/steps", params={"cursor": cursor})

        assert (response.status_code, response.json()["error"]) == (422, "invalid_cursor")
