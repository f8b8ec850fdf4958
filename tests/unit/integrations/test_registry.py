"""The registry of outside services, and the reading of parameters that every service shares."""

from collections.abc import Mapping
from typing import Any

import pytest

from callboard.integrations.errors import ServiceParametersError, UnknownServiceError
from callboard.integrations.google_places_parameters import METHODS
from callboard.integrations.google_places_sandbox import SandboxPlaces
from callboard.integrations.port import ServiceResult, parse_parameters
from callboard.integrations.registry import ServiceRegistry


class Closing:
    """A service that notes that it was closed."""

    methods = METHODS

    def __init__(self, name: str) -> None:
        self.name = self.provider = name
        self.is_closed = False

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        raise NotImplementedError

    async def close(self) -> None:
        self.is_closed = True


class TestServiceRegistry:
    def test_finds_a_service_by_its_name(self) -> None:
        places = SandboxPlaces()

        assert ServiceRegistry([places]).get("google_places").methods is places.methods
        assert ServiceRegistry([places]).names == ("google_places",)

    @pytest.mark.parametrize(
        ("services", "name", "message"),
        [
            pytest.param([SandboxPlaces()], "google_place", "Did you mean google_places?", id="near"),
            pytest.param([SandboxPlaces()], "slack", "Known are: google_places.", id="far"),
            pytest.param([], "slack", "There are none.", id="empty"),
        ],
    )
    def test_suggests_a_name(self, services: list[SandboxPlaces], name: str, message: str) -> None:
        with pytest.raises(UnknownServiceError) as caught:
            ServiceRegistry(services).get(name)

        assert message in caught.value.message

    def test_refuses_two_of_one_name(self) -> None:
        with pytest.raises(ValueError, match="two services are called 'a'"):
            ServiceRegistry([Closing("a"), Closing("a")])

    async def test_closes_every_service(self) -> None:
        services = [Closing("a"), Closing("b")]

        await ServiceRegistry(services).close()

        assert [service.is_closed for service in services] == [True, True]


class TestParseParameters:
    def test_tells_every_mistake_at_once(self) -> None:
        with pytest.raises(ServiceParametersError) as caught:
            parse_parameters(SandboxPlaces(), "nearby_search", {"radius": -1, "max_results": "many"})

        assert caught.value.message.startswith("google_places.nearby_search cannot be called")
        assert [text.split(":")[0] for text in caught.value.details["mistakes"]] == [
            "max_results", "location", "radius",
        ]  # fmt: skip

    def test_never_shows_a_value_in_a_mistake(self) -> None:
        with pytest.raises(ServiceParametersError) as caught:
            parse_parameters(SandboxPlaces(), "place_details", {"place_id": {"token": "s3cret"}})

        assert "s3cret" not in f"{caught.value.message} {caught.value.details}"
