"""`lat` and `lng` beside the other parameters are a place, as existing workflow files write it."""

import pytest
from pydantic import BaseModel, ValidationError

from callboard.integrations.google_places_parameters import NearbySearch, TextSearch
from callboard.integrations.weatherapi_parameters import Current, Forecast, to_query


class TestFoldedCoordinates:
    @pytest.mark.parametrize("model", [Current, Forecast])
    def test_are_the_place_of_a_weather_report(self, model: type[BaseModel]) -> None:
        parameters = model.model_validate({"lat": "47.6", "lng": -122.3, "aqi": False})

        assert to_query(parameters)["q"] == "47.6,-122.3"

    def test_are_the_centre_of_a_search_for_places(self) -> None:
        near = NearbySearch.model_validate({"lat": 47.6, "lng": -122.3, "radius": 800, "type": "hospital"})
        found = TextSearch.model_validate({"query": "shelter", "lat": 47.6, "lng": -122.3})

        assert (near.location.lat, near.location.lng) == (47.6, -122.3)
        assert found.location == near.location

    @pytest.mark.parametrize(
        ("model", "given"),
        [
            pytest.param(Current, {"lat": 47.6}, id="one alone"),
            pytest.param(Current, {"q": "Seattle", "lat": 47.6, "lng": -122.3}, id="beside a place"),
            pytest.param(NearbySearch, {"location": "47,-122", "lat": 47.6, "lng": -122.3}, id="beside a location"),
        ],
    )
    def test_are_refused_where_they_leave_doubt(self, model: type[BaseModel], given: dict[str, object]) -> None:
        with pytest.raises(ValidationError) as caught:
            model.model_validate(given)

        assert ("lat",) in [fault["loc"] for fault in caught.value.errors()]
