"""Cancelling over HTTP, and the order in which jobs are taken: priority, slots, the estimate of the wait."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, ask, eventually, running_app, say, workflow

CANCEL_SECONDS = 1.0  # promised
NOISE_SECONDS = 1.0  # of a busy machine
NO_JOB = "019a9f3e-6f00-7000-8000-000000000001"


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


@pytest.fixture
async def server(database_url: str, tmp_path: Path, fake: FakeLLM) -> AsyncIterator[Server]:
    """One slot: while `endless` runs, everything else is queued."""
    async with running_app(database_url, tmp_path, llm_url=fake.ollama_url, max_running_jobs=1) as server:
        server.files.write(workflow("echo", [say("show", "seen")]))
        server.files.write(workflow("slow", [ask("think", "[[delay:0.5]]")]))
        server.files.write(workflow("endless", [ask("pay", "[[key:pay]]"), ask("think", "[[key:think]][[hang]]")]))
        yield server


async def start_endless(server: Server, fake: FakeLLM) -> str:
    """Return a job whose second call is under way."""
    job_id = await server.submit("endless")
    await eventually(lambda: server.job(job_id), until=lambda _: fake.started["think"] > 0)
    return job_id


class TestCancel:
    async def test_reaches_a_running_call_and_keeps_what_was_paid(self, server: Server, fake: FakeLLM) -> None:
        job_id = await start_endless(server, fake)
        started = time.monotonic()

        response = await server.client.delete(f"{API}/workflow/{job_id}")
        job = await server.ended(job_id)

        assert time.monotonic() - started < CANCEL_SECONDS + NOISE_SECONDS
        assert (response.status_code, response.json()["outcome"]) == (202, "stopping")
        assert (job["status"], job["result"], job["error"]) == ("cancelled", None, None)
        assert [call["step_id"] for call in job["cost_data"]["llm_calls"]] == ["pay"]
        assert (job["steps_completed"], job["current_step"]) == (1, "think")

    async def test_ends_a_queued_job_at_once(self, server: Server, fake: FakeLLM) -> None:
        await start_endless(server, fake)
        queued = await server.submit("echo")

        response = await server.client.delete(f"{API}/workflow/{queued}")

        assert (response.status_code, response.json()["outcome"]) == (202, "cancelled")
        assert response.json()["status"] == (await server.job(queued))["status"] == "cancelled"

    async def test_changes_nothing_about_a_job_that_has_ended(self, server: Server) -> None:
        job_id = await server.submit("echo")
        before = await server.ended(job_id)

        response = await server.client.delete(f"{API}/workflow/{job_id}")

        assert (response.status_code, response.json()["outcome"]) == (200, "already_ended")
        assert await server.job(job_id) == before

    async def test_may_be_repeated(self, server: Server, fake: FakeLLM) -> None:
        job_id = await start_endless(server, fake)

        answers = await asyncio.gather(*[server.client.delete(f"{API}/workflow/{job_id}") for _ in range(10)])

        assert {answer.status_code for answer in answers} <= {200, 202}
        assert (await server.ended(job_id))["status"] == "cancelled"
        assert (await server.client.delete(f"{API}/workflow/{job_id}")).status_code == 200

    async def test_frees_the_slot(self, server: Server, fake: FakeLLM) -> None:
        running = await start_endless(server, fake)
        queued = await server.submit("echo")

        await server.client.delete(f"{API}/workflow/{running}")

        assert (await server.ended(queued))["status"] == "completed"

    async def test_answers_404_for_a_job_that_never_was(self, server: Server) -> None:
        response = await server.client.delete(f"{API}/workflow/{NO_JOB}")

        assert (response.status_code, response.json()["error"]) == (404, "job_not_found")


class TestCancelMany:
    async def test_tells_of_each_in_the_order_of_the_request(self, server: Server, fake: FakeLLM) -> None:
        ended = await server.submit("echo")
        await server.ended(ended)
        running = await start_endless(server, fake)
        queued = await server.submit("echo")
        job_ids = [queued, NO_JOB, running, ended, queued]

        response = await server.client.post(f"{API}/jobs/cancel", json={"job_ids": job_ids})

        items = response.json()["items"]
        assert [item["job_id"] for item in items] == job_ids
        assert [item["outcome"] for item in items] == [
            "cancelled",
            "not_found",
            "stopping",
            "already_ended",
            "cancelled",
        ]
        assert (await server.ended(running))["status"] == "cancelled"

    @pytest.mark.parametrize(
        "job_ids", [[], ["x"], [None], "all", [NO_JOB] * 101], ids=["none", "no id", "null", "text", "too many"]
    )
    async def test_refuses_what_are_no_jobs(self, server: Server, job_ids: object) -> None:
        response = await server.client.post(f"{API}/jobs/cancel", json={"job_ids": job_ids})

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"].startswith("/body/job_ids")


class TestPriority:
    async def test_decides_who_is_next_and_age_where_it_is_the_same(self, server: Server, fake: FakeLLM) -> None:
        blocker = await start_endless(server, fake)
        priorities = [0, 5, 10, 5, 0, 10]
        ids = [await server.submit("echo", priority=priority) for priority in priorities]

        await server.client.delete(f"{API}/workflow/{blocker}")
        jobs = [await server.ended(job_id) for job_id in ids]

        taken = sorted(range(6), key=lambda index: jobs[index]["started_at"])
        assert taken == [2, 5, 1, 3, 0, 4]


class TestEstimatedWait:
    async def test_grows_with_the_queue_and_shrinks_with_priority(self, server: Server, fake: FakeLLM) -> None:
        await server.ended(await server.submit("slow"))  # jobs take half a second here
        first = (await server.post_job("endless")).json()["estimated_wait_seconds"]
        for _ in range(9):
            await server.submit("slow")
        await asyncio.sleep(1.1)  # the numbers are read once a second

        last = (await server.post_job("slow")).json()["estimated_wait_seconds"]
        urgent = (await server.post_job("slow", priority=10)).json()["estimated_wait_seconds"]

        assert first == 0
        assert 4 <= last <= 8  # 9 ahead, one slot: 10 x 0.5 s, and what the machine adds
        assert urgent <= 1
