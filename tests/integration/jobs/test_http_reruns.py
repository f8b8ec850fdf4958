"""Retry and fork over HTTP: what was done is kept and not paid again."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, ask, running_app, say, workflow


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


def steps(last: str = '[[key:last]] ${input.tone ?? "plain"}') -> list[dict[str, Any]]:
    branches = {"a": [ask("left", "[[key:left]]")], "b": [ask("right", "[[key:right]]")]}
    return [
        ask("first", "[[key:first]]"),
        {"id": "both", "type": "parallel", "config": {"branches": branches}},
        ask("last", last),
    ]


@pytest.fixture
async def server(database_url: str, tmp_path: Path, fake: FakeLLM) -> AsyncIterator[Server]:
    async with running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
        server.files.write(workflow("good", steps()))
        server.files.write(workflow("bad", steps("[[key:last]] [[fail:400]]")))
        server.files.write(workflow("asks", [{"id": "ok", "type": "approval", "config": {}}]))
        yield server


async def ended(server: Server, name: str, **input_data: Any) -> str:
    job_id = await server.submit(name, input_data)
    await server.ended(job_id)
    return job_id


class TestRetry:
    async def test_goes_on_from_the_failed_step_and_pays_nothing_again(self, server: Server, fake: FakeLLM) -> None:
        job_id = await ended(server, "bad")
        before = dict(fake.finished)

        response = await server.client.post(f"{API}/jobs/{job_id}/retry")
        job = await server.ended(job_id)

        assert (response.status_code, response.json()["job_id"]) == (202, job_id)
        assert (job["status"], job["attempt"], job["error"]["step_id"]) == ("failed", 2, "last")
        assert {key: fake.finished[key] for key in ("first", "left", "right")} == {
            key: before[key] for key in ("first", "left", "right")
        }

    async def test_asks_people_anew_after_a_cancel(self, server: Server) -> None:
        job_id = await server.submit("asks")
        await server.until(job_id, "waiting")
        await server.client.delete(f"{API}/workflow/{job_id}")

        await server.client.post(f"{API}/jobs/{job_id}/retry")
        await server.until(job_id, "waiting")
        await server.client.post(f"{API}/jobs/{job_id}/approvals/ok", json={"answer": 1})

        job = await server.ended(job_id)
        assert (job["status"], job["attempt"], job["result"]["answer"]) == ("completed", 2, 1)

    async def test_of_a_job_that_did_not_fail_is_409(self, server: Server) -> None:
        job_id = await ended(server, "good")

        response = await server.client.post(f"{API}/jobs/{job_id}/retry")

        assert (response.status_code, response.json()["error"]) == (409, "illegal_move")

    async def test_sent_twice_with_one_key_is_one(self, server: Server) -> None:
        job_id = await ended(server, "bad")
        headers = {"Idempotency-Key": "again"}

        first = await server.client.post(f"{API}/jobs/{job_id}/retry", headers=headers)
        await server.ended(job_id)
        second = await server.client.post(f"{API}/jobs/{job_id}/retry", headers=headers)

        assert (first.status_code, second.status_code) == (202, 202)
        assert second.headers["Idempotency-Replayed"] == "true"
        assert (await server.job(job_id))["attempt"] == 2


class TestFork:
    async def test_takes_over_what_stands_before_at_no_cost(self, server: Server, fake: FakeLLM) -> None:
        job_id = await ended(server, "good")

        response = await server.client.post(f"{API}/jobs/{job_id}/fork", json={"from_step": "last"})
        fork = await server.ended(response.json()["job_id"])

        assert (fork["status"], fork["steps_completed"]) == ("completed", 3)
        assert [fake.finished[key] for key in ("first", "left", "right", "last")] == [1, 1, 1, 2]
        assert [call["step_id"] for call in fork["cost_data"]["llm_calls"]] == ["last"]

    async def test_runs_the_rest_with_another_input(self, server: Server, fake: FakeLLM) -> None:
        job_id = await ended(server, "good")
        body = {"from_step": "last", "input_data": {"tone": "formal"}}

        fork = await server.client.post(f"{API}/jobs/{job_id}/fork", json=body)
        await server.ended(fork.json()["job_id"])

        assert "formal" in str(fake.requests[-1])

    async def test_takes_a_definition_that_changes_what_comes_after(self, server: Server) -> None:
        job_id = await ended(server, "good")
        definition = workflow("good", [*steps()[:2], say("other", "new")])
        body = {"from_step": "other", "definition": definition}

        refused = await server.client.post(f"{API}/jobs/{job_id}/fork", json=body)
        response = await server.admin.post(f"{API}/jobs/{job_id}/fork", json=body)

        assert refused.status_code == 403  # needs workflows:write
        fork = await server.ended(response.json()["job_id"])
        assert fork["result"]["value"] == "new"

    async def test_refuses_a_definition_that_changes_what_stands_before(self, server: Server) -> None:
        job_id = await ended(server, "good")
        definition = workflow("good", [ask("first", "another"), *steps()[1:]])

        response = await server.admin.post(
            f"{API}/jobs/{job_id}/fork", json={"from_step": "last", "definition": definition}
        )

        assert (response.status_code, response.json()["error"]) == (422, "fork_refused")
        assert response.json()["errors"][0]["pointer"] == "/body/definition/steps/0"

    @pytest.mark.parametrize(
        ("name", "from_step", "says"),
        [("good", "nothing", "no top-level step"), ("good", "left", "no top-level step"), ("asks", "ok", None)],
        ids=["unknown", "inside a container", "the first"],
    )
    async def test_begins_at_top_level_steps_alone(
        self, server: Server, name: str, from_step: str, says: str | None
    ) -> None:
        job_id = await server.submit(name)

        response = await server.client.post(f"{API}/jobs/{job_id}/fork", json={"from_step": from_step})

        assert response.status_code == (202 if says is None else 422)
        assert says is None or says in response.json()["detail"]

    async def test_refuses_what_is_not_done_yet(self, server: Server) -> None:
        server.files.write(workflow("late", [{"id": "ok", "type": "approval", "config": {}}, say("end", "x")]))
        job_id = await server.submit("late")
        await server.until(job_id, "waiting")

        response = await server.client.post(f"{API}/jobs/{job_id}/fork", json={"from_step": "end"})

        assert (response.status_code, response.json()["error"]) == (422, "fork_refused")
        assert '"ok"' in response.json()["detail"]

    async def test_takes_over_outputs_that_are_kept_apart(self, server: Server) -> None:
        server.files.write(workflow("large", [say("big", "x" * 300_000), say("end", "${steps.big.output}")]))
        job_id = await ended(server, "large")

        response = await server.client.post(f"{API}/jobs/{job_id}/fork", json={"from_step": "end"})
        fork = await server.ended(response.json()["job_id"])

        assert len(fork["result"]["value"]) == 300_000
