"""Jobs behind a pooler in transaction mode: they run, are cancelled from elsewhere, and share few connections."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, ask, eventually, running_app, say, workflow

JOBS = 300
CANCEL_SECONDS = 1.0  # promised
NOISE_SECONDS = 1.0  # of a busy machine


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


@asynccontextmanager
async def app_behind_pooler(pooled_url: str, folder: Path, fake: FakeLLM, *, has_worker: bool) -> AsyncIterator[Server]:
    async with running_app(
        pooled_url,
        folder,
        llm_url=fake.ollama_url,
        database_pooler="transaction",
        database_pool_size=10,
        embedded_worker=has_worker,
        poll_seconds=0.1,
    ) as server:
        server.files.write(workflow("echo", [say("show", "seen")]))
        server.files.write(workflow("paid", [ask("think", "[[key:${input.key}]]"), say("show", "seen")]))
        server.files.write(workflow("endless", [ask("think", "[[key:think]][[hang]]")]))
        yield server


class TestJobs:
    async def test_run_and_tell_what_they_cost(self, pooled_url: str, tmp_path: Path, fake: FakeLLM) -> None:
        async with app_behind_pooler(pooled_url, tmp_path, fake, has_worker=True) as server:
            job = await server.ended(await server.submit("paid", {"key": "k"}))
            steps = (await server.client.get(f"{API}/jobs/{job['job_id']}/steps")).json()["items"]

        assert (job["status"], len(job["cost_data"]["llm_calls"])) == ("completed", 1)
        assert [step["step_id"] for step in steps] == ["think", "show"]

    async def test_of_another_process_are_found_and_cancelled_without_listening(
        self, pooled_url: str, tmp_path: Path, fake: FakeLLM
    ) -> None:
        async with (
            app_behind_pooler(pooled_url, tmp_path, fake, has_worker=False) as api,
            app_behind_pooler(pooled_url, tmp_path, fake, has_worker=True),
        ):
            job_id = await api.submit("endless")
            await eventually(lambda: api.job(job_id), until=lambda _: fake.started["think"] > 0)

            started = time.monotonic()
            cancelled = await api.client.delete(f"{API}/workflow/{job_id}")
            job = await api.ended(job_id)

        assert (cancelled.json()["outcome"], job["status"]) == ("stopping", "cancelled")
        assert time.monotonic() - started < CANCEL_SECONDS + NOISE_SECONDS

    async def test_by_the_hundred_share_few_connections(self, pooled_url: str, tmp_path: Path, fake: FakeLLM) -> None:
        async with app_behind_pooler(pooled_url, tmp_path, fake, has_worker=True) as server:
            ids = await asyncio.gather(*(server.submit("paid", {"key": f"k{n}"}) for n in range(JOBS)))
            jobs = await asyncio.gather(*(server.ended(job_id) for job_id in ids))

        assert {job["status"] for job in jobs} == {"completed"}
        assert {fake.finished[f"k{n}"] for n in range(JOBS)} == {1}
