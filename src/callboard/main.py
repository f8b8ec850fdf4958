"""The API: routers, middleware, error answers and documentation, put together.

`uvicorn callboard.main:app` and `callboard serve` start here. What the routers work with is opened when
the server starts (`wiring.serving`), put into `app.state`, and closed when it stops.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, cast

from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import callboard.accounts.router
import callboard.jobs.admin_router
import callboard.jobs.people_router
import callboard.jobs.router
import callboard.jobs.spending_router
import callboard.system.router
import callboard.workflows.router
from callboard.accounts.operator_keys import require_production_keys
from callboard.accounts.rate_limits import open_request_limits
from callboard.accounts.service import ApiKeyService
from callboard.core.config import Settings, SettingsError, load_settings
from callboard.core.http_middleware import REQUEST_ID_HEADER, BodyLimit, RequestIds
from callboard.core.logging import configure_service_logging
from callboard.core.openapi_examples import put_back_nulls
from callboard.core.problems import describe_problems, install_problem_handlers
from callboard.core.query_parameters import refuse_repeated_parameters
from callboard.core.rate_headers import RATE_HEADERS, RateHeaders, describe_rate_limits
from callboard.core.telemetry import Telemetry
from callboard.system.dependencies import ModelProviders
from callboard.system.service import HealthService, PriceList
from callboard.wiring import serving

PREFLIGHT_SECONDS = 600  # how long a browser need not ask again
EXPOSED_HEADERS = (REQUEST_ID_HEADER, "Location", "ETag", "Retry-After", "Idempotency-Replayed", *RATE_HEADERS)

TAGS = [
    {"name": "jobs", "description": "Submit workflows, watch them, cancel them, see what they cost."},
    {"name": "people", "description": "What people and other systems tell running jobs: approvals and signals."},
    {"name": "workflows", "description": "The workflows that can be run."},
    {"name": "admin", "description": "Clean up, erase a user, see workers and queue. The scope `admin` is needed."},
    {"name": "money", "description": "What users and tenants may spend, and what they have spent."},
    {"name": "keys", "description": "API keys. The scope `admin` is needed."},
    {"name": "system", "description": "Health, metrics, models. Most of it needs no key."},
]

ABOUT = """
Send a key in `X-API-Key`. Errors are problem documents (RFC 9457) that list everything that is wrong at once.
Every answer carries `X-Request-ID`; send your own to find a request in the logs. Where requests are limited, the
`RateLimit-*` headers tell what is left, and 429 says in `Retry-After` when to come back.
"""


class Services(Protocol):
    """What the routers work with: `wiring.Services`, or less of it in a test."""

    @property
    def api_keys(self) -> ApiKeyService: ...
    @property
    def catalogue(self) -> object: ...
    @property
    def jobs(self) -> object: ...
    @property
    def approvals(self) -> object: ...
    @property
    def signals(self) -> object: ...
    @property
    def reruns(self) -> object: ...
    @property
    def housekeeping(self) -> object: ...
    @property
    def erasures(self) -> object: ...
    @property
    def overview(self) -> object: ...
    @property
    def spending(self) -> object: ...
    @property
    def llm(self) -> ModelProviders: ...
    @property
    def prices(self) -> PriceList: ...
    @property
    def health(self) -> HealthService: ...
    @property
    def telemetry(self) -> Telemetry: ...


ServicesFactory = Callable[[Settings], AbstractAsyncContextManager[Services]]


class CallboardApi(FastAPI):
    """The application. Its middleware stands outside the answer to crashes, so that a 500 has it too."""

    def __init__(self, settings: Settings, open_services: ServicesFactory) -> None:
        self.settings = settings
        super().__init__(
            title=settings.app_name,
            version=settings.app_version,
            description=settings.app_description + "\n" + ABOUT,
            openapi_tags=TAGS,
            license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
            lifespan=_lifespan(settings, open_services),
            dependencies=[Depends(refuse_repeated_parameters)],
            redirect_slashes=False,  # a redirect would lose the body, and is an answer that nothing documents
            redoc_url=None,
            generate_unique_id_function=_operation_id,
        )

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application with its middleware.

        From outside in: proxies, request ids, CORS, rates, crashes, body limit, routers.
        """
        self.add_middleware(BodyLimit, max_bytes=self.settings.max_body_bytes)
        app: ASGIApp = RateHeaders(super().build_middleware_stack())
        if self.settings.cors_origins:
            app = CORSMiddleware(
                app,
                allow_origins=self.settings.cors_origins,
                allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
                allow_headers=("*",),
                expose_headers=EXPOSED_HEADERS,
                max_age=PREFLIGHT_SECONDS,
            )
        app = RequestIds(app)
        proxies = list(self.settings.trusted_proxies)
        return cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", app), proxies)) if proxies else app

    def openapi(self) -> dict[str, Any]:
        """Return the API's description, made once."""
        if self.openapi_schema is None:
            document = super().openapi()  # FastAPI keeps what it returns, and this changes it in place
            describe_problems(document)
            describe_rate_limits(document)
            put_back_nulls(document)
        schema = self.openapi_schema
        assert schema is not None
        return schema


def create_app(settings: Settings, open_services: ServicesFactory = serving) -> FastAPI:
    """Return the application for `settings`. Nothing is opened before the server starts it.

    `open_services` gives what the routers work with, and closes it again.
    """
    app = CallboardApi(settings, open_services)
    install_problem_handlers(app)
    app.include_router(callboard.system.router.router)
    app.include_router(callboard.jobs.router.router)
    app.include_router(callboard.jobs.people_router.router)
    app.include_router(callboard.jobs.admin_router.router)
    app.include_router(callboard.jobs.spending_router.router)
    app.include_router(callboard.workflows.router.router)
    app.include_router(callboard.accounts.router.router)
    return app


def _lifespan(
    settings: Settings, open_services: ServicesFactory
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        configure_service_logging("api", settings)
        async with open_request_limits(settings) as limits, open_services(settings) as services:
            app.state.rate_limits = limits
            app.state.settings = settings
            app.state.api_keys = services.api_keys
            app.state.catalogue = services.catalogue
            app.state.jobs = services.jobs
            app.state.approvals = services.approvals
            app.state.signals = services.signals
            app.state.reruns = services.reruns
            app.state.housekeeping = services.housekeeping
            app.state.erasures = services.erasures
            app.state.overview = services.overview
            app.state.spending = services.spending
            app.state.llm = services.llm
            app.state.prices = services.prices
            app.state.health = services.health
            app.state.telemetry = services.telemetry
            yield

    return lifespan


def _operation_id(route: APIRoute) -> str:
    return route.name


def __getattr__(name: str) -> FastAPI:
    """Make `app` when a server asks for it, so that importing this module reads no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        settings = load_settings()
        require_production_keys(settings)
    except SettingsError as error:
        raise SystemExit(f"Callboard cannot start.\n{error}") from error
    return create_app(settings)
