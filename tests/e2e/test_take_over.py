"""P2 and P3 between processes: one is killed or frozen in the middle, another goes on, and nothing is paid twice."""

import os
import signal
import time
from collections.abc import Callable

import sqlalchemy as sa

from callboard.jobs.models import Job, Worker
from callboard.llm.models import ProviderUsage
from tests.fixtures.fleet import Fleet, fleet

__all__ = ["fleet"]

END_SECONDS = 60
LEASE_SECONDS = 2
JOBS = sa.select(Job.status, Job.fence)
LIVING = sa.select(Worker.pid).where(Worker.dead_at.is_(None), Worker.stopped_at.is_(None))


class TestAKilledWorker:
    def test_is_replaced_at_once_by_another_one_of_its_host(self, fleet: Fleet) -> None:
        first = fleet.start_worker()
        fleet.start_server("--no-worker")
        fleet.submit_jobs(10)
        until(lambda: len(fleet.journaled_calls()) >= 10)
        fleet.start_worker()

        first.kill()
        first.wait(10)
        journaled, paid = fleet.journaled_calls(), fleet.paid_calls()
        until(lambda: fleet.statuses() == ["completed"] * 10, seconds=30)  # the lease is 60 s

        now_paid = fleet.paid_calls()
        assert {call: now_paid[call] for call in journaled} == {call: paid[call] for call in journaled}
        assert len(fleet.journaled_calls()) == 30
        assert set(now_paid.values()) <= {1, 2}  # the call in flight


class TestAFrozenWorker:
    def test_is_replaced_when_its_lease_ends_and_comes_back_as_a_new_worker(self, fleet: Fleet) -> None:
        fleet.lease_seconds = LEASE_SECONDS
        frozen = fleet.start_worker()
        fleet.start_server("--no-worker")
        fleet.submit_jobs(10)
        until(lambda: len(fleet.journaled_calls()) >= 5)
        fleet.start_worker()
        time.sleep(0.2)  # calls are in flight

        os.kill(frozen.pid, signal.SIGSTOP)
        journaled, paid = fleet.journaled_calls(), fleet.paid_calls()
        until(lambda: any(row.dead_at for row in fleet.read(sa.select(Worker.dead_at))))
        until(lambda: all(row.fence > 1 or row.status == "completed" for row in fleet.read(JOBS)))
        os.kill(frozen.pid, signal.SIGCONT)
        until(lambda: fleet.statuses() == ["completed"] * 10)

        now_paid = fleet.paid_calls()
        assert {call: now_paid[call] for call in journaled} == {call: paid[call] for call in journaled}
        assert set(now_paid.values()) <= {1, 2}
        until(lambda: len(fleet.read(LIVING)) == 2)  # the woken one has another row
        assert frozen.pid in {row.pid for row in fleet.read(LIVING)}
        assert len(fleet.journaled_calls()) == 30
        until(lambda: len(fleet.read(sa.select(ProviderUsage.id))) == sum(fleet.paid_calls().values()))


def until(is_so: Callable[[], bool], *, seconds: float = END_SECONDS) -> None:
    """Return when `is_so`."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"not so after {seconds} s"
        time.sleep(0.1)
