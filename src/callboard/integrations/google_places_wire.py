"""What Google's Places API (New) is sent and what it answers, translated both ways. No network here.

`google_places.py` sends the requests. Source: Google, "Places API (New)", REST reference, v1.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel

from callboard.core.json_values import JsonValue
from callboard.integrations.google_places_parameters import LatLng, NearbySearch, PlaceDetails, TextSearch

# Google charges by the dearest field that is asked for; phone, website, hours and rating are "Enterprise".
_FIELDS = (
    "id",
    "displayName",
    "formattedAddress",
    "location",
    "rating",
    "types",
    "nationalPhoneNumber",
    "internationalPhoneNumber",
    "websiteUri",
    "regularOpeningHours",
)
_METERS_PER_DEGREE = 111_320.0  # of latitude


class UnreadableAnswerError(ValueError):
    """Google's answer is not what its reference says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireRequest:
    """One request: below the base URL, with the fields that it asks for."""

    method: str
    path: str
    field_mask: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None


def to_wire(parameters: BaseModel) -> WireRequest:
    """Return the request that stands for `parameters` of any method."""
    if isinstance(parameters, PlaceDetails):
        return _details_request(parameters)
    if isinstance(parameters, TextSearch):
        return _text_request(parameters)
    if not isinstance(parameters, NearbySearch):
        raise TypeError(f"{type(parameters).__name__} belongs to no method of google_places")
    return _nearby_request(parameters) if parameters.keyword is None else _keyword_request(parameters)


def from_wire(parameters: BaseModel, answer: JsonValue) -> JsonValue:
    """Return the data of a step out of Google's `answer`: {results, count}, or {result} of place_details.

    Where there is a further page `next_page_token` stands beside them.

    Raises: UnreadableAnswerError.
    """
    if not isinstance(answer, dict):
        raise UnreadableAnswerError(f"the answer is {type(answer).__name__}, not an object")
    if isinstance(parameters, PlaceDetails):
        return {"result": _read_place(answer)}
    places = answer.get("places", [])  # Google leaves the key out where it found none
    if not isinstance(places, list):
        raise UnreadableAnswerError("`places` is no list")
    results = [_read_place(place) for place in places]
    data = {"results": results, "count": len(results)}
    token = answer.get("nextPageToken")
    return data if token is None else {**data, "next_page_token": token}


def _nearby_request(parameters: NearbySearch) -> WireRequest:
    body: dict[str, Any] = {
        "locationRestriction": _circle(parameters.location, parameters.radius),
        "maxResultCount": parameters.max_results,
        "rankPreference": "DISTANCE" if parameters.rank_by == "distance" else "POPULARITY",
    }
    if parameters.type:
        body["includedTypes"] = parameters.type
    return _search("/v1/places:searchNearby", body, parameters)


def _keyword_request(parameters: NearbySearch) -> WireRequest:
    """The new nearby search takes no words; a text search takes them, but restricts by rectangle only."""
    body: dict[str, Any] = {
        "textQuery": parameters.keyword,
        "locationRestriction": _rectangle(parameters.location, parameters.radius),
        "pageSize": parameters.max_results,
        "rankPreference": "DISTANCE" if parameters.rank_by == "distance" else "RELEVANCE",
    }
    if parameters.type:
        body["includedType"] = parameters.type[0]
    return _search("/v1/places:searchText", body, parameters, has_pages=True)


def _text_request(parameters: TextSearch) -> WireRequest:
    body: dict[str, Any] = {"textQuery": parameters.query, "pageSize": parameters.max_results}
    if parameters.location is not None:
        body["locationBias"] = _circle(parameters.location, parameters.radius)
    if parameters.type:
        body["includedType"] = parameters.type[0]
    return _search("/v1/places:searchText", body, parameters, has_pages=True)


def _details_request(parameters: PlaceDetails) -> WireRequest:
    return WireRequest(
        method="GET",
        path=f"/v1/places/{quote(parameters.place_id, safe='')}",
        field_mask=",".join(_FIELDS),
        query=_locale_of(parameters) or None,
    )


def _search(
    path: str, body: dict[str, Any], parameters: NearbySearch | TextSearch, *, has_pages: bool = False
) -> WireRequest:
    body.update(_locale_of(parameters))
    if parameters.page_token:
        body["pageToken"] = parameters.page_token
    fields = [f"places.{name}" for name in _FIELDS]
    # searchNearby has no such field and refuses a mask that names it
    mask = [*fields, "nextPageToken"] if has_pages else fields
    return WireRequest(method="POST", path=path, body=body, field_mask=",".join(mask))


def _locale_of(parameters: NearbySearch | TextSearch | PlaceDetails) -> dict[str, str]:
    given = {"languageCode": parameters.language, "regionCode": parameters.region}
    return {name: value for name, value in given.items() if value}


def _circle(center: LatLng, radius: float) -> dict[str, Any]:
    return {"circle": {"center": _point(center.lat, center.lng), "radius": float(radius)}}


def _rectangle(center: LatLng, radius: float) -> dict[str, Any]:
    """The rectangle round a circle. Near a pole and at the date line it ends there: Google refuses more."""
    north = radius / _METERS_PER_DEGREE
    east = min(180.0, north / max(math.cos(math.radians(center.lat)), 1e-6))
    return {
        "rectangle": {
            "low": _point(max(-90.0, center.lat - north), max(-180.0, center.lng - east)),
            "high": _point(min(90.0, center.lat + north), min(180.0, center.lng + east)),
        }
    }


def _point(latitude: float, longitude: float) -> dict[str, float]:
    return {"latitude": round(latitude, 7), "longitude": round(longitude, 7)}


def _read_place(place: JsonValue) -> dict[str, Any]:
    if not isinstance(place, dict):
        raise UnreadableAnswerError("a place is no object")
    name, location = place.get("displayName"), place.get("location")
    point = location if isinstance(location, dict) else {}
    return {
        "name": name.get("text") if isinstance(name, dict) else None,
        "formatted_address": place.get("formattedAddress"),
        "place_id": place.get("id"),
        "geometry": {"location": {"lat": point.get("latitude"), "lng": point.get("longitude")}},
        "rating": place.get("rating"),
        "types": place.get("types", []),
        "phone": place.get("nationalPhoneNumber") or place.get("internationalPhoneNumber"),
        "website": place.get("websiteUri"),
        "open_24h": _is_always_open(place.get("regularOpeningHours")),
    }


def _is_always_open(hours: JsonValue) -> bool | None:
    """Always open is one period that opens on Sunday at midnight and never closes; None: Google does not know."""
    if not isinstance(hours, dict) or not isinstance(hours.get("periods"), list):
        return None
    periods = [period for period in hours["periods"] if isinstance(period, dict)]
    return len(periods) == 1 and "close" not in periods[0]
