"""The arithmetic of prices: units in, units out, a price, a cost, in Decimal and US dollars.

`llm/pricing.py` adds the prices of models; `integrations` uses `UnitPrice` for calls that cost per unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias

MILLION = Decimal(1_000_000)
COST_QUANTUM = Decimal("0.000000000001")  # the 12 decimals that the database keeps

PriceSource: TypeAlias = Literal["provider", "operator", "genai-prices", "list-price", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPrice:
    """What one service or model costs, in USD: per unit of input, of output, and per call."""

    input_usd: Decimal = Decimal(0)
    output_usd: Decimal = Decimal(0)
    call_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call cost and why: `price_id` is the id that was matched in the source's table."""

    usd: Decimal
    source: PriceSource
    price_id: str | None = None
    price: UnitPrice | None = None


NO_COST = Cost(usd=Decimal(0), source="none")


def calculate_cost(price: UnitPrice, input_units: int, output_units: int = 0) -> Decimal:
    """Return what one call costs in USD, to 12 decimals. Negative units count as none.

    >>> per_token = UnitPrice(input_usd=Decimal("0.000003"), output_usd=Decimal("0.000015"))
    >>> calculate_cost(per_token, 1000, 200)  # 1000 x 3 USD/M + 200 x 15 USD/M
    Decimal('0.006000000000')
    """
    total = price.call_usd + price.input_usd * max(input_units, 0) + price.output_usd * max(output_units, 0)
    return total.quantize(COST_QUANTUM)


def read_price(raw: Mapping[str, Any]) -> UnitPrice:
    """Return the price that one entry of EXTERNAL_SERVICE_PRICING gives.

    Four shapes: `prompt`/`completion` and `input_cost`/`output_cost` (USD per million units),
    `cost_unit` (USD per unit) and `cost_per_char` (USD per character of input).

    Raises: ValueError, when it is none of them or a number is negative.

    >>> read_price({"cost_unit": "0.032"}).call_usd
    Decimal('0.032')
    """
    if not isinstance(raw, Mapping):
        raise ValueError('a price is an object such as {"prompt": 3, "completion": 15}')
    for first, second in (("prompt", "completion"), ("input_cost", "output_cost")):
        if first in raw or second in raw:
            return UnitPrice(
                input_usd=_usd(raw, first) / MILLION,
                output_usd=_usd(raw, second) / MILLION,
            )
    if "cost_unit" in raw:
        return UnitPrice(call_usd=_usd(raw, "cost_unit"))
    if "cost_per_char" in raw:
        return UnitPrice(input_usd=_usd(raw, "cost_per_char"))
    raise ValueError("a price has prompt/completion, input_cost/output_cost, cost_unit or cost_per_char")


def _usd(raw: Mapping[str, Any], key: str) -> Decimal:
    value = raw.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{key} is a number of US dollars, not {value!r}")
    try:
        amount = Decimal(str(value))
    except ArithmeticError as error:
        raise ValueError(f"{key} is a number of US dollars, not {value!r}") from error
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{key} is zero or more, not {value!r}")
    return amount
