"""The scenarios of `make chaos` in small: killed workers on every adapter; marked `full`, each scenario once."""

import pytest

from tests.chaos.__main__ import DEFAULT_SEED
from tests.chaos.catalogue import SCENARIOS, play
from tests.fixtures.queue_rigs import ADAPTERS

JOBS = 60
MIDDLE_JOBS = 100
FAULT_SECONDS = 3.0
PAIRS = [  # each scenario on one adapter, another one each time: `make chaos` has them all
    (name, scenario.adapters[number % len(scenario.adapters)])
    for number, (name, scenario) in enumerate(SCENARIOS.items())
]


class TestKilledWorkers:
    @pytest.mark.parametrize("adapter", ADAPTERS)
    def test_lose_no_job_and_pay_no_journaled_call_again(self, adapter: str) -> None:
        outcome = play("kill-workers", adapter, jobs=JOBS, seconds=FAULT_SECONDS, seed=DEFAULT_SEED)

        assert outcome.broken == []
        assert (outcome.jobs, outcome.faults > 0) == (JOBS, True)


class TestEveryScenario:
    @pytest.mark.full
    @pytest.mark.parametrize(("name", "adapter"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
    def test_keeps_its_promise(self, name: str, adapter: str) -> None:
        outcome = play(name, adapter, jobs=MIDDLE_JOBS, seconds=FAULT_SECONDS, seed=DEFAULT_SEED)

        assert outcome.broken == []
