"""What the routers of this domain are given, as `main.py` put it into the application."""

from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import Depends, Request, Security

from callboard.accounts.auth import KEY_HEADER, authenticate, check_scope
from callboard.core.config import Settings
from callboard.core.telemetry import Telemetry
from callboard.system.service import HealthService, PriceList


class ModelProviders(Protocol):
    """What `GET /models` wants to know of the language models."""

    @property
    def provider_names(self) -> Sequence[str]: ...


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _health(request: Request) -> HealthService:
    health: HealthService = request.app.state.health
    return health


def _telemetry(request: Request) -> Telemetry:
    telemetry: Telemetry = request.app.state.telemetry
    return telemetry


def _providers(request: Request) -> ModelProviders:
    llm: ModelProviders = request.app.state.llm
    return llm


def _prices(request: Request) -> PriceList:
    prices: PriceList = request.app.state.prices
    return prices


async def check_metrics_reader(request: Request, key: Annotated[str | None, Security(KEY_HEADER)]) -> None:
    """Let everybody pass when METRICS_PUBLIC says so, else admins alone."""
    if not _settings(request).metrics_public:
        check_scope(await authenticate(request, key), "admin")


AppSettings = Annotated[Settings, Depends(_settings)]
AppHealth = Annotated[HealthService, Depends(_health)]
AppTelemetry = Annotated[Telemetry, Depends(_telemetry)]
AppProviders = Annotated[ModelProviders, Depends(_providers)]
AppPrices = Annotated[PriceList, Depends(_prices)]
