"""Coordinates as existing workflow files give them: `lat` and `lng` beside the other parameters of a call.

Called by the parameter models of `google_places` and `weatherapi`, which have one field for a place.
"""

from collections.abc import Mapping
from typing import Any


def fold_coordinates(given: Any, *, into: str) -> Any:
    """Return the parameters `given` with `lat` and `lng` put together under the name `into`.

    What is no object, or has not both, is left for the model to refuse.

    >>> fold_coordinates({"lat": 47.6, "lng": -122.3, "aqi": False}, into="q")
    {'aqi': False, 'q': {'lat': 47.6, 'lng': -122.3}}
    """
    if not isinstance(given, Mapping) or into in given or not {"lat", "lng"} <= given.keys():
        return given
    others = {name: value for name, value in given.items() if name not in ("lat", "lng")}
    return {**others, into: {"lat": given["lat"], "lng": given["lng"]}}
