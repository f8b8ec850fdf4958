"""What every variant of `weatherapi` keeps: live against a real HTTP server, replay, sandbox."""

import asyncio
import json
import traceback
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
    ServiceQuotaError,
    ServiceRateLimitedError,
    ServiceRejectedError,
    ServiceTimeoutError,
    ServiceUnavailableError,
    UnknownServiceError,
)
from callboard.integrations.port import ExternalService
from callboard.integrations.recorded import recorded_request
from callboard.integrations.weatherapi import WeatherApi
from callboard.integrations.weatherapi_parameters import METHODS
from callboard.integrations.weatherapi_replay import ReplayWeather
from callboard.integrations.weatherapi_sandbox import SandboxWeather
from tests.fixtures.fake_weatherapi import GOOD_KEY, SMALL_PLAN_KEY, FakeWeatherApi, Fault, refusal

SEATTLE = "47.6062,-122.3321"
CALLS: dict[str, dict[str, Any]] = {"current": {"q": SEATTLE}, "forecast": {"q": SEATTLE, "days": 3}}
LOCATION_KEYS = {"name", "region", "country", "lat", "lon", "tz_id", "localtime_epoch", "localtime"}
RECORDED: dict[str, dict[str, Any]] = {
    "current": {"location": dict.fromkeys(LOCATION_KEYS, "x"), "current": {"temp_c": 7.2, "condition": {"code": 1009}}},
    "forecast": {
        "location": dict.fromkeys(LOCATION_KEYS, "x"),
        "current": {"temp_c": 7.2, "condition": {"code": 1009}},
        "forecast": {"forecastday": [{"date": f"2026-01-0{day}", "day": {"maxtemp_c": 9.5}} for day in (1, 2, 3)]},
    },
}


@pytest.fixture
async def weather() -> AsyncIterator[FakeWeatherApi]:
    async with FakeWeatherApi() as fake:
        yield fake


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.close()


@pytest.fixture
def live(weather: FakeWeatherApi, http: HttpClient) -> WeatherApi:
    return WeatherApi(http=http, api_key=GOOD_KEY, base_url=weather.url, timeout_seconds=5)


@pytest.fixture
def replay(tmp_path: Path) -> ReplayWeather:
    answers = [
        {
            "service": "weatherapi",
            "request": recorded_request(method, METHODS[method].model_validate(parameters)),
            "response": {"data": RECORDED[method]},
        }
        for method, parameters in CALLS.items()
    ]
    content = {"workflow": "w", "origin": "written for this test", "answers": answers}
    (tmp_path / "weather.replay.json").write_bytes(orjson.dumps(content))
    return ReplayWeather(RecordedAnswers.load(tmp_path))


@pytest.fixture(params=["live", "replay", "sandbox"])
def service(request: pytest.FixtureRequest, live: WeatherApi, replay: ReplayWeather) -> ExternalService:
    variants: Mapping[str, ExternalService] = {"live": live, "replay": replay, "sandbox": SandboxWeather()}
    return variants[request.param]


class TestEveryVariant:
    def test_has_one_name_and_the_same_methods(self, service: ExternalService) -> None:
        assert service.name == "weatherapi"
        assert set(service.methods) == {"current", "forecast"}

    async def test_gives_the_weather_now(self, service: ExternalService) -> None:
        result = await service.call("current", CALLS["current"])

        assert set(result.data) == {"location", "current"}
        assert set(result.data["location"]) == LOCATION_KEYS
        assert isinstance(result.data["current"]["temp_c"], float)
        assert isinstance(result.data["current"]["condition"]["code"], int)

    async def test_gives_as_many_days_as_were_asked_for(self, service: ExternalService) -> None:
        result = await service.call("forecast", CALLS["forecast"])

        days = result.data["forecast"]["forecastday"]
        assert len(days) == 3
        assert days[0]["date"] < days[1]["date"] < days[2]["date"]
        assert all(isinstance(day["day"]["maxtemp_c"], float) for day in days)

    async def test_counts_one_unit_per_call(self, service: ExternalService) -> None:
        result = await service.call("current", CALLS["current"])

        assert (result.units, result.status_code, result.cached) == (1, 200, False)
        assert result.cost.usd == 0
        assert result.duration_ms >= 0

    async def test_gives_the_same_for_the_same_call_and_what_can_be_stored(self, service: ExternalService) -> None:
        first, second = [await service.call("forecast", CALLS["forecast"]) for _ in range(2)]

        assert first.data == second.data == json.loads(dumps(first.data))

    @pytest.mark.parametrize(
        "place",
        [
            pytest.param({"location": SEATTLE}, id="location"),
            pytest.param({"query": SEATTLE}, id="query"),
            pytest.param({"q": {"lat": 47.6062, "lng": -122.3321}}, id="a location of google_places"),
            pytest.param({"q": {"latitude": 47.6062, "longitude": -122.3321}, "aqi": "no"}, id="with no for false"),
        ],
    )
    async def test_reads_a_place_in_any_spelling(self, service: ExternalService, place: dict[str, Any]) -> None:
        asked = await service.call("current", CALLS["current"])

        assert (await service.call("current", place)).data == asked.data

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            pytest.param({}, "q: Field required", id="no place"),
            pytest.param({"q": ""}, "at least 1 character", id="an empty place"),
            pytest.param({"q": {"x": 1}}, "a place is text", id="no place in it"),
            pytest.param({"q": "Seattle", "days": 0}, "greater than or equal to 1", id="no days"),
            pytest.param({"q": "Seattle", "days": 15}, "less than or equal to 14", id="too many days"),
            pytest.param({"q": "Seattle", "key": "mine"}, "key: Extra inputs", id="a key of one's own"),
        ],
    )
    async def test_refuses_bad_parameters_before_any_call(
        self, service: ExternalService, parameters: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ServiceParametersError, match=message):
            await service.call("forecast", parameters)

    async def test_names_the_nearest_method(self, service: ExternalService) -> None:
        with pytest.raises(UnknownServiceError, match="Did you mean forecast"):
            await service.call("forcast", {"q": SEATTLE})

    async def test_closes(self, service: ExternalService) -> None:
        await service.close()


