"""The arithmetic of prices."""

from decimal import Decimal
from typing import Any

import pytest

from callboard.core.pricing import UnitPrice, calculate_cost, read_price


class TestCalculateCost:
    @pytest.mark.parametrize(
        ("price", "units", "cost"),
        [
            (
                UnitPrice(input_usd=Decimal("0.000003"), output_usd=Decimal("0.000015")),
                (1000, 200),
                "0.006",
            ),  # 3+3 mUSD
            (UnitPrice(call_usd=Decimal("0.032")), (7, 0), "0.032"),  # per call, whatever the units
            (UnitPrice(input_usd=Decimal("0.00001")), (-5, -5), "0"),  # negative units count as none
            (UnitPrice(input_usd=Decimal("0.00000000000049")), (1, 0), "0"),  # below the 12th decimal
            (UnitPrice(input_usd=Decimal("0.000000075")), (3, 0), "0.000000225"),  # 3 x 0.075 USD/M
        ],
        ids=["tokens", "call", "negative", "too small", "exact"],
    )
    def test_is_exact_to_twelve_decimals(self, price: UnitPrice, units: tuple[int, int], cost: str) -> None:
        assert calculate_cost(price, *units) == Decimal(cost)


class TestReadPrice:
    @pytest.mark.parametrize(
        ("raw", "price"),
        [
            (
                {"prompt": 3, "completion": "15"},
                UnitPrice(input_usd=Decimal("0.000003"), output_usd=Decimal("0.000015")),
            ),
            ({"input_cost": 0.25}, UnitPrice(input_usd=Decimal("0.00000025"))),
            ({"cost_unit": 0.032}, UnitPrice(call_usd=Decimal("0.032"))),
            ({"cost_per_char": "0.00001"}, UnitPrice(input_usd=Decimal("0.00001"))),
        ],
        ids=["prompt and completion", "input only", "per call", "per character"],
    )
    def test_reads_the_four_shapes(self, raw: dict[str, Any], price: UnitPrice) -> None:
        assert read_price(raw) == price

    @pytest.mark.parametrize(
        "raw",
        [
            {},
            {"price": 1},
            {"prompt": -1},
            {"prompt": True},
            {"prompt": "x"},
            {"prompt": "NaN"},
            {"cost_unit": None},
            [],
        ],
        ids=["empty", "unknown", "negative", "bool", "text", "nan", "null", "list"],
    )
    def test_refuses_what_is_no_price(self, raw: Any) -> None:
        with pytest.raises(ValueError, match=r"price|US dollars|zero or more"):
            read_price(raw)
