"""What the methods of `google_places` take: the models that files are checked against, in every variant.

Names are those of Google's older API, which existing workflow files use (`location` as "lat,lng",
`radius`, `type`, `keyword`), with the new API's own names accepted beside them.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from callboard.integrations.coordinates import fold_coordinates

DEFAULT_RADIUS_M = 5_000  # a town's own services; Google's limit is 50 km
MAX_RADIUS_M = 50_000
MAX_RESULTS = 20  # Google gives no more in one answer; of a search for words it has further pages, 60 places in all

_LAT_LNG = re.compile(r"\s*(-?\d{1,3}(?:\.\d+)?)\s*,\s*(-?\d{1,3}(?:\.\d+)?)\s*")


class LatLng(BaseModel):
    """A point in degrees, WGS 84."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    lat: float = Field(ge=-90, le=90, validation_alias=AliasChoices("lat", "latitude"))
    lng: float = Field(ge=-180, le=180, validation_alias=AliasChoices("lng", "longitude", "lon"))


def _read_location(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = _LAT_LNG.fullmatch(value)
    if found is None:
        raise ValueError(f'a location is "lat,lng" such as "47.6062,-122.3321" or {{lat, lng}}, not {value!r}')
    return {"lat": float(found[1]), "lng": float(found[2])}


def _read_types(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _read_rank(value: Any) -> Any:
    return "popularity" if value == "prominence" else value  # the older API's word for it


Location: TypeAlias = Annotated[LatLng, BeforeValidator(_read_location)]
PlaceTypes: TypeAlias = Annotated[list[str], BeforeValidator(_read_types)]
Region: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")]  # CLDR, such as US


def _require_one_type(types: list[str] | None) -> None:
    if types is not None and len(types) > 1:
        raise ValueError(f"a search for words takes one type, not {len(types)}")


class _SearchParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    type: PlaceTypes | None = Field(
        None,
        validation_alias=AliasChoices("type", "types", "includedTypes"),
        description="One of Google's types of places, or a list of them; a search for words takes one.",
    )
    max_results: int = Field(
        MAX_RESULTS,
        ge=1,
        le=MAX_RESULTS,
        validation_alias=AliasChoices("max_results", "maxResultCount", "pageSize"),
        description="How many places at most.",
    )
    language: str | None = Field(
        None, validation_alias=AliasChoices("language", "languageCode"), description="Of the answer, such as `de`."
    )
    region: Region | None = Field(
        None, validation_alias=AliasChoices("region", "regionCode"), description="Of the caller, such as US."
    )
    page_token: str | None = Field(
        None,
        min_length=1,
        validation_alias=AliasChoices("page_token", "pagetoken", "pageToken", "next_page_token"),
        description="The next_page_token of an answer, for the page that follows.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fold_coordinates(cls, given: Any) -> Any:
        return fold_coordinates(given, into="location")


class NearbySearch(_SearchParameters):
    """Places within `radius` metres of `location`. With a `keyword` it is a text search within the same bounds."""

    location: Location = Field(description='The middle: "lat,lng" or {lat, lng}.')
    radius: float = Field(
        DEFAULT_RADIUS_M,
        gt=0,
        le=MAX_RADIUS_M,
        validation_alias=AliasChoices("radius", "radius_m", "radius_meters"),
        description="In metres.",
    )
    keyword: str | None = Field(None, description="Words to search for within the radius.")
    rank_by: Annotated[Literal["popularity", "distance"], BeforeValidator(_read_rank)] = Field(
        "popularity",
        validation_alias=AliasChoices("rank_by", "rankby", "rank_preference"),
        description="What comes first.",
    )

    @model_validator(mode="after")
    def _check_types(self) -> Self:
        _require_one_type(self.type if self.keyword else None)
        if self.page_token and not self.keyword:
            raise ValueError("Google gives further pages to a search with a keyword, or to text_search, alone")
        return self


class TextSearch(_SearchParameters):
    """Places that match a `query`, those near `location` first where one is given.

    For the next page the same call is made with the `next_page_token` of the answer as `page_token`.
    """

    query: str = Field(
        min_length=1,
        validation_alias=AliasChoices("query", "textQuery", "text_query"),
        description="Words, such as `pharmacy in Seattle`.",
    )
    location: Location | None = Field(None, description='Places near it come first: "lat,lng" or {lat, lng}.')
    radius: float = Field(DEFAULT_RADIUS_M, gt=0, le=MAX_RADIUS_M, description="Of `location`, in metres.")

    @model_validator(mode="after")
    def _check_types(self) -> Self:
        _require_one_type(self.type)
        return self


class PlaceDetails(BaseModel):
    """One place by its id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place_id: str = Field(
        min_length=1,
        validation_alias=AliasChoices("place_id", "placeId", "id"),
        description="The place_id of a place that a search found.",
    )
    language: str | None = Field(
        None, validation_alias=AliasChoices("language", "languageCode"), description="Of the answer, such as `de`."
    )
    region: Region | None = Field(
        None, validation_alias=AliasChoices("region", "regionCode"), description="Of the caller, such as US."
    )


METHODS: Mapping[str, type[BaseModel]] = {
    "nearby_search": NearbySearch,
    "text_search": TextSearch,
    "place_details": PlaceDetails,
}
