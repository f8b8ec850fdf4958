"""Google Places out of recorded answers: for the demo and tests without a key. `workbench.py` builds it."""

from collections.abc import Mapping

from callboard.core.pricing import UnitPrice
from callboard.core.replay import RecordedAnswers
from callboard.integrations.google_places_parameters import METHODS
from callboard.integrations.google_places_pricing import SERVICE, price_call
from callboard.integrations.recorded import RecordedService


class ReplayPlaces(RecordedService):
    """Answers what was recorded for exactly this call, at the price of a live one."""

    def __init__(self, answers: RecordedAnswers, *, prices: Mapping[str, UnitPrice] | None = None) -> None:
        own_prices = dict(prices or {})
        super().__init__(
            SERVICE,
            answers,
            methods=METHODS,
            price=lambda method, _: price_call(method, own_prices),
            way_out="GOOGLE_PLACES_API_KEY",
        )
