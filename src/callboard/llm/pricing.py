"""What a call to a model costs, and the list of models with their prices.

Called by every provider for the cost of its answer, by `system` for `GET /models`, and by budgets. The order:
what the provider reports, the operator's own price (EXTERNAL_SERVICE_PRICING), the table of genai-prices,
which needs no network. The arithmetic is in `core/pricing.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import structlog
from genai_prices import data_snapshot
from genai_prices.types import ModelInfo as TableModel
from genai_prices.types import Provider as TableProvider
from genai_prices.types import TieredPrices
from genai_prices.types import Usage as TableUsage

from callboard.core.pricing import COST_QUANTUM, MILLION, NO_COST, Cost, PriceSource, UnitPrice, calculate_cost
from callboard.llm.port import Usage

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrice:
    """A model that is known, with its price in USD per million tokens and the source of that price.

    `price_id` is the id that was matched in the source's table: `provider/model` there.
    """

    provider: str
    model: str
    input_usd_per_million: Decimal
    output_usd_per_million: Decimal
    source: PriceSource
    price_id: str
    context_window: int | None = None


@dataclass(frozen=True, slots=True)
class _Match:
    provider: TableProvider
    model: TableModel

    @property
    def price_id(self) -> str:
        return f"{self.provider.id}/{self.model.id}"


class ModelPrices:
    """Prices of models. `operator_prices` by `provider/model` or by the model's name alone."""

    def __init__(self, operator_prices: Mapping[str, UnitPrice] | None = None) -> None:
        self._operator_prices = dict(operator_prices or {})
        self._table = data_snapshot.get_snapshot()
        self._providers = {provider.id: provider for provider in self._table.providers}
        self._warned: set[tuple[str, str]] = set()

    def cost(self, *, provider: str, models: Sequence[str], usage: Usage) -> Cost:
        """Return what a finished call cost. `models` are the names to try: the answer's, then the request's.

        Where nobody knows a price the cost is 0, with the warning `llm.price_unknown`, once per model.
        """
        if usage.reported_cost_usd is not None:
            usd = usage.reported_cost_usd.quantize(COST_QUANTUM)
            return Cost(usd=usd, source="provider", price_id=f"{provider}/{models[0]}")
        for model in models:
            cost = self._operator_cost(provider, model, usage) or self._table_cost(provider, model, usage)
            if cost is not None:
                return cost
        self._warn_once(provider, models[-1])
        return NO_COST

    def find(self, model: str, provider: str | None = None) -> ModelPrice | None:
        """Return the price of `model`, or None when nobody knows it.

        Without `provider`: a name with a slash is looked up as OpenRouter writes it, others by their maker.
        """
        key = self._operator_key(provider, model)
        if key is not None:
            price = self._operator_prices[key]
            return _from_unit_price(price, provider=provider or "", model=model, price_id=key)
        match = self._match(provider or self._guess_provider(model), model)
        return None if match is None else _from_table(match, provider or match.provider.id, model)

    def list(self, providers: Iterable[str]) -> list[ModelPrice]:
        """Return every model that has a price at these providers, by provider and name."""
        names = list(dict.fromkeys(providers))
        own = [self._listed_operator_price(key, names) for key in sorted(self._operator_prices)]
        found = {(price.provider, price.model): price for price in own if price is not None}
        for name in names:
            for price in self._table_prices(name):
                found.setdefault((price.provider, price.model), price)
        return sorted(found.values(), key=lambda price: (price.provider, price.model))

    def _operator_key(self, provider: str | None, model: str) -> str | None:
        return next((key for key in (f"{provider}/{model}", model) if key in self._operator_prices), None)

    def _operator_cost(self, provider: str, model: str, usage: Usage) -> Cost | None:
        key = self._operator_key(provider, model)
        if key is None:
            return None
        price = self._operator_prices[key]
        usd = calculate_cost(price, usage.input_tokens, usage.output_tokens)
        return Cost(usd=usd, source="operator", price_id=key, price=price)

    def _table_cost(self, provider: str, model: str, usage: Usage) -> Cost | None:
        match = self._match(provider, model)
        if match is None:
            return None
        counts = TableUsage(
            input_tokens=max(usage.input_tokens, 0),
            output_tokens=max(usage.output_tokens, 0),
            cache_read_tokens=max(min(usage.cached_input_tokens, usage.input_tokens), 0),
        )
        found = match.model.calc_price(counts, match.provider)
        return Cost(
            usd=found.total_price.quantize(COST_QUANTUM),
            source="genai-prices",
            price_id=match.price_id,
            price=_unit_price(match, usage.input_tokens),
        )

    def _table_prices(self, name: str) -> Iterator[ModelPrice]:
        provider = self._providers.get(name)
        for model in provider.models if provider else ():
            match = _Match(provider, model) if provider else None
            if match is not None and _has_token_price(match):
                yield _from_table(match, name, model.id)

    def _listed_operator_price(self, key: str, providers: Sequence[str]) -> ModelPrice | None:
        price = self._operator_prices[key]
        if price.call_usd:
            return None  # a service that costs per call is no model
        head, _, rest = key.partition("/")
        provider, model = (head, rest) if head in providers and rest else ("", key)
        return _from_unit_price(price, provider=provider, model=model, price_id=key)

    def _match(self, provider: str | None, model: str) -> _Match | None:
        """Return the model in the table: at its provider, or at its maker where a reseller's list lacks it."""
        table = self._providers.get(provider or "")
        if table is None:
            return None  # a provider of one's own: a local llama costs nothing like the hosted one
        found = table.find_model(model, all_providers=self._table.providers)
        if found is not None:
            return _Match(table, found)
        maker, _, name = model.partition("/")
        maker_table = self._providers.get(maker)
        if maker_table is None or not name or (maker != table.id and table.id != "openrouter"):
            return None
        name = name.partition(":")[0]
        found = maker_table.find_model(name)
        return None if found is None else _Match(maker_table, found)

    def _guess_provider(self, model: str) -> str | None:
        if "/" in model:
            return "openrouter"
        name = model.lower()
        return next(
            (table.id for table in self._table.providers if table.model_match and table.model_match.is_match(name)),
            None,
        )

    def _warn_once(self, provider: str, model: str) -> None:
        if (provider, model) not in self._warned:
            self._warned.add((provider, model))
            _log.warning("llm.price_unknown", provider=provider, model=model, setting="EXTERNAL_SERVICE_PRICING")


