"""docs/guides/costs.md: the prices and sums on the page are those that the code reckons."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from callboard.core.config import Settings
from callboard.core.pricing import calculate_cost, read_price
from callboard.integrations.google_places_pricing import LIST_PRICES
from callboard.llm.port import Usage
from callboard.llm.pricing import ModelPrices

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "costs.md").read_text("utf-8")
_ROW = re.compile(r"^\| `\"(?P<name>[^\"]+)\": (?P<price>\{[^`]+\})` \| [^|]+ \| (?P<example>[^|]+) \|$", re.MULTILINE)
ROWS = [(row["name"], row["price"], row["example"]) for row in _ROW.finditer(PAGE)]


def usd_of(text: str) -> Decimal:
    """Return the amount that `text` names last."""
    return Decimal(re.findall(r"\$(\d+\.\d+)", text)[-1])


class TestOwnPrices:
    def test_has_all_four_shapes(self) -> None:
        keys = {key for _, price, _ in ROWS for key in json.loads(price)}

        assert keys == {"prompt", "completion", "input_cost", "output_cost", "cost_unit", "cost_per_char"}

    @pytest.mark.parametrize(("name", "price", "example"), ROWS, ids=[name for name, _, _ in ROWS])
    def test_cost_what_the_page_says(self, name: str, price: str, example: str) -> None:
        units = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) (?:in|out|call)\b", example)]

        assert calculate_cost(read_price(json.loads(price)), *units) == usd_of(example), name

    def test_of_the_example_can_be_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (value,) = re.findall(r"^export EXTERNAL_SERVICE_PRICING='(.*)'$", PAGE, re.MULTILINE)
        monkeypatch.setenv("EXTERNAL_SERVICE_PRICING", value)

        prices = Settings().external_service_pricing

        assert prices["http:api.example.com"].call_usd == Decimal("0.001")

    def test_of_a_name_with_a_slash_are_for_both_providers(self) -> None:
        prices = ModelPrices({"openai/gpt-4o": read_price({"prompt": 2, "completion": 8})})

        calls = [("openai", "gpt-4o"), ("openrouter", "openai/gpt-4o")]
        costs = [prices.cost(provider=provider, models=(model,), usage=Usage(1000, 200)) for provider, model in calls]

        assert [cost.source for cost in costs] == ["operator", "operator"]


class TestListPrices:
    @pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini"])
    def test_of_the_compared_models_are_those_of_the_page(self, model: str) -> None:
        (told,) = re.findall(rf"\$(\d+\.\d+) with `{model}`", PAGE)

        cost = ModelPrices().cost(provider="openai", models=(model,), usage=Usage(1000, 200))

        assert cost.usd == Decimal(told)

    def test_of_the_example_add_up(self) -> None:
        (told,) = re.findall(r"completed in .*tokens, \$(\d+\.\d+)$", PAGE, re.MULTILINE)

        model = ModelPrices().cost(
            provider="openrouter", models=("anthropic/claude-3.5-sonnet",), usage=Usage(1945, 2132)
        )

        assert 3 * LIST_PRICES["nearby_search"].call_usd + model.usd == Decimal(told)
        assert f"${model.usd.normalize()}" in PAGE

    def test_of_google_places_are_those_of_the_page(self) -> None:
        search, details = LIST_PRICES["nearby_search"].call_usd, LIST_PRICES["place_details"].call_usd

        assert f"(${search} a search, ${details} for details)" in PAGE
