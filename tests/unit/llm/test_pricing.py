"""Who says what a model costs, in which order, and what happens with names that nobody knows."""

from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from callboard.core.pricing import UnitPrice
from callboard.llm.port import Usage
from callboard.llm.pricing import ModelPrices, resolve_alias

USAGE = Usage(input_tokens=1000, output_tokens=100)
OWN = UnitPrice(input_usd=Decimal("0.000001"), output_usd=Decimal("0.000002"))


class TestCost:
    def test_what_the_provider_reports_comes_first(self) -> None:
        prices = ModelPrices({"gpt-4o": OWN})
        usage = Usage(input_tokens=1000, output_tokens=100, reported_cost_usd=Decimal("0.0042"))

        cost = prices.cost(provider="openrouter", models=("gpt-4o",), usage=usage)

        assert (cost.usd, cost.source) == (Decimal("0.0042"), "provider")

    @pytest.mark.parametrize("key", ["openai/gpt-4o", "gpt-4o"])
    def test_then_the_operators_own_price(self, key: str) -> None:
        cost = ModelPrices({key: OWN}).cost(provider="openai", models=("gpt-4o",), usage=USAGE)

        assert (cost.usd, cost.source, cost.price_id) == (Decimal("0.0012"), "operator", key)  # 1000 x 1 + 100 x 2 uUSD
        assert cost.price == OWN

    @pytest.mark.parametrize(
        ("provider", "model", "price_id", "usd"),
        [
            ("openai", "gpt-4o", "openai/gpt-4o", "0.0035"),  # 1000 x 2.5 + 100 x 10 USD/M
            ("anthropic", "claude-3-5-sonnet-20241022", "anthropic/claude-3-5-sonnet", "0.0045"),  # 1000 x 3 + 100 x 15
            ("openrouter", "anthropic/claude-3.5-sonnet", "openrouter/anthropic/claude-3.5-sonnet", "0.0045"),
            ("openrouter", "anthropic/claude-3-5-sonnet-20241022", "anthropic/claude-3-5-sonnet", "0.0045"),
            ("anthropic", "anthropic/claude-3-5-sonnet-20241022", "anthropic/claude-3-5-sonnet", "0.0045"),
        ],
        ids=["openai", "anthropic", "openrouter", "openrouter by the maker's name", "with its maker in front"],
    )
    def test_then_the_table_with_the_id_that_was_matched(
        self, provider: str, model: str, price_id: str, usd: str
    ) -> None:
        cost = ModelPrices().cost(provider=provider, models=(model,), usage=USAGE)

        assert (cost.usd, cost.source, cost.price_id) == (Decimal(usd), "genai-prices", price_id)

    def test_keeps_the_price_per_token_with_the_cost(self) -> None:
        cost = ModelPrices().cost(provider="openai", models=("gpt-4o",), usage=USAGE)

        assert cost.price == UnitPrice(input_usd=Decimal("0.0000025"), output_usd=Decimal("0.00001"))

    def test_cached_input_costs_less(self) -> None:
        usage = Usage(input_tokens=1000, output_tokens=100, cached_input_tokens=800)

        cost = ModelPrices().cost(provider="openai", models=("gpt-4o",), usage=usage)

        assert cost.usd == Decimal("0.0025")  # 200 x 2.5 + 800 x 1.25 + 100 x 10 USD/M

    def test_a_long_prompt_costs_the_higher_tier(self) -> None:
        usage = Usage(input_tokens=300_000, output_tokens=0)

        cost = ModelPrices().cost(provider="google", models=("gemini-2.5-pro",), usage=usage)

        assert cost.price is not None
        assert cost.usd == cost.price.input_usd * 300_000
        assert cost.price.input_usd > Decimal("0.00000125")

    def test_tries_the_answers_name_and_then_the_requests(self) -> None:
        cost = ModelPrices().cost(provider="openai", models=("surprise-1", "gpt-4o"), usage=USAGE)

        assert cost.price_id == "openai/gpt-4o"

    @pytest.mark.parametrize(
        ("provider", "model"),
        [
            ("openai", "nonsense"),
            ("openai", "gpt-4o-nonsense"),
            ("openai", "my-gpt-4o"),
            ("openai", "ft:gpt-4o:acme::1"),
            ("openai", "claude-3-5-sonnet-20241022"),
            ("openai", "anthropic/claude-3-5-sonnet-20241022"),
            ("openrouter", "nonsense"),
            ("openrouter", "anthropic/nonsense"),
            ("openrouter", "nobody/nothing"),
            ("anthropic", "claude"),
            ("ollama", "gpt-4o"),
            ("ollama", "mistral-large"),
            ("", ""),
            ("openai", ""),
        ],
    )
    def test_an_unknown_name_costs_nothing_and_is_said(self, provider: str, model: str) -> None:
        prices = ModelPrices()

        with capture_logs() as logs:
            cost = prices.cost(provider=provider, models=(model,), usage=USAGE)
            prices.cost(provider=provider, models=(model,), usage=USAGE)

        assert (cost.usd, cost.source) == (Decimal(0), "none")
        assert [(log["event"], log["log_level"]) for log in logs] == [("llm.price_unknown", "warning")]

    @pytest.mark.parametrize("model", ["claude-3-5-sonnetXYZ", "claude-sonnet-4-5-nonsense"])
    def test_a_name_that_only_begins_like_a_known_one_is_stored_as_what_it_was_matched_with(self, model: str) -> None:
        cost = ModelPrices().cost(provider="anthropic", models=(model,), usage=USAGE)

        assert cost.price_id is not None
        assert cost.price_id.removeprefix("anthropic/") != model

    def test_a_free_variant_is_known_and_free(self) -> None:
        model = "meta-llama/llama-3.1-8b-instruct:free"

        cost = ModelPrices().cost(provider="openrouter", models=(model,), usage=USAGE)

        assert (cost.usd, cost.source) == (Decimal(0), "genai-prices")


