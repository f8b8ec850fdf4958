"""What a call is said to cost before it is made is what it costs when it is made."""

from decimal import Decimal

import pytest

from callboard.core.pricing import UnitPrice
from callboard.integrations.http_pricing import price_request
from callboard.llm.pricing import ModelPrices
from callboard.workflows.call_prices import CallPrices

URL = "https://shop.example/orders"


class TestServiceCall:
    @pytest.mark.parametrize("name", ["http", "http:shop.example", "http.get", "http:other.example"])
    def test_of_http_costs_what_the_live_service_charges(self, name: str) -> None:
        own = {name: UnitPrice(call_usd=Decimal("0.25"))}
        prices = CallPrices(ModelPrices({}), own)

        told = prices.of_service_call("http", "http", "get", {"url": URL})

        assert told == price_request("shop.example", own).usd
        assert told == (Decimal("0.25") if name in {"http", "http:shop.example"} else 0)
