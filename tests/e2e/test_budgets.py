"""P8 over processes: two workers share a user's limit, and a worker that is killed loses and doubles no money."""

import json
import signal
import time
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from callboard.jobs.models import BudgetAccount, BudgetReservation, Job
from callboard.llm.models import ProviderUsage
from tests.fixtures.fleet import KEY, Fleet, fleet
from tests.fixtures.processes import get_json, post_json

__all__ = ["fleet"]

USER = "ada"
TOKEN_USD = Decimal("0.001")
CALL_USD = 10 * TOKEN_USD  # 4 tokens in and 6 out are counted
LIMIT = Decimal("0.25")
JOBS = 20  # of three calls each: 60 calls, of which the limit pays fewer than 25


def write_workflow(fleet: Fleet, *, delay: float) -> None:
    steps = [
        {
            "id": f"s{n}",
            "type": "llm",
            "config": {"prompt_text": f"[[delay:{delay}]][[tokens:4:6]] {n}", "model": "fake", "max_tokens": 10},
        }
        for n in range(3)
    ]
    file = fleet.folder / "definitions" / "spender.json"
    file.write_text(json.dumps({"name": "spender", "steps": steps}))


def submit(fleet: Fleet, count: int, **fields: Any) -> None:
    for _ in range(count):
        post_json(f"{fleet.url}/api/v1/workflow", {"workflow_name": "spender", "user_id": USER, **fields}, KEY)


def used(fleet: Fleet) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Return what usage rows say was spent, and what the user's account has: spent, reserved, unconfirmed."""
    rows = fleet.read(sa.select(ProviderUsage.cost_usd))
    query = sa.select(BudgetAccount.spent_usd, BudgetAccount.reserved_usd, BudgetAccount.unconfirmed_usd)
    (account,) = fleet.read(query.where(BudgetAccount.scope == "user_day"))
    return sum((row[0] for row in rows), Decimal(0)), *account


@pytest.fixture
def priced_fleet(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setenv("EXTERNAL_SERVICE_PRICING", '{"openai_compatible/fake": {"prompt": 1000, "completion": 1000}}')
    monkeypatch.setenv("DAILY_BUDGET_USD_PER_USER", str(LIMIT))
    return fleet


class TestTwoWorkers:
    def test_never_pass_the_limit_that_they_share(self, priced_fleet: Fleet) -> None:
        write_workflow(priced_fleet, delay=0.05)
        priced_fleet.start_server("--no-worker")
        for _ in range(2):
            priced_fleet.start_worker()

        submit(priced_fleet, JOBS)
        priced_fleet.wait_for_all_to_end(JOBS)

        real, spent, reserved, unconfirmed = used(priced_fleet)
        assert real == spent <= LIMIT
        assert reserved == unconfirmed == 0
        assert spent > LIMIT - 4 * CALL_USD  # what is left is less than a call could cost
        assert "failed" in priced_fleet.statuses()


class TestKilledWorker:
    def test_leaves_its_calls_unconfirmed_and_the_others_go_on(self, priced_fleet: Fleet) -> None:
        write_workflow(priced_fleet, delay=1)
        priced_fleet.start_server("--no-worker")
        first = priced_fleet.start_worker()
        submit(priced_fleet, 2)
        is_open = sa.select(BudgetReservation.amount_usd).where(BudgetReservation.state == "open")
        until = time.monotonic() + 30
        while len(priced_fleet.read(is_open)) < 2 and time.monotonic() < until:
            time.sleep(0.05)

        first.send_signal(signal.SIGKILL)
        first.wait(30)
        cut_off = sum((row[0] for row in priced_fleet.read(is_open)), Decimal(0))
        priced_fleet.start_worker()
        priced_fleet.wait_for_all_to_end(2)

        real, spent, reserved, unconfirmed = used(priced_fleet)
        assert cut_off > 0
        assert (reserved, unconfirmed) == (Decimal(0), cut_off)
        assert real == spent
        assert spent + unconfirmed <= LIMIT
        told = get_json(f"{priced_fleet.url}/api/v1/budget?user_id={USER}", KEY)["day"]
        assert Decimal(str(told["unconfirmed_usd"])) == cut_off
        jobs = priced_fleet.read(sa.select(Job.unconfirmed_usd))
        assert sum((row[0] for row in jobs), Decimal(0)) == cut_off