class TestFind:
    @pytest.mark.parametrize(
        ("model", "provider", "prices"),
        [
            ("anthropic/claude-3.5-sonnet", "openrouter", ("3", "15")),
            ("claude-3-5-sonnet-20241022", "anthropic", ("3", "15")),
            ("gpt-4o", "openai", ("2.5", "10")),
        ],
    )
    def test_knows_the_names_in_the_documents(self, model: str, provider: str, prices: tuple[str, str]) -> None:
        found = ModelPrices().find(model)

        assert found is not None
        assert (found.provider, found.model) == (provider, model)
        assert (found.input_usd_per_million, found.output_usd_per_million) == tuple(map(Decimal, prices))

    def test_the_operators_price_wins(self) -> None:
        found = ModelPrices({"gpt-4o": OWN}).find("gpt-4o", "openai")

        assert found is not None
        assert (found.input_usd_per_million, found.source) == (Decimal(1), "operator")

    def test_knows_nothing_of_nonsense(self) -> None:
        assert ModelPrices().find("nonsense") is None


class TestList:
    def test_lists_the_providers_models_with_prices_in_order(self) -> None:
        models = ModelPrices().list(["openai", "anthropic", "sandbox"])

        names = [(price.provider, price.model) for price in models]
        assert ("openai", "gpt-4o") in names
        assert names == sorted(names)
        assert {provider for provider, _ in names} == {"anthropic", "openai"}

    def test_the_operators_price_takes_the_place_of_the_tables(self) -> None:
        models = ModelPrices({"openai/gpt-4o": OWN, "local-llama": OWN, "maps": UnitPrice(call_usd=Decimal(1))}).list(
            ["openai"]
        )

        assert [(price.provider, price.model) for price in models if price.source == "operator"] == [
            ("", "local-llama"),
            ("openai", "gpt-4o"),
        ]
        assert sum(price.model == "gpt-4o" for price in models) == 1


class TestResolveAlias:
    @pytest.mark.parametrize(
        ("model", "resolved"),
        [("old", "new"), ("older", "new"), ("other", "other"), ("a", "b")],
        ids=["alias", "through two", "none", "in a circle"],
    )
    def test_gives_the_successor(self, model: str, resolved: str) -> None:
        assert resolve_alias(model, {"old": "new", "older": "old", "a": "b", "b": "a"}) == resolved