def resolve_alias(model: str, aliases: Mapping[str, str]) -> str:
    """Return the model that MODEL_ALIASES puts in the place of `model`, through several aliases if need be.

    >>> resolve_alias("claude-2", {"claude-2": "claude-3", "claude-3": "claude-4"})
    'claude-4'
    """
    seen = {model}
    while (successor := aliases.get(model)) is not None and successor not in seen:
        seen.add(successor)
        model = successor
    return model


def _rates(match: _Match) -> tuple[Decimal | TieredPrices | None, Decimal | TieredPrices | None]:
    prices = match.model.get_prices(datetime.now(UTC))
    return prices.input_mtok, prices.output_mtok


def _rate_at(rate: Decimal | TieredPrices | None, input_tokens: int) -> Decimal:
    if not isinstance(rate, TieredPrices):
        return rate or Decimal(0)
    # Crossing a tier makes every token cost that tier's rate.
    reached = [tier.price for tier in rate.tiers if input_tokens > tier.start]
    return reached[-1] if reached else rate.base


def _unit_price(match: _Match, input_tokens: int) -> UnitPrice:
    """Return the list price per token of a call of this size. Cached input costs less; the total knows that."""
    per_input, per_output = _rates(match)
    return UnitPrice(
        input_usd=_rate_at(per_input, input_tokens) / MILLION, output_usd=_rate_at(per_output, input_tokens) / MILLION
    )


def _has_token_price(match: _Match) -> bool:
    per_input, per_output = _rates(match)
    return per_input is not None or per_output is not None


def _from_table(match: _Match, provider: str, model: str) -> ModelPrice:
    per_input, per_output = _rates(match)
    return ModelPrice(
        provider=provider,
        model=model,
        input_usd_per_million=_rate_at(per_input, 0),
        output_usd_per_million=_rate_at(per_output, 0),
        source="genai-prices",
        price_id=match.price_id,
        context_window=match.model.context_window,
    )


def _from_unit_price(price: UnitPrice, *, provider: str, model: str, price_id: str) -> ModelPrice:
    return ModelPrice(
        provider=provider,
        model=model,
        input_usd_per_million=price.input_usd * MILLION,
        output_usd_per_million=price.output_usd * MILLION,
        source="operator",
        price_id=price_id,
    )
