"""What a call would cost, before it is made: of a model, or of an outside service.

Called by `dry_runs/estimates.py` for what is likely, and by the step kinds `llm` and `external_api` for the bound
by which budgets reserve.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from callboard.core.json_values import JsonValue, dumps
from callboard.core.pricing import NO_COST, UnitPrice
from callboard.integrations.call_prices import find_own_price
from callboard.integrations.google_places_pricing import LIST_PRICES, price_call
from callboard.integrations.google_places_pricing import SERVICE as GOOGLE_PLACES
from callboard.integrations.http_parameters import SERVICE as HTTP
from callboard.integrations.http_parameters import host_of
from callboard.integrations.http_pricing import price_request
from callboard.integrations.weatherapi_parameters import SERVICE as WEATHERAPI
from callboard.llm.anthropic import default_max_tokens
from callboard.llm.call_bounds import text_weight, upper_bound_of_call
from callboard.llm.client import Candidate
from callboard.llm.port import LLMRequest, Usage
from callboard.llm.pricing import ModelPrices

FREE_PROVIDERS = frozenset({"sandbox"})
RECORDED_PROVIDERS = frozenset({"replay"})  # they cost what a live call costs
FREE_UNLESS_PRICED = frozenset({HTTP, WEATHERAPI})  # ours that charge nothing by themselves; others set a price
SCHEMA_TOKENS = 800  # the words round an output_schema, or what a vendor adds for a tool (Anthropic: up to 530)


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

    def bound_of_model_call(self, request: LLMRequest, candidates: Sequence[Candidate]) -> Decimal | None:
        """Return the most that `request` costs in USD, whichever candidate answers; None where a price is not known.

        The tokens are those of `upper_bound_of_call`, and those of the `output_schema` and what goes with it.
        """
        chars = sum(text_weight(message.content) for message in request.messages)
        if request.output_schema is not None:
            chars += text_weight(dumps(dict(request.output_schema)))
        bounds = [self._bound_of_candidate(request, candidate, chars) for candidate in candidates]
        known = [usd for usd in bounds if usd is not None]
        return max(known) if known and len(known) == len(bounds) else None

    def _bound_of_candidate(self, request: LLMRequest, candidate: Candidate, prompt_chars: int) -> Decimal | None:
        most = upper_bound_of_call(
            prompt_chars,
            max_tokens=request.max_tokens,
            output_limit=self.output_limit(candidate.provider, candidate.model),
            messages=len(request.messages),
        )
        return self.of_model_call(
            candidate.provider,
            candidate.model,
            input_tokens=most.input_tokens + (0 if request.output_schema is None else SCHEMA_TOKENS),
            output_tokens=most.output_tokens,
        )

    def bound_of_service_call(
        self, service: str, provider: str, method: str, parameters: Mapping[str, JsonValue]
    ) -> Decimal | None:
        """Return the most that the call costs in USD, or None where nobody knows.

        That is so for a service of a package, which may price its calls by itself, unless the operator has said
        what a call costs.
        """
        if provider in FREE_PROVIDERS or service == GOOGLE_PLACES or service in FREE_UNLESS_PRICED:
            return self.of_service_call(service, provider, method, parameters)
        own = find_own_price((f"{service}.{method}", service), self._own)
        if own is None or own.price is None or own.price.input_usd or own.price.output_usd:
            return None  # nobody knows how many units a call takes
        return own.usd

    def of_service_call(self, service: str, provider: str, method: str, parameters: Mapping[str, JsonValue]) -> Decimal:
        """Return what the call costs in USD; a service that nobody has priced is free, as it is when it is called."""
        if provider in FREE_PROVIDERS:
            return Decimal(0)
        if service == GOOGLE_PLACES and method in LIST_PRICES:
            return price_call(method, self._own).usd
        if service == HTTP:
            return price_request(host_of(str(parameters.get("url", ""))), self._own).usd
        return (find_own_price((f"{service}.{method}", service), self._own) or NO_COST).usd
