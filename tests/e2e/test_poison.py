"""A job that kills its worker amid innocents: it alone fails, and nobody pays twice for what is journaled."""

import json
import signal
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from callboard.jobs.models import Job
from tests.e2e.test_take_over import LIVING, until
from tests.fixtures.deadly_steps import install_deadly_steps
from tests.fixtures.fleet import CALLS, KEY, Fleet, fleet
from tests.fixtures.processes import ROOT, post_json

__all__ = ["fleet"]

INNOCENTS = 200
BOUND_SECONDS = 180
DEADLY = {"name": "deadly", "steps": [{"id": "crash", "type": "exit"}]}


class TestAJobThatKillsItsWorker:
    def test_alone_fails_amid_innocents(self, fleet: Fleet, tmp_path: Path) -> None:
        (tmp_path / "definitions" / "deadly.json").write_text(json.dumps(DEADLY))
        fleet.environment["PYTHONPATH"] = f"{install_deadly_steps(tmp_path / 'plugins')}:{ROOT}"
        fleet.start_server("--no-worker")
        fleet.submit_jobs(INNOCENTS // 2)
        post_json(f"{fleet.url}/api/v1/workflow", {"workflow_name": "deadly", "input_data": {}}, KEY)
        fleet.submit_jobs(INNOCENTS // 2, first=INNOCENTS // 2)

        give_up_at = time.monotonic() + BOUND_SECONDS
        deaths: list[tuple[set[str], dict[str, int]]] = []
        worker = fleet.start_worker(must_last=False)
        while any(status in {"queued", "processing"} for status in fleet.statuses()):
            assert time.monotonic() < give_up_at, (
                f"not at their end after {BOUND_SECONDS} s: {sorted(fleet.statuses())}"
            )
            if worker.poll() is not None:  # as whoever supervises it does
                deaths.append((fleet.journaled_calls(), fleet.paid_calls()))
                worker = fleet.start_worker(must_last=False)
            time.sleep(0.2)

        rows = fleet.read(sa.select(Job.workflow_name, Job.status, Job.error))
        assert [row.workflow_name for row in rows if row.status != "completed"] == ["deadly"]
        (error,) = (json.loads(row.error) for row in rows if row.status == "failed")
        assert (error["type"], error["details"]) == ("worker_lost", {"take_overs": 3})
        assert len(fleet.journaled_calls()) == INNOCENTS * len(CALLS)
        now_paid = fleet.paid_calls()
        for journaled, paid in deaths:
            assert {call: now_paid[call] for call in journaled} == {call: paid[call] for call in journaled}
        assert len(deaths) == 2


class TestAChildThatRunsASuspect:
    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
    def test_hands_back_when_the_worker_that_started_it_ends(self, fleet: Fleet, number: signal.Signals) -> None:
        fleet.start_server("--no-worker")
        fleet.submit_jobs(1)
        fleet.write(sa.update(Job).values(retry_count=2))
        worker = fleet.start_worker()
        until(lambda: fleet.statuses() == ["processing"])
        (child,) = (row.pid for row in fleet.read(LIVING) if row.pid != worker.pid)

        worker.send_signal(number)

        worker.wait(30)
        until(lambda: child not in {row.pid for row in fleet.read(LIVING)})
        assert fleet.statuses() == ["queued"]
        assert set(fleet.paid_calls().values()) == {1}
        fleet.start_worker()
        fleet.wait_for_all_to_end(1)
        assert fleet.statuses() == ["completed"]
        assert set(fleet.paid_calls().values()) == {1}
