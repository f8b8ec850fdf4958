"""What every variant of `google_places` keeps (B16): live against a real HTTP server, replay, sandbox."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from callboard.core.errors import PermanentError, StepError, TemporaryError
from callboard.core.http_client import HttpClient
from callboard.core.json_values import dumps
from callboard.core.pricing import UnitPrice
from callboard.core.replay import RecordedAnswers
from callboard.integrations.errors import (
    ReplayMissError,
    ServiceAnswerError,
    ServiceAuthError,
    ServiceParametersError,
    ServiceRateLimitedError,
    ServiceRejectedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    UnknownServiceError,
)
from callboard.integrations.google_places import GooglePlaces
from callboard.integrations.google_places_parameters import METHODS
from callboard.integrations.google_places_replay import ReplayPlaces
from callboard.integrations.google_places_sandbox import SandboxPlaces
from callboard.integrations.port import ExternalService
from callboard.integrations.recorded import recorded_request
from tests.fixtures.fake_google_places import GOOD_KEY, FakeGooglePlaces, Fault, refusal

SEATTLE = "47.6062,-122.3321"
NEARBY = {"location": SEATTLE, "radius": 5000, "type": "hospital"}
CALLS: dict[str, dict[str, Any]] = {
    "nearby_search": NEARBY,
    "text_search": {"query": "hospital", "location": SEATTLE},
    "place_details": {"place_id": "ChIJHarborviewMedicalCenter"},
}
PLACE_KEYS = {"name", "formatted_address", "place_id", "geometry", "rating", "types", "phone", "website", "open_24h"}
RECORDED_PLACE = {
    "name": "Harborview Medical Center",
    "formatted_address": "325 9th Ave, Seattle, WA 98104, USA",
    "place_id": "ChIJHarborviewMedicalCenter",
    "geometry": {"location": {"lat": 47.6041, "lng": -122.324}},
    "rating": 3.2,
    "types": ["hospital"],
    "phone": "(206) 744-3000",
    "website": None,
    "open_24h": True,
}


@pytest.fixture
async def google() -> AsyncIterator[FakeGooglePlaces]:
    async with FakeGooglePlaces() as fake:
        yield fake


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.close()


@pytest.fixture
def live(google: FakeGooglePlaces, http: HttpClient) -> GooglePlaces:
    return GooglePlaces(http=http, api_key=GOOD_KEY, base_url=google.url, timeout_seconds=5)


@pytest.fixture
def replay(tmp_path: Path) -> ReplayPlaces:
    return ReplayPlaces(write_answers(tmp_path))


def write_answers(folder: Path) -> RecordedAnswers:
    data = {
        "nearby_search": {"results": [RECORDED_PLACE], "count": 1},
        "text_search": {"results": [RECORDED_PLACE], "count": 1},
        "place_details": {"result": RECORDED_PLACE},
    }
    answers = [
        {
            "service": "google_places",
            "request": recorded_request(method, METHODS[method].model_validate(parameters)),
            "response": {"data": data[method]},
        }
        for method, parameters in CALLS.items()
    ]
    content = {"workflow": "w", "origin": "written for this test", "answers": answers}
    (folder / "places.replay.json").write_bytes(orjson.dumps(content))
    return RecordedAnswers.load(folder)


@pytest.fixture(params=["live", "replay", "sandbox"])
def service(request: pytest.FixtureRequest, live: GooglePlaces, replay: ReplayPlaces) -> ExternalService:
    variants: Mapping[str, ExternalService] = {"live": live, "replay": replay, "sandbox": SandboxPlaces()}
    return variants[request.param]


class TestEveryVariant:
    def test_has_one_name_and_the_same_methods(self, service: ExternalService) -> None:
        assert service.name == "google_places"
        assert set(service.methods) == {"nearby_search", "text_search", "place_details"}

    @pytest.mark.parametrize("method", ["nearby_search", "text_search"])
    async def test_gives_results_in_the_documented_shape(self, service: ExternalService, method: str) -> None:
        result = await service.call(method, CALLS[method])

        assert set(result.data) == {"results", "count"}
        assert result.data["count"] == len(result.data["results"]) > 0
        assert all(set(place) == PLACE_KEYS for place in result.data["results"])
        assert all(set(place["geometry"]["location"]) == {"lat", "lng"} for place in result.data["results"])

    async def test_gives_the_details_of_the_place_that_was_asked_for(self, service: ExternalService) -> None:
        result = await service.call("place_details", CALLS["place_details"])

        assert set(result.data["result"]) == PLACE_KEYS
        assert result.data["result"]["place_id"] == "ChIJHarborviewMedicalCenter"

    async def test_counts_one_unit_per_call(self, service: ExternalService) -> None:
        result = await service.call("nearby_search", NEARBY)

        assert (result.units, result.status_code, result.cached) == (1, 200, False)
        assert result.duration_ms >= 0

    async def test_gives_the_same_for_the_same_call_and_what_can_be_stored(self, service: ExternalService) -> None:
        first, second = [await service.call("nearby_search", NEARBY) for _ in range(2)]

        assert first.data == second.data == json.loads(dumps(first.data))

    @pytest.mark.parametrize(
        "location",
        [
            pytest.param(" 47.6062 , -122.3321 ", id="text with blanks"),
            pytest.param({"lat": 47.6062, "lng": -122.3321}, id="lat and lng"),
            pytest.param({"latitude": "47.6062", "longitude": "-122.3321"}, id="text numbers"),
        ],
    )
    async def test_reads_a_location_in_any_spelling(self, service: ExternalService, location: object) -> None:
        asked = await service.call("nearby_search", NEARBY)

        again = await service.call("nearby_search", {"location": location, "radius": 5000.0, "types": ["hospital"]})

        assert again.data == asked.data

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            pytest.param({}, "location: Field required", id="no location"),
            pytest.param({"location": "Seattle"}, 'a location is "lat,lng"', id="a name for a location"),
            pytest.param({"location": "95,0"}, "less than or equal to 90", id="beyond the pole"),
            pytest.param({"location": SEATTLE, "radius": 60000}, "less than or equal to 50000", id="radius too large"),
            pytest.param({"location": SEATTLE, "kind": "x"}, "kind: Extra inputs", id="unknown parameter"),
            pytest.param({"location": SEATTLE, "keyword": "x", "type": ["a", "b"]}, "takes one type", id="two types"),
            pytest.param({"location": SEATTLE, "page_token": "x"}, "with a keyword", id="a page of what has none"),
            pytest.param({"location": SEATTLE, "region": "USA"}, "should match pattern", id="no region"),
        ],
    )
    async def test_refuses_bad_parameters_before_any_call(
        self, service: ExternalService, parameters: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ServiceParametersError, match=message):
            await service.call("nearby_search", parameters)

    async def test_names_the_nearest_method(self, service: ExternalService) -> None:
        with pytest.raises(UnknownServiceError, match="Did you mean nearby_search"):
            await service.call("nearby_serch", NEARBY)

    async def test_closes(self, service: ExternalService) -> None:
        await service.close()


class TestLive:
    async def test_reads_every_field_of_a_place(self, live: GooglePlaces) -> None:
        result = await live.call("nearby_search", NEARBY)

        assert result.data["results"][0] == {
            "name": "Harborview Medical Center",
            "formatted_address": "325 9th Ave, Seattle, WA 98104, USA",
            "place_id": "ChIJHarborviewMedicalCenter",
            "geometry": {"location": {"lat": 47.6041, "lng": -122.324}},
            "rating": 3.2,
            "types": ["hospital", "health", "point_of_interest", "establishment"],
            "phone": "(206) 744-3000",
            "website": "https://www.uwmedicine.org/locations/harborview-medical-center",
            "open_24h": True,
        }

    async def test_puts_the_nearest_first_where_asked_to(self, live: GooglePlaces) -> None:
        result = await live.call("nearby_search", NEARBY | {"rankby": "distance"})

        assert [place["name"] for place in result.data["results"]] == ["Daytime Clinic", "Harborview Medical Center"]

    async def test_gives_null_for_what_google_does_not_know(self, live: GooglePlaces) -> None:
        result = await live.call("nearby_search", NEARBY | {"type": "fire_station"})

        [place] = result.data["results"]
        assert [place[key] for key in ("rating", "phone", "website", "open_24h")] == [None] * 4

    async def test_takes_the_international_number_and_the_hours_of_a_day(self, live: GooglePlaces) -> None:
        result = await live.call("place_details", {"place_id": "ChIJDaytimeClinic"})

        assert result.data["result"]["phone"] == "+1 206-555-0100"
        assert result.data["result"]["open_24h"] is False

    async def test_gives_an_empty_list_where_nothing_is_found(self, live: GooglePlaces) -> None:
        result = await live.call("nearby_search", NEARBY | {"type": "library"})

        assert result.data == {"results": [], "count": 0}

    async def test_sends_what_the_new_api_wants(self, live: GooglePlaces, google: FakeGooglePlaces) -> None:
        await live.call("nearby_search", NEARBY | {"language": "de", "max_results": 5})

        [seen] = google.seen
        assert seen.path == "/v1/places:searchNearby"
        assert seen.headers["X-Goog-Api-Key"] == GOOD_KEY
        assert "places.nationalPhoneNumber" in seen.headers["X-Goog-FieldMask"].split(",")
        assert seen.body == {
            "includedTypes": ["hospital"],
            "maxResultCount": 5,
            "languageCode": "de",
            "rankPreference": "POPULARITY",
            "locationRestriction": {
                "circle": {"center": {"latitude": 47.6062, "longitude": -122.3321}, "radius": 5000.0}
            },
        }

    async def test_turns_a_keyword_into_a_text_search_within_the_bounds(
        self, live: GooglePlaces, google: FakeGooglePlaces
    ) -> None:
        result = await live.call("nearby_search", NEARBY | {"keyword": "hospital medical"})

        assert [place["name"] for place in result.data["results"]] == ["Harborview Medical Center"]
        assert google.seen[0].path == "/v1/places:searchText"
        low = google.seen[0].body["locationRestriction"]["rectangle"]["low"]
        assert low == {"latitude": pytest.approx(47.5613, abs=1e-4), "longitude": pytest.approx(-122.3987, abs=1e-4)}

    async def test_keeps_the_rectangle_on_the_globe(self, live: GooglePlaces, google: FakeGooglePlaces) -> None:
        await live.call("nearby_search", {"location": "89.99,179.99", "radius": 50000, "keyword": "x"})

        box = google.seen[0].body["locationRestriction"]["rectangle"]
        assert box["high"] == {"latitude": 90.0, "longitude": 180.0}
        assert box["low"]["longitude"] >= -180

    async def test_prefers_places_near_the_location_of_a_text_search(
        self, live: GooglePlaces, google: FakeGooglePlaces
    ) -> None:
        await live.call("text_search", CALLS["text_search"])

        assert google.seen[0].body["locationBias"]["circle"]["radius"] == 5000.0

    async def test_turns_the_pages_of_a_search_for_words(self, live: GooglePlaces) -> None:
        search = {"query": "hospital medical clinic", "max_results": 2}

        first = await live.call("text_search", search)
        second = await live.call("text_search", search | {"page_token": first.data["next_page_token"]})

        assert [place["name"] for place in first.data["results"]] == ["Harborview Medical Center", "Daytime Clinic"]
        assert [place["name"] for place in second.data["results"]] == ["Far Hospital"]
        assert set(second.data) == {"results", "count"}  # the last page
        assert first.units == second.units == 1

    async def test_passes_on_that_a_page_belongs_to_another_search(self, live: GooglePlaces) -> None:
        first = await live.call("text_search", {"query": "hospital medical clinic", "max_results": 1})

        with pytest.raises(ServiceRejectedError, match="must match the initial SearchText request"):
            await live.call("text_search", {"query": "clinic", "page_token": first.data["next_page_token"]})

    async def test_tells_google_language_and_region(self, live: GooglePlaces, google: FakeGooglePlaces) -> None:
        for method, parameters in CALLS.items():
            await live.call(method, parameters | {"language": "de", "region": "CH"})

        locale = {"languageCode": "de", "regionCode": "CH"}
        nearby, text, details = google.seen
        assert nearby.body.items() >= locale.items()
        assert text.body.items() >= locale.items()
        assert details.query == locale

    async def test_quotes_a_place_id(self, live: GooglePlaces, google: FakeGooglePlaces) -> None:
        with pytest.raises(ServiceRejectedError):
            await live.call("place_details", {"place_id": "../places:searchText?x=1", "language": "fr"})

        assert google.seen[0].path.startswith("/v1/places/..")
        assert google.seen[0].query == {"languageCode": "fr"}


PRICES = {
    "list price": ({}, "0.035", "list-price", "google_places.nearby_search"),
    "price of the service": ({"google_places": "0.01"}, "0.01", "operator", "google_places"),
    "price of the method": (
        {"google_places": "0.01", "google_places.nearby_search": "0.02"},
        "0.02",
        "operator",
        "google_places.nearby_search",
    ),
    "free of charge": ({"google_places": "0"}, "0", "operator", "google_places"),
}


class TestCost:
    @pytest.mark.parametrize(("prices", "usd", "source", "price_id"), PRICES.values(), ids=PRICES.keys())
    async def test_takes_the_operators_price_before_googles(
        self, google: FakeGooglePlaces, http: HttpClient, prices: dict[str, str], usd: str, source: str, price_id: str
    ) -> None:
        own = {name: UnitPrice(call_usd=Decimal(price)) for name, price in prices.items()}
        service = GooglePlaces(http=http, api_key=GOOD_KEY, base_url=google.url, prices=own)

        cost = (await service.call("nearby_search", NEARBY)).cost

        assert (cost.usd, cost.source, cost.price_id) == (Decimal(usd), source, price_id)

    async def test_prices_a_replay_like_the_call_it_stands_for(self, replay: ReplayPlaces) -> None:
        assert (await replay.call("place_details", CALLS["place_details"])).cost.usd == Decimal("0.02")

    async def test_makes_places_up_for_nothing(self) -> None:
        assert (await SandboxPlaces().call("nearby_search", NEARBY)).cost.usd == 0


FAULTS = {
    "400": (
        Fault(status=400, body=refusal(400, "INVALID_ARGUMENT", "Invalid circle.")),
        ServiceRejectedError,
        r"\(400\): Invalid circle\.",
    ),
    "401": (
        Fault(status=401, body=refusal(401, "UNAUTHENTICATED", "Request had invalid credentials.")),
        ServiceAuthError,
        "check GOOGLE_PLACES_API_KEY",
    ),
    "403": (
        Fault(status=403, body=refusal(403, "PERMISSION_DENIED", "Places API (New) has not been used in project 1.")),
        ServiceAuthError,
        "has not been used in project",
    ),
    "404": (Fault(status=404, body=refusal(404, "NOT_FOUND", "No such place.")), ServiceRejectedError, "No such place"),
    "429": (
        Fault(status=429, body=refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric.")),
        ServiceRateLimitedError,
        "Quota exceeded",
    ),
    "500": (
        Fault(status=500, body=refusal(500, "INTERNAL", "Internal error encountered.")),
        ServiceUnavailableError,
        "Internal error",
    ),
    "502 in HTML": (
        Fault(status=502, body=b"<html><title>Bad\nGateway</title></html>"),
        ServiceUnavailableError,
        r"\(502\): <html><title>Bad Gateway",
    ),
    "503 without a body": (Fault(status=503), ServiceUnavailableError, "no reason given"),
    "504": (Fault(status=504, body=refusal(504, "DEADLINE_EXCEEDED", "Too slow.")), ServiceTimeoutError, "Too slow"),
    "a redirect": (Fault(status=302, headers={"Location": "/elsewhere"}), ServiceRejectedError, "302"),
    "no JSON": (Fault(body=b"OK"), ServiceAnswerError, "cannot be read"),
    "half of it": (Fault(body=b'{"places": [{"id": "C'), ServiceAnswerError, "cannot be read"),
    "a list": (Fault(body=b"[]"), ServiceAnswerError, "not an object"),
    "places that are none": (Fault(body=b'{"places": [7]}'), ServiceAnswerError, "a place is no object"),
    "places that are no list": (Fault(body=b'{"places": {}}'), ServiceAnswerError, "`places` is no list"),
    "a closed connection": (Fault(hang_up=True), ServiceUnavailableError, "hung up"),
}


class TestFaults:
    @pytest.mark.parametrize(("fault", "kind", "message"), FAULTS.values(), ids=FAULTS.keys())
    async def test_raises_the_error_that_tells_whether_to_try_again(
        self, live: GooglePlaces, google: FakeGooglePlaces, fault: Fault, kind: type[StepError], message: str
    ) -> None:
        google.faults.append(fault)

        with pytest.raises(kind, match=message) as caught:
            await live.call("nearby_search", NEARBY)

        is_permanent = kind in {ServiceRejectedError, ServiceAuthError}
        assert isinstance(caught.value, PermanentError if is_permanent else TemporaryError)
        assert len(google.seen) == 1  # only the engine tries again

    @pytest.mark.parametrize(
        ("status", "header", "seconds"),
        [(429, "7", 7), (503, "120", 120), (429, "Fri, 01 Jan 2100 00:00:00 GMT", None), (429, "later", None)],
        ids=["seconds", "after 503", "a date", "unreadable"],
    )
    async def test_passes_retry_after_on(
        self, live: GooglePlaces, google: FakeGooglePlaces, status: int, header: str, seconds: int | None
    ) -> None:
        google.faults.append(Fault(status=status, headers={"Retry-After": header}))

        with pytest.raises(TemporaryError) as caught:
            await live.call("nearby_search", NEARBY)

        wait = caught.value.retry_after_seconds
        assert wait == seconds or (header.endswith("GMT") and wait is not None and wait > 3600)

    async def test_gives_up_on_a_server_that_does_not_answer(self, google: FakeGooglePlaces, http: HttpClient) -> None:
        google.faults.append(Fault(hang=True))
        service = GooglePlaces(http=http, api_key=GOOD_KEY, base_url=google.url, timeout_seconds=0.2)

        async with asyncio.timeout(5):
            with pytest.raises(ServiceTimeoutError, match=r"within 0\.2 s"):
                await service.call("nearby_search", NEARBY)

    async def test_says_that_nothing_listens(self, http: HttpClient) -> None:
        service = GooglePlaces(http=http, api_key=GOOD_KEY, base_url="http://127.0.0.1:9")

        with pytest.raises(ServiceUnavailableError, match="could not be reached"):
            await service.call("nearby_search", NEARBY)

    async def test_takes_an_unknown_key_for_what_it_is(self, google: FakeGooglePlaces, http: HttpClient) -> None:
        service = GooglePlaces(http=http, api_key="another-key", base_url=google.url)

        with pytest.raises(ServiceAuthError, match="API key not valid"):
            await service.call("nearby_search", NEARBY)

    @pytest.mark.parametrize("quoted", [GOOD_KEY, "AIzaSySomebodyElsesKey0123456789"], ids=["ours", "another"])
    async def test_never_shows_a_key_that_google_quotes(
        self, live: GooglePlaces, google: FakeGooglePlaces, quoted: str
    ) -> None:
        message = f"Permission denied: Consumer 'api_key:{quoted}' has been suspended."
        google.faults.append(Fault(status=403, body=refusal(403, "PERMISSION_DENIED", message)))

        with pytest.raises(ServiceAuthError) as caught:
            await live.call("nearby_search", NEARBY)

        assert quoted not in f"{caught.value!r} {caught.value.message} {caught.value.details}"
        assert "api_key:[key]" in caught.value.message

    async def test_passes_googles_refusal_of_a_type_on(self, live: GooglePlaces) -> None:
        with pytest.raises(ServiceRejectedError, match="Unsupported types: hospitl"):
            await live.call("nearby_search", NEARBY | {"type": "hospitl"})


class TestReplay:
    async def test_names_the_ways_out_of_a_miss(self, replay: ReplayPlaces) -> None:
        with pytest.raises(ReplayMissError) as caught:
            await replay.call("nearby_search", NEARBY | {"radius": 100})

        assert caught.value.code == "replay_miss"
        assert not caught.value.retryable
        for way_out in ("Restore the input", "GOOGLE_PLACES_API_KEY", "DEFAULT_LLM_PROVIDER=sandbox"):
            assert way_out in caught.value.message
        assert "places.replay.json has one for" in caught.value.message

    async def test_says_when_nothing_was_recorded_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(ReplayMissError, match="no recorded answer"):
            await ReplayPlaces(RecordedAnswers.load(tmp_path)).call("nearby_search", NEARBY)

    async def test_names_the_file_of_an_answer_that_cannot_be_used(self, tmp_path: Path) -> None:
        write_answers(tmp_path)
        path = tmp_path / "places.replay.json"
        path.write_text(path.read_text().replace('"data"', '"date"'))

        with pytest.raises(ReplayMissError, match=r"places\.replay\.json cannot be used"):
            await ReplayPlaces(RecordedAnswers.load(tmp_path)).call("nearby_search", NEARBY)


class TestSandbox:
    async def test_says_that_its_places_are_made_up(self) -> None:
        result = await SandboxPlaces().call("nearby_search", NEARBY)

        for place in result.data["results"]:
            assert "made up" in place["name"]
            assert "no real address" in place["formatted_address"]
            assert place["phone"].startswith("(555) 555-01")

    async def test_puts_them_within_the_radius(self) -> None:
        result = await SandboxPlaces().call("nearby_search", NEARBY)

        for place in result.data["results"]:
            assert place["geometry"]["location"]["lat"] == pytest.approx(47.6062, abs=0.045)
            assert place["geometry"]["location"]["lng"] == pytest.approx(-122.3321, abs=0.067)

    async def test_differs_from_call_to_call(self) -> None:
        one, other = [
            (await SandboxPlaces().call("nearby_search", NEARBY | {"radius": radius})).data for radius in (900, 901)
        ]

        assert one["results"][0]["place_id"] != other["results"][0]["place_id"]

    async def test_gives_no_more_than_was_asked_for(self) -> None:
        assert (await SandboxPlaces().call("nearby_search", NEARBY | {"max_results": 1})).data["count"] == 1
