"""What a call costs by EXTERNAL_SERVICE_PRICING, the operator's own prices. Used by every service here."""

from collections.abc import Mapping, Sequence

from callboard.core.pricing import Cost, PriceSource, UnitPrice, calculate_cost


def find_own_price(price_ids: Sequence[str], prices: Mapping[str, UnitPrice]) -> Cost | None:
    """Return the cost of one call by the first of `price_ids` that `prices` has, or None.

    >>> from decimal import Decimal
    >>> own = find_own_price(["http:a.example", "http"], {"http": UnitPrice(call_usd=Decimal("0.01"))})
    >>> own.usd, own.price_id
    (Decimal('0.010000000000'), 'http')
    """
    for price_id in price_ids:
        if price_id in prices:
            return cost_of_call(price_id, prices[price_id], "operator")
    return None


def cost_of_call(price_id: str, price: UnitPrice, source: PriceSource) -> Cost:
    """Return the cost of one call at `price`, which stands under `price_id` in `source`."""
    return Cost(usd=calculate_cost(price, 1), source=source, price_id=price_id, price=price)
