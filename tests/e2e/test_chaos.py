"""The scenarios of `make chaos` in small: what has to hold while workers die, servers crash and connections are cut.

Every scenario on every adapter, in a middle size, is marked `full`; `make chaos` plays them in their own size.
"""

import pytest

from tests.chaos.__main__ import DEFAULT_SEED
from tests.chaos.catalogue import SCENARIOS, play
from tests.fixtures.queue_rigs import ADAPTERS

JOBS = 60
MIDDLE_JOBS = 100
FAULT_SECONDS = 3.0
PAIRS = [(name, adapter) for name, scenario in SCENARIOS.items() for adapter in scenario.adapters]


class TestKilledWorkers:
    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_lose_no_job_and_pay_no_journaled_call_again(self, adapter: str) -> None:
        outcome = play("kill-workers", adapter, jobs=JOBS, seconds=FAULT_SECONDS, seed=DEFAULT_SEED)

        assert outcome.broken == []
        assert (outcome.jobs, outcome.faults > 0) == (JOBS, True)


class TestCrashedPostgres:
    def test_costs_no_accepted_job_and_no_call(self) -> None:
        outcome = play("crash-postgres", "embedded-postgresql", jobs=JOBS, seconds=FAULT_SECONDS, seed=DEFAULT_SEED)

        assert outcome.broken == []
        assert (outcome.calls_beyond, outcome.faults > 0) == (0, True)


class TestEveryScenario:
    @pytest.mark.full
    @pytest.mark.parametrize(("name", "adapter"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
    def test_keeps_its_promise(self, name: str, adapter: str) -> None:
        outcome = play(name, adapter, jobs=MIDDLE_JOBS, seconds=FAULT_SECONDS, seed=DEFAULT_SEED)

        assert outcome.broken == []
