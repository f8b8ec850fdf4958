"""Google Places made up: the same places for the same call, saying what they are. `wiring.py` builds it.

It lets a workflow be tried without a key, a network or a cost. None of these places exists.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel

from callboard.core.pricing import NO_COST
from callboard.integrations.google_places_parameters import METHODS, LatLng, NearbySearch, PlaceDetails, TextSearch
from callboard.integrations.google_places_pricing import SERVICE
from callboard.integrations.port import ServiceResult, parse_parameters
from callboard.integrations.recorded import recorded_request

PLACES_PER_SEARCH = 3
_METERS_PER_DEGREE = 111_320.0  # of latitude
_NOWHERE = LatLng(lat=0.0, lng=0.0)


class SandboxPlaces:
    """Answers with made-up places. Their phone numbers are of the range that is reserved for fiction."""

    name: Final = SERVICE
    provider: Final = "sandbox"
    methods: Mapping[str, type[BaseModel]] = METHODS

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        """Return places that nobody will find there."""
        parsed = parse_parameters(self, method, parameters)
        return ServiceResult(data=_make_data(method, parsed), status_code=200, units=1, cost=NO_COST, duration_ms=0)

    async def close(self) -> None:
        """Nothing is held here."""


def _make_data(method: str, parsed: BaseModel) -> dict[str, Any]:
    seed = hashlib.sha256(orjson.dumps(recorded_request(method, parsed), option=orjson.OPT_SORT_KEYS)).digest()
    if isinstance(parsed, PlaceDetails):
        return {"result": {**_make_place("place", _NOWHERE, 1000.0, seed, 0), "place_id": parsed.place_id}}
    kind, center, radius, wanted = _subject_of(parsed)
    results = [_make_place(kind, center, radius, seed, index) for index in range(min(PLACES_PER_SEARCH, wanted))]
    return {"results": results, "count": len(results)}


def _subject_of(parsed: BaseModel) -> tuple[str, LatLng, float, int]:
    if isinstance(parsed, NearbySearch):
        kind = parsed.keyword or (parsed.type or ["place"])[0]
        return kind, parsed.location, parsed.radius, parsed.max_results
    if isinstance(parsed, TextSearch):
        return parsed.query, parsed.location or _NOWHERE, parsed.radius, parsed.max_results
    raise TypeError(f"{type(parsed).__name__} belongs to no method of google_places")


def _make_place(kind: str, center: LatLng, radius: float, seed: bytes, index: int) -> dict[str, Any]:
    label = kind.replace("_", " ")
    distance = radius * (index + 1) / (PLACES_PER_SEARCH + 1)
    angle = 2 * math.pi * seed[index] / 256
    return {
        "name": f"Sandbox {label} {index + 1} (made up)",
        "formatted_address": f"{index + 1} Sandbox Street (no real address)",
        "place_id": f"sandbox-{seed.hex()[:12]}-{index + 1}",
        "geometry": {"location": _move(center, distance, angle)},
        "rating": round(3 + seed[index + 8] % 20 / 10, 1),
        "types": [kind] if kind.isidentifier() else [],
        "phone": f"(555) 555-01{seed[index + 16] % 100:02d}",
        "website": "https://sandbox.invalid/",
        "open_24h": seed[index + 24] % 2 == 0,
    }


def _move(center: LatLng, distance: float, angle: float) -> dict[str, float]:
    north = distance * math.cos(angle) / _METERS_PER_DEGREE
    east = distance * math.sin(angle) / _METERS_PER_DEGREE / max(math.cos(math.radians(center.lat)), 0.01)
    lng = (center.lng + east + 180) % 360 - 180
    return {"lat": round(max(-90.0, min(90.0, center.lat + north)), 6), "lng": round(lng, 6)}
