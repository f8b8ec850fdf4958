"""`/`, the health family, `/metrics` and `/models`: what monitors and newcomers ask a server."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response, status

from callboard.accounts.auth import Caller, require
from callboard.core.errors import ServiceUnavailableError
from callboard.core.problems import problem_responses
from callboard.core.storable_text import StorableText
from callboard.core.telemetry import CONTENT_TYPE
from callboard.system.dependencies import (
    AppHealth,
    AppPrices,
    AppProviders,
    AppSettings,
    AppTelemetry,
    check_metrics_reader,
)
from callboard.system.schemas import About, Health, Liveness, ModelList
from callboard.system.service import list_models

router = APIRouter(tags=["system"])

_UNHEALTHY: dict[int | str, dict[str, Any]] = {
    503: {"model": Health, "description": "The server cannot work: the database is away."}
}
_METRICS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Metrics in Prometheus' text form.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "callboard_queue_depth 3.0\n"}},
    }
}


@router.get("/", summary="What this server is")
async def read_about(settings: AppSettings) -> About:
    """Name, version, and where to go on. Needs no key."""
    return About(
        name=settings.app_name,
        version=settings.app_version,
        description=settings.app_description,
        docs="/docs",
        health="/health",
    )


@router.get("/health", summary="How the server is", responses=_UNHEALTHY)
@router.get("/api/v1/health", summary="How the server is", responses=_UNHEALTHY, operation_id="read_health_v1")
async def read_health(health: AppHealth, response: Response) -> Health:
    """Say how each part is. Answers 503 only when unhealthy; names workflow files that are broken. Needs no key."""
    answer = await health.check()
    if answer.status == "unhealthy":
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    return answer


@router.get("/health/live", summary="Whether the process answers")
async def read_liveness() -> Liveness:
    """Answer as long as the process runs; asks nothing else. Needs no key."""
    return Liveness()


@router.get("/health/ready", summary="Whether requests can be served", responses=problem_responses(503))
async def read_readiness(health: AppHealth) -> Liveness:
    """Answer 200 while the database answers, else 503. Needs no key."""
    if not await health.database_answers():
        raise ServiceUnavailableError("The database does not answer.")
    return Liveness()


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={**_METRICS, **problem_responses(401, 403, 503)},
    dependencies=[Depends(check_metrics_reader)],
)
async def read_metrics(health: AppHealth, telemetry: AppTelemetry) -> Response:
    """Give the metrics of this process, and the numbers of the queue from the database. Needs scope admin."""
    return Response(telemetry.render(await health.queue_numbers()), media_type=CONTENT_TYPE)


@router.get("/api/v1/models", summary="List models and prices", responses=problem_responses(401, 403, 422, 503))
async def read_models(
    settings: AppSettings,
    llm: AppProviders,
    prices: AppPrices,
    _caller: Annotated[Caller, Depends(require("jobs:read"))],
    provider: Annotated[StorableText | None, Query(max_length=100, description="Only this provider's models.")] = None,
) -> ModelList:
    """List the models with a known price, at the providers that this server can call and those it knows."""
    return list_models(settings, llm.provider_names, prices, only=provider)
