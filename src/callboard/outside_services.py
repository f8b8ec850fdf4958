"""The outside services of a process, and what stands round them. `workbench.py` builds them here, by the settings.

Each is live where it has what it needs (a key; for `http` a host that may be called), else made up where
DEFAULT_LLM_PROVIDER is sandbox, else served from recorded answers. A new one is a line in `build_services`.
"""

from collections.abc import Iterable, Mapping

from callboard.core.breaker import CircuitBreakers
from callboard.core.config import Settings, SettingsError
from callboard.core.http_client import HttpClient
from callboard.core.limits import RateLimit, RateLimiter
from callboard.core.pricing import NO_COST
from callboard.core.replay import RecordedAnswers
from callboard.core.telemetry import Telemetry
from callboard.core.url_guard import AllowedHosts
from callboard.integrations.google_places import GooglePlaces
from callboard.integrations.google_places_replay import ReplayPlaces
from callboard.integrations.google_places_sandbox import SandboxPlaces
from callboard.integrations.guarded import ServiceGuard
from callboard.integrations.http import Http
from callboard.integrations.http_replay import ReplayHttp
from callboard.integrations.http_sandbox import SandboxHttp
from callboard.integrations.port import ExternalService, ServiceResult, suggest_name
from callboard.integrations.registry import ServiceRegistry
from callboard.integrations.turns import Turns
from callboard.integrations.weatherapi import WeatherApi
from callboard.integrations.weatherapi_replay import ReplayWeather
from callboard.integrations.weatherapi_sandbox import SandboxWeather


def build_services(settings: Settings, http: HttpClient, answers: RecordedAnswers) -> list[ExternalService]:
    """Return the outside services of Callboard's own."""
    return [
        _build_places(settings, http, answers),
        _build_weather(settings, http, answers),
        _build_http(settings, answers),
    ]


def build_registry(settings: Settings, services: Iterable[ExternalService], telemetry: Telemetry) -> ServiceRegistry:
    """Return `services` behind their circuits and rate limits, counted by `telemetry`.

    Raises: SettingsError, when SERVICE_RATE_LIMITS names a service that is not there.
    """

    def count(service: str, method: str, outcome: str, result: ServiceResult | None) -> None:
        telemetry.service_call(service, method, outcome=outcome, cost=(result.cost if result else NO_COST).usd)

    guard = ServiceGuard(
        breakers=CircuitBreakers(threshold=settings.breaker_failures, open_seconds=settings.breaker_seconds),
        turns=Turns(RateLimiter(settings.redis_url), settings.service_rate_limits),
        on_outcome=count,
    )
    registry = ServiceRegistry(services, guard=guard)
    _check_limited_names(settings.service_rate_limits, registry.names)
    telemetry.watch_breakers(guard.open_circuits)
    return registry


def _build_places(settings: Settings, http: HttpClient, answers: RecordedAnswers) -> ExternalService:
    prices = settings.external_service_pricing
    if settings.google_places_api_key is not None:
        return GooglePlaces(
            http=http,
            api_key=settings.google_places_api_key.get_secret_value(),
            base_url=settings.google_places_base_url,
            prices=prices,
        )
    return SandboxPlaces() if _wants_sandbox(settings) else ReplayPlaces(answers, prices=prices)


def _build_weather(settings: Settings, http: HttpClient, answers: RecordedAnswers) -> ExternalService:
    prices = settings.external_service_pricing
    if settings.weatherapi_api_key is not None:
        return WeatherApi(
            http=http,
            api_key=settings.weatherapi_api_key.get_secret_value(),
            base_url=settings.weatherapi_base_url,
            prices=prices,
        )
    return SandboxWeather() if _wants_sandbox(settings) else ReplayWeather(answers, prices=prices)


def _build_http(settings: Settings, answers: RecordedAnswers) -> ExternalService:
    prices = settings.external_service_pricing
    if settings.http_allowed_hosts:
        return Http(AllowedHosts.parse(settings.http_allowed_hosts), prices=prices)
    return SandboxHttp() if _wants_sandbox(settings) else ReplayHttp(answers, prices=prices)


def _wants_sandbox(settings: Settings) -> bool:
    return settings.default_llm_provider == "sandbox"


def _check_limited_names(limits: Mapping[str, RateLimit], names: Iterable[str]) -> None:
    known = dict.fromkeys(names)
    for name in limits:
        service = name.partition(":")[0]
        if service not in known:
            raise SettingsError(f"SERVICE_RATE_LIMITS: there is no service {service!r}. {suggest_name(service, known)}")
