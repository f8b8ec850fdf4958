"""What a call of `google_places` costs: the operator's price, else Google's list price. Used by its variants."""

from collections.abc import Mapping
from decimal import Decimal

from callboard.core.pricing import Cost, UnitPrice
from callboard.integrations.call_prices import cost_of_call, find_own_price

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
    price_id = f"{SERVICE}.{method}"
    own = find_own_price((price_id, SERVICE), prices)
    return own or cost_of_call(price_id, LIST_PRICES[method], "list-price")
