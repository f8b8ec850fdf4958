"""What a scenario runs on: servers, workers, provider and broker in processes of their own, and a private PostgreSQL.

`scenarios.py` drives it; everything ends with the `ExitStack` that it was made with.
"""

import json
import os
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack, closing
from http.client import HTTPException
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from callboard.jobs.models import Job, Worker
from callboard.llm.models import ProviderUsage
from tests.chaos.workflows import BUDGETS_USD, DEFINITIONS, INPUT, JOB_SECONDS
from tests.fixtures.databases import migrate
from tests.fixtures.postgres_server import PostgresServer, open_private_server
from tests.fixtures.processes import fake_provider, finished_calls
from tests.fixtures.queue_rigs import KEY, QueueRig, broker_of, until

TRY_AGAIN_SECONDS = 0.2
GIVE_UP_SECONDS = 120
LOCK_SECONDS = 2.0  # for which nobody holds SQLite's lock who runs
UNREACHABLE = (urllib.error.URLError, HTTPException, OSError)


class Stand(QueueRig):
    """A rig on a database of its own, whose processes are killed, frozen and replaced."""

    def __init__(
        self, adapter: str, *, stack: ExitStack, folder: Path, postgres: PostgresServer | None = None, **settings: Any
    ) -> None:
        self.folder = folder
        self.postgres = postgres
        self.database_name = f"callboard_chaos_{uuid4().hex[:12]}"
        if adapter == "embedded-sqlite":
            database_url = f"sqlite+aiosqlite:///{folder / 'callboard.db'}"
        else:
            self.postgres = postgres or open_postgres(stack)
            self.postgres.execute(f"CREATE DATABASE {self.database_name}")
            database_url = self.postgres.url(self.database_name)
        migrate(database_url)
        self.database_url = database_url
        self.provider_url = stack.enter_context(fake_provider())
        super().__init__(
            adapter,
            stack=stack,
            folder=folder,
            database_url=database_url,
            provider_url=self.provider_url,
            broker=broker_of(adapter, stack),
            **settings,
        )
        for name, (steps, outputs) in DEFINITIONS.items():
            body = {
                "name": name,
                "timeout_seconds": JOB_SECONDS,
                "input_schema": INPUT,
                "steps": steps,
                "outputs": outputs,
            }
            (folder / "definitions" / f"{name}.json").write_text(json.dumps(body))
        self.workers: list[subprocess.Popen[str]] = []
        self.server: subprocess.Popen[str] | None = None

    def start_all(self, *, workers: int) -> None:
        """Start the server and `workers` workers, and return when all are ready."""
        for _ in range(workers):
            self.add_worker()
        self.server = self.start_server()
        for worker in self.workers:
            self.until_registered(worker)

    def add_worker(self) -> subprocess.Popen[str]:
        """Start one worker more and return it at once."""
        worker = self.spawn_worker()
        self.workers.append(worker)
        return worker

    def until_registered(self, worker: subprocess.Popen[str]) -> None:
        until(lambda: self.has_registered(worker), seconds=GIVE_UP_SECONDS)

    def ready_workers(self) -> list[subprocess.Popen[str]]:
        """Return the workers that take work now."""
        pids = {row.pid for row in self.living_workers()}
        return [worker for worker in self.workers if worker.pid in pids and worker.poll() is None]

    def held_by(self, worker: subprocess.Popen[str]) -> int:
        """Return how many jobs the worker, and what it started to run suspects, hold now."""
        pids = [worker.pid, *_children_of(worker.pid)]
        query = sa.select(sa.func.count()).select_from(Job).join(Worker, Worker.id == Job.owner)
        held = self.read(query.where(Job.status == "processing", Worker.pid.in_(pids)))
        return int(held[0][0])

    def is_locked(self) -> bool:
        """Return whether a process keeps every other one from writing: SQLite has one lock, for the whole file."""
        if not self.database_url.startswith("sqlite"):
            return False
        with closing(sqlite3.connect(self.folder / "callboard.db", timeout=LOCK_SECONDS)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False

    def until_dead(self, worker: subprocess.Popen[str]) -> None:
        """Return when another worker has marked this one dead."""
        until(lambda: worker.pid not in {row.pid for row in self.living_workers()}, seconds=GIVE_UP_SECONDS)

    def usage_rows(self) -> int:
        """Return how many calls the database has counted."""
        return int(self.read(sa.select(sa.func.count()).select_from(ProviderUsage))[0][0])

    def jobs_by_key(self, workflow: str) -> dict[UUID, tuple[str, str]]:
        """Return workflow and key of each job that is there, by its id."""
        rows = self.read(sa.select(Job.id, Job.input_data))
        return {row.id: (workflow, json.loads(row.input_data)["key"]) for row in rows}

    def kill(self, worker: subprocess.Popen[str]) -> None:
        """End a worker with SIGKILL."""
        worker.kill()
        worker.wait(10)
        self.workers.remove(worker)

    def restart_server(self) -> None:
        """Kill the server and start another one in its place."""
        assert self.server is not None
        self.server.kill()
        self.server.wait(10)
        self.server = self.start_server()

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """Return status and answer of one request. Raises: one of UNREACHABLE."""
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Key": KEY, "Content-Type": "application/json", **headers},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refusal:
            return refusal.code, json.load(refusal)

    def surely_send(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
        """Send until there is an answer that is no 5xx, as a client with patience does."""
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while True:
            try:
                status, answer = self.send(method, path, body, **headers)
            except UNREACHABLE as error:
                status, answer = 503, {"error": str(error)}
            if status < 500:
                return status, answer
            assert time.monotonic() < give_up_at, f"{method} {path}: {status} {answer} after {GIVE_UP_SECONDS} s"
            time.sleep(TRY_AGAIN_SECONDS)

    def surely_submit(self, workflow: str, key: str, *, delay: float, **fields: Any) -> UUID:
        """Submit one job, again and again under one Idempotency-Key until it is accepted; return its id."""
        request = {"workflow_name": workflow, "input_data": {"key": key, "delay": delay}, **fields}
        if workflow in BUDGETS_USD:
            request["budget_usd"] = BUDGETS_USD[workflow]
        status, answer = self.surely_send("POST", "/workflow", request, **{"Idempotency-Key": key})
        assert status == 202, f"{key}: {status} {answer}"
        return UUID(answer["job_id"])

    def paid(self) -> Mapping[str, int]:
        """Return how often the provider has finished each call, by key."""
        return finished_calls(self.provider_url)


def open_postgres(stack: ExitStack) -> PostgresServer:
    """Return a PostgreSQL of our own, which ends with `stack`."""
    server = open_private_server()
    stack.callback(server.stop)
    return server


def freeze(worker: subprocess.Popen[str]) -> None:
    os.kill(worker.pid, signal.SIGSTOP)


def thaw(worker: subprocess.Popen[str]) -> None:
    os.kill(worker.pid, signal.SIGCONT)


def _children_of(pid: int) -> list[int]:
    """Return the processes that `pid` started."""
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]
