"""A scenario of `make chaos` in small: killed workers, on every adapter."""

import pytest

from tests.chaos.__main__ import DEFAULT_SEED
from tests.chaos.catalogue import play
from tests.fixtures.queue_rigs import ADAPTERS

JOBS = 60
FAULT_SECONDS = 3.0


class TestKilledWorkers:
    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_lose_no_job_and_pay_no_journaled_call_again(self, adapter: str) -> None:
        outcome = play("kill-workers", adapter, jobs=JOBS, seconds=FAULT_SECONDS, seed=DEFAULT_SEED)

        assert outcome.broken == []
        assert (outcome.jobs, outcome.faults > 0) == (JOBS, True)
