"""What a call would cost, before it is made. Called by `estimates.py`, for models and outside services."""

from collections.abc import Mapping
from decimal import Decimal

from callboard.core.json_values import JsonValue
from callboard.core.pricing import NO_COST, UnitPrice
from callboard.integrations.call_prices import find_own_price
from callboard.integrations.google_places_pricing import LIST_PRICES, price_call
from callboard.integrations.google_places_pricing import SERVICE as GOOGLE_PLACES
from callboard.integrations.http_parameters import SERVICE as HTTP
from callboard.integrations.http_parameters import host_of
from callboard.integrations.http_pricing import price_request
from callboard.llm.anthropic import default_max_tokens
from callboard.llm.port import Usage
from callboard.llm.pricing import ModelPrices

FREE_PROVIDERS = frozenset({"sandbox"})
RECORDED_PROVIDERS = frozenset({"replay"})  # they cost what a live call costs


class CallPrices:
    """Prices of calls: those of models, and of outside services by the operator's own prices and the list's."""

    def __init__(self, models: ModelPrices, own: Mapping[str, UnitPrice]) -> None:
        self._models, self._own = models, own

    def of_model_call(self, provider: str, model: str, *, input_tokens: int, output_tokens: int) -> Decimal | None:
        """Return what the call costs in USD, or None where nobody knows the price of the model."""
        if provider in FREE_PROVIDERS:
            return Decimal(0)
        price = self._models.find(model, None if provider in RECORDED_PROVIDERS else provider)
        if price is None:
            return None
        usage = Usage(input_tokens, output_tokens)
        return self._models.cost(provider=price.provider or provider, models=(model,), usage=usage).usd

    def output_limit(self, provider: str, model: str) -> int | None:
        """Return how many tokens the model gives at most where the call sets no limit, if anybody knows."""
        if provider == "anthropic":
            return default_max_tokens(model)
        price = self._models.find(model, None if provider in RECORDED_PROVIDERS else provider)
        return None if price is None else price.context_window

    def of_service_call(self, service: str, provider: str, method: str, parameters: Mapping[str, JsonValue]) -> Decimal:
        """Return what the call costs in USD; a service that nobody has priced is free, as it is when it is called."""
        if provider in FREE_PROVIDERS:
            return Decimal(0)
        if service == GOOGLE_PLACES and method in LIST_PRICES:
            return price_call(method, self._own).usd
        if service == HTTP:
            return price_request(host_of(str(parameters.get("url", ""))), self._own).usd
        return (find_own_price((f"{service}.{method}", service), self._own) or NO_COST).usd
