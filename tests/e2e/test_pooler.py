"""P2 and P3 behind a pooler in transaction mode: a worker is killed, another goes on, and nothing is paid twice."""

import time
from collections.abc import Callable

import pytest

from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage
from tests.fixtures.fleet import CALLS, Fleet, fleet
from tests.fixtures.pgbouncer_server import PgBouncer

__all__ = ["fleet"]

JOBS = 40
SECONDS = 30


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestAKilledWorker:
    def test_is_replaced_through_the_pooler(self, fleet: Fleet, pgbouncer: PgBouncer) -> None:
        pooled = pgbouncer.url_of(fleet.database_url).replace("+asyncpg", "")
        fleet.settings = {"database_url": pooled, "database_pooler": "transaction"}
        first = fleet.start_worker()
        fleet.start_server("--no-worker")
        fleet.start_worker()
        fleet.submit_jobs(JOBS)
        until(lambda: len(fleet.journaled_calls()) >= JOBS)

        first.kill()
        first.wait(10)
        journaled, paid = fleet.journaled_calls(), fleet.paid_calls()
        fleet.wait_for_all_to_end(JOBS)  # the lease is 60 s

        now_paid = fleet.paid_calls()
        assert {call: now_paid[call] for call in journaled} == {call: paid[call] for call in journaled}
        assert fleet.statuses() == ["completed"] * JOBS
        assert fleet.count(OutboxMessage) == JOBS
        assert fleet.count(ProviderUsage) == len(fleet.journaled_calls()) == JOBS * len(CALLS)


def until(is_so: Callable[[], bool]) -> None:
    """Return when `is_so`."""
    until = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < until, f"not so after {SECONDS} s"
        time.sleep(0.1)
