"""The weather made up: the same for the same call, saying what it is. `workbench.py` builds it.

It lets a workflow be tried without a key, a network or a cost. The days are those of the first week of 2030, so
that an answer stays the same tomorrow.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel

from callboard.core.pricing import NO_COST
from callboard.integrations.port import ServiceResult, parse_parameters
from callboard.integrations.weatherapi_parameters import METHODS, SERVICE, Current, Forecast

START = datetime(2030, 1, 1, 12, tzinfo=UTC)
CONDITIONS = ((1000, "Sunny"), (1003, "Partly cloudy"), (1009, "Overcast"), (1183, "Light rain"))


class SandboxWeather:
    """Answers with made-up weather in the shape of the real one, less its hours and rarer fields."""

    name: Final = SERVICE
    provider: Final = "sandbox"
    methods: Mapping[str, type[BaseModel]] = METHODS

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return weather that nobody will have."""
        parsed = parse_parameters(self, method, parameters)
        return ServiceResult(data=_make_data(parsed), status_code=200, units=1, cost=NO_COST, duration_ms=0)

    async def close(self) -> None:
        """Nothing is held here."""


def _make_data(parsed: BaseModel) -> dict[str, Any]:
    if not isinstance(parsed, Current):
        raise TypeError(f"{type(parsed).__name__} belongs to no method of weatherapi")
    seed = hashlib.sha256(parsed.q.casefold().encode()).digest()
    data = {"location": _make_location(parsed.q, seed), "current": _make_current(seed, has_air=parsed.aqi)}
    if isinstance(parsed, Forecast):
        data["forecast"] = {"forecastday": [_make_day(seed, index) for index in range(parsed.days)]}
        if parsed.alerts:
            data["alerts"] = {"alert": []}
    return data


def _make_location(place: str, seed: bytes) -> dict[str, Any]:
    return {
        "name": f"{place} (made up)",
        "region": "Sandbox",
        "country": "Nowhere",
        "lat": round(seed[0] / 256 * 120 - 60, 2),
        "lon": round(seed[1] / 256 * 360 - 180, 2),
        "tz_id": "UTC",
        "localtime_epoch": int(START.timestamp()),
        "localtime": f"{START:%Y-%m-%d %H:%M}",
    }


def _make_current(seed: bytes, *, has_air: bool) -> dict[str, Any]:
    celsius = _celsius(seed, 0)
    current: dict[str, Any] = {
        "last_updated_epoch": int(START.timestamp()),
        "last_updated": f"{START:%Y-%m-%d %H:%M}",
        "temp_c": celsius,
        "temp_f": _fahrenheit(celsius),
        "is_day": 1,
        "condition": _condition(seed, 0),
        "wind_mph": round(seed[3] / 12, 1),
        "wind_kph": round(seed[3] / 12 * 1.609344, 1),
        "precip_mm": 0.0,
        "humidity": 30 + seed[4] % 60,
        "cloud": seed[5] % 101,
        "feelslike_c": celsius,
        "feelslike_f": _fahrenheit(celsius),
        "uv": float(seed[6] % 9),
    }
    if has_air:
        current["air_quality"] = {"pm2_5": float(seed[7] % 30), "us-epa-index": 1 + seed[7] % 3}
    return current


def _make_day(seed: bytes, index: int) -> dict[str, Any]:
    date, celsius = START + timedelta(days=index), _celsius(seed, index)
    return {
        "date": f"{date:%Y-%m-%d}",
        "date_epoch": int(date.replace(hour=0).timestamp()),
        "day": {
            "maxtemp_c": celsius + 4,
            "maxtemp_f": _fahrenheit(celsius + 4),
            "mintemp_c": celsius - 4,
            "mintemp_f": _fahrenheit(celsius - 4),
            "avgtemp_c": celsius,
            "avgtemp_f": _fahrenheit(celsius),
            "totalprecip_mm": 0.0,
            "avghumidity": 30 + seed[4] % 60,
            "daily_chance_of_rain": seed[(index + 8) % 32] % 101,
            "daily_chance_of_snow": 0,
            "condition": _condition(seed, index),
            "uv": float(seed[6] % 9),
        },
        "astro": {"sunrise": "06:00 AM", "sunset": "06:00 PM"},
        "hour": [],
    }


def _celsius(seed: bytes, index: int) -> float:
    return float(seed[(index + 16) % 32] % 30)


def _fahrenheit(celsius: float) -> float:
    return round(celsius * 9 / 5 + 32, 1)


def _condition(seed: bytes, index: int) -> dict[str, Any]:
    code, text = CONDITIONS[seed[(index + 24) % 32] % len(CONDITIONS)]
    return {"text": text, "icon": "", "code": code}
