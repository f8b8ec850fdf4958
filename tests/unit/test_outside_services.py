"""Which variant of each outside service a process has, by its settings, and what stands round them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callboard.core.config import SettingsError, load_settings
from callboard.core.http_client import HttpClient
from callboard.core.replay import RecordedAnswers
from callboard.core.telemetry import Telemetry
from callboard.core.url_guard import UrlRefusedError
from callboard.integrations.errors import ServiceRateLimitedError, ServiceRejectedError, ServiceUnavailableError
from callboard.outside_services import build_registry, build_services
from tests.fixtures.scripted_service import ScriptedService

LIVE = {"google_places_api_key": "k", "weatherapi_api_key": "k", "http_allowed_hosts": "api.example.com"}


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.close()


class TestBuildServices:
    @pytest.mark.parametrize(
        ("own", "providers"),
        [
            pytest.param({}, {"replay"}, id="nothing set"),
            pytest.param({"default_llm_provider": "sandbox"}, {"sandbox"}, id="sandbox"),
            pytest.param(LIVE, {"google_places", "weatherapi", "http"}, id="keys and hosts"),
            pytest.param(
                {**LIVE, "default_llm_provider": "sandbox"}, {"google_places", "weatherapi", "http"}, id="keys win"
            ),
        ],
    )
    async def test_chooses_the_variant(
        self, http: HttpClient, tmp_path: Path, own: dict[str, Any], providers: set[str]
    ) -> None:
        services = build_services(load_settings(**own), http, RecordedAnswers.load(tmp_path))

        assert {service.provider for service in services} == providers
        assert {service.name for service in services} == {"google_places", "weatherapi", "http"}

    async def test_gives_the_base_url_and_the_hosts_on(self, http: HttpClient, tmp_path: Path) -> None:
        own = {**LIVE, "weatherapi_base_url": "http://127.0.0.1:9"}
        by_name = {s.name: s for s in build_services(load_settings(**own), http, RecordedAnswers.load(tmp_path))}

        with pytest.raises(ServiceUnavailableError, match=r"127\.0\.0\.1:9"):
            await by_name["weatherapi"].call("current", {"q": "Seattle"})
        with pytest.raises(UrlRefusedError, match=r"Add other\.example to HTTP_ALLOWED_HOSTS"):
            await by_name["http"].call("get", {"url": "https://other.example/"})


class TestBuildRegistry:
    async def test_limits_a_service_of_ones_own(self) -> None:
        own = load_settings(service_rate_limits='{"maps": "1/hour"}')
        registry = build_registry(own, [ScriptedService()], Telemetry())
        await registry.get("maps").call("ask", {})

        with pytest.raises(ServiceRateLimitedError):
            await registry.get("maps").call("ask", {}, timeout_seconds=0.05)
        await registry.close()

    async def test_counts_calls_and_shows_open_circuits(self) -> None:
        service, telemetry = ScriptedService(), Telemetry()
        service.failures.extend([ServiceRejectedError(), ServiceUnavailableError()])
        registry = build_registry(load_settings(breaker_failures=1), [service], telemetry)
        for kind in (ServiceRejectedError, ServiceUnavailableError):
            with pytest.raises(kind):
                await registry.get("maps").call("ask", {})

        text = telemetry.render(None).decode()

        assert 'callboard_service_calls_total{method="ask",outcome="service_rejected",service="maps"} 1.0' in text
        assert 'callboard_breaker_open{circuit="maps"} 1.0' in text

    def test_refuses_a_limit_of_a_service_that_is_not_there(self) -> None:
        own = load_settings(service_rate_limits='{"map": "1/hour"}')

        with pytest.raises(SettingsError, match=r"there is no service 'map'\. Did you mean maps"):
            build_registry(own, [ScriptedService()], Telemetry())

    async def test_takes_a_limit_of_one_host(self) -> None:
        own = load_settings(service_rate_limits='{"http:api.example.com": "1/hour"}')

        registry = build_registry(own, [ScriptedService("http")], Telemetry())

        assert registry.names == ("http",)


class TestSettings:
    @pytest.mark.parametrize(
        ("own", "message"),
        [
            pytest.param({"http_allowed_hosts": "https://a.example"}, "HTTP_ALLOWED_HOSTS: .*is no host", id="a URL"),
            pytest.param({"http_allowed_hosts": "a.example, *.com"}, "too wide", id="too wide"),
            pytest.param({"service_rate_limits": '{"http": "often"}'}, "http: a rate limit is such as", id="no limit"),
            pytest.param({"service_rate_limits": '{"http": 7}'}, "http: a rate limit is such as", id="a number"),
            pytest.param({"service_rate_limits": "http=1/second"}, "is no JSON", id="no JSON"),
        ],
    )
    def test_say_what_is_wrong(self, own: dict[str, Any], message: str) -> None:
        with pytest.raises(SettingsError, match=message):
            load_settings(**own)
