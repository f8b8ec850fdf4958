"""What a call of `google_places` costs: the operator's price, else Google's list price. Used by its variants."""

from collections.abc import Mapping
from decimal import Decimal

from callboard.core.pricing import Cost, PriceSource, UnitPrice, calculate_cost

SERVICE = "google_places"

# Google Maps Platform core services pricing list, first paid tier (up to 100,000 calls a month), USD per
# call, as of March 2025. The SKUs are those of the fields that `google_places_wire.py` asks for:
# "Nearby Search Enterprise", "Text Search Enterprise" and "Place Details Enterprise". The free calls of
# a month are not taken off: nobody here sees the rest of the operator's bill.
LIST_PRICES: Mapping[str, UnitPrice] = {
    "nearby_search": UnitPrice(call_usd=Decimal("0.035")),
    "text_search": UnitPrice(call_usd=Decimal("0.035")),
    "place_details": UnitPrice(call_usd=Decimal("0.020")),
}


def price_call(method: str, prices: Mapping[str, UnitPrice]) -> Cost:
    """Return the cost of one call by `prices`, the operator's EXTERNAL_SERVICE_PRICING.

    `google_places.<method>` goes before `google_places`, and both before the list price.

    >>> price_call("nearby_search", {}).usd
    Decimal('0.035000000000')
    """
    for price_id in (f"{SERVICE}.{method}", SERVICE):
        if price_id in prices:
            return _cost(price_id, prices[price_id], "operator")
    return _cost(f"{SERVICE}.{method}", LIST_PRICES[method], "list-price")


def _cost(price_id: str, price: UnitPrice, source: PriceSource) -> Cost:
    return Cost(usd=calculate_cost(price, 1), source=source, price_id=price_id, price=price)
