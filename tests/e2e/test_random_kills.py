"""P1-P3 with fifty jobs in flight: servers and workers that are killed at random moments, or told to stop."""

import asyncio
import json
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from callboard.core.database import Database
from callboard.jobs.models import Job, JobStep
from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage
from tests.fixtures.processes import (
    environment_of,
    fake_provider,
    finished_calls,
    free_port,
    post_json,
    process,
    wait_until_ready,
)

JOBS = 50
KILLS = 3
CALLS = ("first", "second", "third")
END_SECONDS = 90
KEY = "admin-key-of-the-operator"


@dataclass
class Fleet:
    """A server, perhaps a worker beside it, a database and the fake provider."""

    database_url: str
    provider_url: str
    folder: Path
    stack: ExitStack
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start_server(self) -> subprocess.Popen[str]:
        running = self._start("serve")
        wait_until_ready(self.url, running)
        return running

    def start_worker(self) -> subprocess.Popen[str]:
        running = self._start("worker", "--json")
        assert running.stdout is not None
        assert running.stdout.readline(), "the worker ended; its log is above"
        return running

    def submit_jobs(self, count: int) -> None:
        for number in range(count):
            body = {"workflow_name": "three_calls", "input_data": {"key": f"j{number}"}}
            post_json(f"{self.url}/api/v1/workflow", body, KEY)

    def read(self, query: Any) -> list[Any]:
        async def rows() -> list[Any]:
            database = Database(self.database_url)
            async with database.reads() as session:
                found = list((await session.execute(query)).all())
            await database.close()
            return found

        return asyncio.run(rows())

    def journaled_calls(self) -> set[str]:
        """Return the provider's keys of all calls that stand in the journal."""
        query = sa.select(Job.input_data, JobStep.path).join(JobStep).where(JobStep.path.like("%#1"))
        return {f"{json.loads(row[0])['key']}-{row[1].removesuffix('#1')}" for row in self.read(query)}

    def wait_for_all_to_end(self, count: int) -> None:
        until = time.monotonic() + END_SECONDS
        while time.monotonic() < until:
            statuses = self.statuses()
            if len(statuses) == count and set(statuses) <= {"completed", "failed", "cancelled"}:
                return
            time.sleep(0.2)
        raise AssertionError(f"after {END_SECONDS} s: {sorted(self.statuses())}")

    def statuses(self) -> list[str]:
        return [row[0] for row in self.read(sa.select(Job.status))]

    def count(self, model: Any) -> int:
        return int(self.read(sa.select(sa.func.count()).select_from(model))[0][0])

    def _start(self, *command: str) -> subprocess.Popen[str]:
        settings = {
            "database_url": self.database_url.replace("+aiosqlite", "").replace("+asyncpg", ""),
            "callboard_home": self.folder / "home",
            "workflows_dir": self.folder / "definitions",
            "prompts_dir": self.folder / "prompts",
            "admin_api_key": KEY,
            "openai_compatible_base_url": self.provider_url,
            "default_llm_provider": "openai_compatible",
            "default_llm_model_name": "gpt-4o",
            "port": self.port,
            "poll_seconds": 0.2,
            "log_level": "ERROR",
        }
        return self.stack.enter_context(
            process("-m", "callboard.cli.main", *command, environment=environment_of(settings))
        )


@pytest.fixture
def fleet(database_url: str, tmp_path: Path) -> Iterator[Fleet]:
    steps = [
        {"id": step, "type": "llm", "config": {"prompt_text": f"[[key:${{input.key}}-{step}]] [[delay:0.3]] {step}"}}
        for step in CALLS
    ]
    (tmp_path / "definitions").mkdir()
    (tmp_path / "definitions" / "three_calls.json").write_text(json.dumps({"name": "three_calls", "steps": steps}))
    with fake_provider() as provider_url, ExitStack() as stack:
        yield Fleet(database_url, provider_url, tmp_path, stack)


class TestKillsAtRandomMoments:
    @pytest.mark.parametrize("has_worker_beside", [False, True], ids=["alone", "with a second worker"])
    def test_every_job_ends_and_no_journaled_call_is_paid_again(self, fleet: Fleet, *, has_worker_beside: bool) -> None:
        moments = random.Random(20261120)
        server = fleet.start_server()
        worker = fleet.start_worker() if has_worker_beside else None
        fleet.submit_jobs(JOBS)

        for number in range(KILLS):
            time.sleep(moments.uniform(0.1, 0.6))
            if worker is not None and number % 2:
                _kill(worker)
                journaled, paid = fleet.journaled_calls(), finished_calls(fleet.provider_url)
                worker = fleet.start_worker()
            else:
                _kill(server)
                journaled, paid = fleet.journaled_calls(), finished_calls(fleet.provider_url)
                server = fleet.start_server()
            fleet.wait_for_all_to_end(JOBS) if number == KILLS - 1 else None
            now_paid = finished_calls(fleet.provider_url)
            assert {call: now_paid[call] for call in journaled} == {call: paid[call] for call in journaled}

        assert fleet.statuses() == ["completed"] * JOBS
        assert fleet.count(OutboxMessage) == JOBS
        assert len(fleet.journaled_calls()) == JOBS * len(CALLS)
        assert fleet.count(ProviderUsage) == JOBS * len(CALLS)


class TestSigterm:
    def test_lets_calls_in_flight_finish_and_hands_the_rest_back(self, fleet: Fleet) -> None:
        server = fleet.start_server()
        fleet.submit_jobs(20)
        time.sleep(0.35)

        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=20) == 0

        paid = finished_calls(fleet.provider_url)
        assert paid
        assert set(paid) == fleet.journaled_calls()  # what was paid for while stopping was kept
        assert "processing" not in fleet.statuses()
        fleet.start_server()
        fleet.wait_for_all_to_end(20)
        assert set(finished_calls(fleet.provider_url).values()) == {1}
        assert fleet.statuses() == ["completed"] * 20


def _kill(running: subprocess.Popen[str]) -> None:
    running.kill()
    running.wait(10)