class TestLive:
    async def test_sends_what_the_api_wants(self, live: WeatherApi, weather: FakeWeatherApi) -> None:
        await live.call("current", {"q": "São Paulo", "aqi": True, "lang": "pt"})
        await live.call("forecast", {"q": "Seattle", "days": 2, "alerts": True})

        current, forecast = weather.seen
        assert current.path == "/v1/current.json"
        assert current.query == {"key": GOOD_KEY, "q": "São Paulo", "aqi": "yes", "lang": "pt"}
        assert forecast.path == "/v1/forecast.json"
        assert forecast.query == {"key": GOOD_KEY, "q": "Seattle", "aqi": "no", "days": "2", "alerts": "yes"}

    async def test_gives_air_quality_and_alerts_where_they_are_wanted(self, live: WeatherApi) -> None:
        data = (await live.call("forecast", {"q": "Seattle", "aqi": True, "alerts": True})).data

        assert data["current"]["air_quality"]["us-epa-index"] == 1
        assert data["alerts"]["alert"][0]["headline"] == "Wind Advisory"

    @pytest.mark.parametrize(
        ("own", "usd", "price_id"),
        [
            pytest.param({"weatherapi": "0.001"}, "0.001", "weatherapi", id="of the service"),
            pytest.param(
                {"weatherapi": "1", "weatherapi.current": "0.002"}, "0.002", "weatherapi.current", id="method"
            ),
        ],
    )
    async def test_costs_what_the_operator_says(
        self, weather: FakeWeatherApi, http: HttpClient, own: dict[str, str], usd: str, price_id: str
    ) -> None:
        prices = {name: UnitPrice(call_usd=Decimal(price)) for name, price in own.items()}
        service = WeatherApi(http=http, api_key=GOOD_KEY, base_url=weather.url, prices=prices)

        cost = (await service.call("current", CALLS["current"])).cost

        assert (cost.usd, cost.source, cost.price_id) == (Decimal(usd), "operator", price_id)


HTML = b"<html><title>Bad\nGateway</title></html>"
FAULTS: dict[str, tuple[Fault, type[StepError], str]] = {
    "1002": (refusal(1002), ServiceAuthError, "check WEATHERAPI_API_KEY"),
    "1003": (refusal(1003), ServiceRejectedError, r"\(400\): Parameter q is missing"),
    "1005": (refusal(1005), ServiceRejectedError, "API URL is invalid"),
    "1006": (refusal(1006), ServiceRejectedError, "No matching location found"),
    "2006": (refusal(2006), ServiceAuthError, "API key is invalid"),
    "2007": (refusal(2007), ServiceQuotaError, "of this month are used up"),
    "2008": (refusal(2008), ServiceAuthError, "has been disabled"),
    "2009": (refusal(2009), ServiceAuthError, "and its plan"),
    "9999": (refusal(9999), ServiceUnavailableError, "Internal application error"),
    "429": (Fault(status=429, body=b"slow down"), ServiceRateLimitedError, "slow down"),
    "500": (Fault(status=500), ServiceUnavailableError, "no reason given"),
    "502 in HTML": (Fault(status=502, body=HTML), ServiceUnavailableError, r"\(502\): <html><title>Bad Gateway"),
    "504": (Fault(status=504), ServiceTimeoutError, "504"),
    "403 of a gateway": (Fault(status=403, body=b"Forbidden"), ServiceAuthError, "Forbidden"),
    "an error that is none": (Fault(status=400, body=b'{"error": "x"}'), ServiceRejectedError, "no reason given"),
    "a redirect": (Fault(status=302, headers={"Location": "/x"}), ServiceRejectedError, "302"),
    "no JSON": (Fault(body=b"OK"), ServiceAnswerError, "cannot be read"),
    "half of it": (Fault(body=b'{"location": {"name": "S'), ServiceAnswerError, "cannot be read"),
    "a list": (Fault(body=b"[]"), ServiceAnswerError, "no location and current"),
    "no weather in it": (Fault(body=b'{"location": {}}'), ServiceAnswerError, "no location and current"),
    "a closed connection": (Fault(hang_up=True), ServiceUnavailableError, "hung up"),
}
PERMANENT = {ServiceRejectedError, ServiceAuthError, ServiceQuotaError}


