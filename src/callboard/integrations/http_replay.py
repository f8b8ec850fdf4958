"""The service `http` out of recorded answers. `workbench.py` builds it where HTTP_ALLOWED_HOSTS is empty.

A record knows a call by method, URL, query and body. Headers are left out: tokens travel in them.
"""

from collections.abc import Mapping

from pydantic import BaseModel

from callboard.core.pricing import Cost, UnitPrice
from callboard.core.replay import RecordedAnswers
from callboard.integrations.http import SETTING
from callboard.integrations.http_parameters import METHODS, SERVICE, HttpCall, host_of
from callboard.integrations.http_pricing import price_request
from callboard.integrations.recorded import RecordedService


class ReplayHttp(RecordedService):
    """Answers what was recorded for exactly this request, at the price of a live one."""

    def __init__(self, answers: RecordedAnswers, *, prices: Mapping[str, UnitPrice] | None = None) -> None:
        own_prices = dict(prices or {})

        def price(_: str, parameters: BaseModel) -> Cost:
            host = host_of(parameters.url) if isinstance(parameters, HttpCall) else ""
            return price_request(host, own_prices)

        super().__init__(SERVICE, answers, methods=METHODS, price=price, way_out=f"{SETTING} to its host")
