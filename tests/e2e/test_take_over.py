"""P2 and P3 between processes: one is killed or frozen in the middle, another goes on, and nothing is paid twice."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from callboard.core.database import Database
from callboard.jobs.models import Job, JobStep, Worker
from callboard.llm.models import ProviderUsage
from tests.fixtures.processes import (
    environment_of,
    fake_provider,
    finished_calls,
    free_port,
    post_json,
    process,
    wait_until_ready,
)

KEY = "admin-key-of-the-operator"
CALLS = ("first", "second", "third")
END_SECONDS = 60
LEASE_SECONDS = 2
JOBS = sa.select(Job.status, Job.fence)
LIVING = sa.select(Worker.pid).where(Worker.dead_at.is_(None), Worker.stopped_at.is_(None))


@dataclass
class Neighbours:
    """A server that runs no jobs, and workers beside it, on one database."""

    database_url: str
    provider_url: str
    folder: Path
    stack: ExitStack
    lease_seconds: int = 60
    port: int = field(default_factory=free_port)

    def start_server(self) -> None:
        running = self._start("serve", "--no-worker")
        wait_until_ready(f"http://127.0.0.1:{self.port}", running)

    def start_worker(self) -> subprocess.Popen[str]:
        running = self._start("worker", "--json")
        assert running.stdout is not None
        assert running.stdout.readline(), "the worker ended; its log is above"
        return running

    def submit(self, count: int) -> None:
        for number in range(count):
            body = {"workflow_name": "three_calls", "input_data": {"key": f"j{number}"}}
            post_json(f"http://127.0.0.1:{self.port}/api/v1/workflow", body, KEY)

    def read(self, query: Any) -> list[Any]:
        async def rows() -> list[Any]:
            database = Database(self.database_url)
            async with database.reads() as session:
                found = list((await session.execute(query)).all())
            await database.close()
            return found

        return asyncio.run(rows())

    def statuses(self) -> list[str]:
        return [row.status for row in self.read(sa.select(Job.status))]

    def journaled(self) -> set[str]:
        """Return the provider's keys of the calls that stand in the journal."""
        query = sa.select(Job.input_data, JobStep.path).join(JobStep).where(JobStep.path.like("%#1"))
        return {f"{json.loads(row[0])['key']}-{row[1].removesuffix('#1')}" for row in self.read(query)}

    def paid(self) -> dict[str, int]:
        return finished_calls(self.provider_url)

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
            "lease_seconds": self.lease_seconds,
            "poll_seconds": 0.2,
            "log_level": "ERROR",
        }
        return self.stack.enter_context(
            process("-m", "callboard.cli.main", *command, environment=environment_of(settings))
        )


@pytest.fixture
def neighbours(database_url: str, tmp_path: Path) -> Iterator[Neighbours]:
    steps = [
        {"id": step, "type": "llm", "config": {"prompt_text": f"[[key:${{input.key}}-{step}]] [[delay:0.4]] {step}"}}
        for step in CALLS
    ]
    for folder in ("definitions", "prompts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "definitions" / "three_calls.json").write_text(json.dumps({"name": "three_calls", "steps": steps}))
    with fake_provider() as provider_url, ExitStack() as stack:
        yield Neighbours(database_url, provider_url, tmp_path, stack)


class TestAKilledWorker:
    def test_is_replaced_at_once_by_another_one_of_its_host(self, neighbours: Neighbours) -> None:
        first = neighbours.start_worker()
        neighbours.start_server()
        neighbours.submit(10)
        until(lambda: len(neighbours.journaled()) >= 10)
        neighbours.start_worker()

        first.kill()
        first.wait(10)
        journaled, paid = neighbours.journaled(), neighbours.paid()
        until(lambda: neighbours.statuses() == ["completed"] * 10, seconds=30)  # the lease is 60 s

        now_paid = neighbours.paid()
        assert {call: now_paid[call] for call in journaled} == {call: paid[call] for call in journaled}
        assert len(neighbours.journaled()) == 30
        assert set(now_paid.values()) <= {1, 2}  # the call in flight


class TestAFrozenWorker:
    def test_is_replaced_when_its_lease_ends_and_comes_back_as_a_new_worker(self, neighbours: Neighbours) -> None:
        neighbours.lease_seconds = LEASE_SECONDS
        frozen = neighbours.start_worker()
        neighbours.start_server()
        neighbours.submit(10)
        until(lambda: len(neighbours.journaled()) >= 5)
        neighbours.start_worker()
        time.sleep(0.2)  # calls are in flight

        os.kill(frozen.pid, signal.SIGSTOP)
        journaled, paid = neighbours.journaled(), neighbours.paid()
        until(lambda: any(row.dead_at for row in neighbours.read(sa.select(Worker.dead_at))))
        until(lambda: all(row.fence > 1 or row.status == "completed" for row in neighbours.read(JOBS)))
        os.kill(frozen.pid, signal.SIGCONT)
        until(lambda: neighbours.statuses() == ["completed"] * 10)

        now_paid = neighbours.paid()
        assert {call: now_paid[call] for call in journaled} == {call: paid[call] for call in journaled}
        assert set(now_paid.values()) <= {1, 2}
        until(lambda: len(neighbours.read(LIVING)) == 2)  # the woken one has another row
        assert frozen.pid in {row.pid for row in neighbours.read(LIVING)}
        assert len(neighbours.journaled()) == 30
        until(lambda: len(neighbours.read(sa.select(ProviderUsage.id))) == sum(neighbours.paid().values()))


def until(is_so: Callable[[], bool], *, seconds: float = END_SECONDS) -> None:
    """Return when `is_so`."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"not so after {seconds} s"
        time.sleep(0.1)
