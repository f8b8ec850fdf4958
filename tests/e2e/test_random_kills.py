"""P1-P3 with fifty jobs in flight: servers and workers that are killed at random moments, or told to stop."""

import random
import signal
import subprocess
import time

import pytest

from callboard.llm.models import ProviderUsage
from callboard.webhooks.models import OutboxMessage
from tests.fixtures.fleet import CALLS, Fleet, fleet

__all__ = ["fleet"]

JOBS = 50
KILLS = 3


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
                journaled, paid = fleet.journaled_calls(), fleet.paid_calls()
                worker = fleet.start_worker()
            else:
                _kill(server)
                journaled, paid = fleet.journaled_calls(), fleet.paid_calls()
                server = fleet.start_server()
            fleet.wait_for_all_to_end(JOBS) if number == KILLS - 1 else None
            now_paid = fleet.paid_calls()
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

        paid = fleet.paid_calls()
        assert paid
        assert set(paid) == fleet.journaled_calls()  # what was paid for while stopping was kept
        assert "processing" not in fleet.statuses()
        fleet.start_server()
        fleet.wait_for_all_to_end(20)
        assert set(fleet.paid_calls().values()) == {1}
        assert fleet.statuses() == ["completed"] * 20


def _kill(running: subprocess.Popen[str]) -> None:
    running.kill()
    running.wait(10)
