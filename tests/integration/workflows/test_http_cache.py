"""Kept answers as callers see them: the second job costs nothing, after a restart too, and in its own tenant alone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import Server, ask, running_app, workflow

QUESTION = "[[key:asked]] [[say:Paris]] [[tokens:100:10]] The capital of France?"


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


async def run(server: Server, **options: Any) -> dict[str, Any]:
    """Run the workflow and return its job."""
    step = ask("draft", QUESTION)
    step["config"]["cache_ttl"] = 600
    server.files.write(workflow("capital", [step]))
    return await server.ended(await server.submit("capital", **options))


def cost_of(job: dict[str, Any]) -> tuple[float, int]:
    costs = job["result"]["cost_data"]
    return float(costs["total_cost_usd"]), costs["total_tokens"]


class TestCacheTtl:
    async def test_the_second_job_costs_nothing_after_a_restart_too(
        self, database_url: str, tmp_path: Path, fake: FakeLLM
    ) -> None:
        async with running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
            jobs = [await run(server), await run(server)]
        async with running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
            jobs.append(await run(server))

        assert [job["result"]["content"] for job in jobs] == ["Paris"] * 3
        assert [job["result"]["cached"] for job in jobs] == [False, True, True]
        assert cost_of(jobs[0])[1] == 110
        assert cost_of(jobs[1]) == cost_of(jobs[2]) == (0, 0)
        assert fake.finished["asked"] == 1

    async def test_another_tenant_pays_for_itself(self, sqlite_url: str, tmp_path: Path, fake: FakeLLM) -> None:
        async with running_app(sqlite_url, tmp_path, llm_url=fake.ollama_url) as server:
            other = await server.new_key("jobs:read", "jobs:write", tenant_id="other")

            jobs = [await run(server), await run(server, by=other), await run(server, by=other)]

        assert [job["result"]["cached"] for job in jobs] == [False, False, True]
        assert fake.finished["asked"] == 2

    async def test_a_streamed_answer_is_journaled_as_any_other(
        self, sqlite_url: str, tmp_path: Path, fake: FakeLLM
    ) -> None:
        step = ask("draft", QUESTION)
        step["config"]["stream"] = True

        async with running_app(sqlite_url, tmp_path, llm_url=fake.ollama_url) as server:
            server.files.write(workflow("streamed", [step]))
            job = await server.ended(await server.submit("streamed"))

        assert (job["result"]["content"], job["result"]["usage"]["total_tokens"]) == ("Paris", 110)
        assert fake.requests[0].body["stream"] is True