class TestFaults:
    @pytest.mark.parametrize(("fault", "kind", "message"), FAULTS.values(), ids=FAULTS.keys())
    async def test_raises_the_error_that_tells_whether_to_try_again(
        self, live: WeatherApi, weather: FakeWeatherApi, fault: Fault, kind: type[StepError], message: str
    ) -> None:
        weather.faults.append(fault)

        with pytest.raises(kind, match=message) as caught:
            await live.call("current", CALLS["current"])

        assert isinstance(caught.value, PermanentError if kind in PERMANENT else TemporaryError)
        assert len(weather.seen) == 1  # only the engine tries again
        assert GOOD_KEY not in "".join(traceback.format_exception(caught.value))

    async def test_tells_the_code_of_a_refusal(self, live: WeatherApi) -> None:
        with pytest.raises(ServiceRejectedError) as caught:
            await live.call("current", {"q": "Atlantis"})

        assert caught.value.details == {
            "service": "weatherapi", "method": "current", "http_status": 400, "weatherapi_code": 1006,
        }  # fmt: skip

    async def test_refuses_what_the_plan_does_not_have(self, weather: FakeWeatherApi, http: HttpClient) -> None:
        service = WeatherApi(http=http, api_key=SMALL_PLAN_KEY, base_url=weather.url)

        with pytest.raises(ServiceAuthError, match="does not have access"):
            await service.call("forecast", {"q": "Seattle", "alerts": True})

    async def test_passes_retry_after_on(self, live: WeatherApi, weather: FakeWeatherApi) -> None:
        weather.faults.append(Fault(status=429, headers={"Retry-After": "7"}))

        with pytest.raises(TemporaryError) as caught:
            await live.call("current", CALLS["current"])

        assert caught.value.retry_after_seconds == 7

    async def test_gives_up_on_a_server_that_does_not_answer(self, weather: FakeWeatherApi, http: HttpClient) -> None:
        weather.faults.append(Fault(hang=True))
        service = WeatherApi(http=http, api_key=GOOD_KEY, base_url=weather.url, timeout_seconds=0.2)

        async with asyncio.timeout(5):
            with pytest.raises(ServiceTimeoutError, match=r"within 0\.2 s"):
                await service.call("current", CALLS["current"])


class TestKey:
    async def test_stands_in_no_error_that_quotes_the_request(self, live: WeatherApi, weather: FakeWeatherApi) -> None:
        await live.call("current", CALLS["current"])
        quoted_key = weather.seen[0].raw_query.partition("key=")[2].partition("&")[0]
        for key in (GOOD_KEY, quoted_key):
            weather.faults.append(refusal(2008, f"Key {key} has been disabled."))

            with pytest.raises(ServiceAuthError, match=r"Key .* has been disabled") as caught:
                await live.call("current", CALLS["current"])

            assert key not in f"{caught.value!r} {caught.value.message} {caught.value.details}"

    @pytest.mark.parametrize("base_url", ["http://127.0.0.1:9", "http://", "not a url"])
    async def test_stands_in_no_error_of_the_connection(self, http: HttpClient, base_url: str) -> None:
        service = WeatherApi(http=http, api_key=GOOD_KEY, base_url=base_url)

        with pytest.raises(StepError) as caught:
            await service.call("current", CALLS["current"])

        assert "3f2a9d" not in "".join(traceback.format_exception(caught.value))


class TestReplay:
    async def test_names_the_ways_out_of_a_miss(self, replay: ReplayWeather) -> None:
        with pytest.raises(ReplayMissError) as caught:
            await replay.call("current", {"q": "Portland"})

        for way_out in ("Restore the input", "set WEATHERAPI_API_KEY", "DEFAULT_LLM_PROVIDER=sandbox"):
            assert way_out in caught.value.message
        assert "weather.replay.json has one for" in caught.value.message


class TestSandbox:
    async def test_says_that_its_weather_is_made_up(self) -> None:
        data = (await SandboxWeather().call("current", {"q": "Seattle"})).data

        assert data["location"]["name"] == "Seattle (made up)"
        assert data["location"]["country"] == "Nowhere"

    async def test_differs_from_place_to_place(self) -> None:
        one, other = [(await SandboxWeather().call("current", {"q": place})).data for place in ("Seattle", "Rome")]

        assert one["location"]["lat"] != other["location"]["lat"]

    async def test_has_air_quality_and_alerts_where_they_are_wanted(self) -> None:
        data = (await SandboxWeather().call("forecast", {"q": "Seattle", "aqi": True, "alerts": True})).data

        assert data["current"]["air_quality"]["us-epa-index"] in (1, 2, 3)
        assert data["alerts"] == {"alert": []}
