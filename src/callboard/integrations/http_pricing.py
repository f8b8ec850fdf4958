"""What a request of `http` costs. Called by the live and the replay variant, and by dry runs before any call."""

from collections.abc import Mapping

from callboard.core.pricing import NO_COST, Cost, UnitPrice
from callboard.integrations.call_prices import find_own_price
from callboard.integrations.http_parameters import SERVICE


def price_request(host: str, prices: Mapping[str, UnitPrice]) -> Cost:
    """Return the cost of one request: the operator's price for `http:<host>`, else for `http`, else nothing."""
    return find_own_price((f"{SERVICE}:{host}", SERVICE), prices) or NO_COST
