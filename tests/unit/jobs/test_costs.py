"""Sums of calls: exact inside, six decimals outside, models and services apart."""

from dataclasses import replace
from decimal import Decimal

from callboard.core.ids import new_uuid
from callboard.jobs.costs import UsageLine, summarise_costs

LINE = UsageLine(
    job_id=new_uuid(),
    path="a",
    task_name="a",
    service="llm",
    provider="openai",
    model="gpt-4o",
    input_tokens=100,
    output_tokens=20,
    cost_usd=Decimal("0.000000000001"),
    duration_ms=7,
)
PLACES = replace(
    LINE, service="google_places", provider="google_places", model="search", input_tokens=1, output_tokens=0
)


class TestSummariseCosts:
    def test_loses_nothing_of_many_tiny_sums(self) -> None:
        costs = summarise_costs([LINE] * 3_000)

        assert costs.total_cost_usd == Decimal("0.000000003")

    def test_counts_tokens_of_models_alone_and_money_of_all(self) -> None:
        costs = summarise_costs([LINE, replace(PLACES, cost_usd=Decimal("0.032"))])

        assert (costs.input_tokens, costs.output_tokens) == (100, 20)
        assert costs.total_cost_usd == Decimal("0.032000000001")

    def test_is_nothing_for_no_calls(self) -> None:
        document = summarise_costs([]).to_json()

        assert (document["provider"], document["model"], document["total_tokens"]) == (None, None, 0)
        assert (document["cost_usd"], document["llm_calls"]) == (0.0, [])


class TestToJson:
    def test_names_the_model_that_most_tokens_went_through(self) -> None:
        small = replace(LINE, provider="anthropic", model="claude", input_tokens=1, output_tokens=1)

        document = summarise_costs([small, small, LINE]).to_json()

        assert (document["provider"], document["model"]) == ("openai", "gpt-4o")

    def test_shows_what_models_cost_and_what_all_cost(self) -> None:
        lines = [replace(LINE, cost_usd=Decimal("0.1234567")), replace(PLACES, cost_usd=Decimal("0.032"))]

        document = summarise_costs(lines).to_json()

        assert (document["cost_usd"], document["total_cost_usd"]) == (0.123457, 0.155457)
        assert [call["step_id"] for call in document["llm_calls"]] == ["a"]
        assert [(call["method"], call["units"]) for call in document["service_calls"]] == [("search", 1)]
