"""What the methods of `weatherapi` take: the models that files are checked against, in every variant.

Names are those of weatherapi.com's own parameters (`q`, `days`, `aqi`, `alerts`, `lang`), with plainer ones beside.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from callboard.integrations.coordinates import fold_coordinates

SERVICE = "weatherapi"
MAX_DAYS = 14  # of the largest plan; a smaller one gives fewer days, and says nothing

_YES_NO = {"yes": True, "no": False}


def _read_place(value: Any) -> Any:
    """Read {lat, lng}, the form in which `google_places` gives a location, as "lat,lng"."""
    if not isinstance(value, Mapping):
        return value
    latitude = value.get("lat", value.get("latitude"))
    longitude = value.get("lng", value.get("lon", value.get("longitude")))
    if latitude is None or longitude is None:
        raise ValueError('a place is text, such as "Seattle" or "47.6062,-122.3321", or {lat, lng}')
    return f"{latitude},{longitude}"


def _read_yes_no(value: Any) -> Any:
    return _YES_NO.get(value.lower(), value) if isinstance(value, str) else value


Place: TypeAlias = Annotated[str, BeforeValidator(_read_place)]
YesNo: TypeAlias = Annotated[bool, BeforeValidator(_read_yes_no)]


class Current(BaseModel):
    """The weather now at `q`: a name, "lat,lng", a postcode, `iata:SEA`, `metar:KSEA`. `lat` and `lng` do as well."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: Place = Field(
        min_length=1,
        validation_alias=AliasChoices("q", "query", "location"),
        description='A name, "lat,lng", {lat, lng}, a postcode, `iata:SEA` or `metar:KSEA`.',
    )
    aqi: YesNo = Field(
        default=False, validation_alias=AliasChoices("aqi", "air_quality"), description="With the quality of the air."
    )
    lang: str | None = Field(
        None, validation_alias=AliasChoices("lang", "language"), description="Of the words for the weather."
    )

    @model_validator(mode="before")
    @classmethod
    def _fold_coordinates(cls, given: Any) -> Any:
        return fold_coordinates(given, into="q")


class Forecast(Current):
    """The weather of the next `days` at `q`, today among them, with `alerts` of the authorities where wanted."""

    days: int = Field(1, ge=1, le=MAX_DAYS, description="Today among them; your plan may allow fewer.")
    alerts: YesNo = Field(default=False, description="With the warnings of the authorities.")


METHODS: Mapping[str, type[BaseModel]] = {"current": Current, "forecast": Forecast}


def to_query(parameters: BaseModel) -> dict[str, str]:
    """Return the query that stands for `parameters`, without the key.

    >>> to_query(Forecast.model_validate({"location": {"lat": 47.6, "lng": -122.3}, "days": 3}))
    {'q': '47.6,-122.3', 'aqi': 'no', 'days': '3', 'alerts': 'no'}
    """
    return {name: _to_text(value) for name, value in parameters.model_dump(exclude_none=True).items()}


def _to_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
