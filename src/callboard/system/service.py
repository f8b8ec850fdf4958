"""How the server is, and which models it knows. Called by `router.py`; knows no HTTP."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import structlog

from callboard.core.config import LLM_PROVIDERS_WITH_KEYS, Settings
from callboard.core.database import Database
from callboard.core.telemetry import QueueNumbers, QueueStats
from callboard.llm.pricing import ModelPrice
from callboard.system.broker_probe import broker_answers
from callboard.system.schemas import (
    BrokenFile,
    Health,
    ModelList,
    ModelRead,
    PartStatus,
    ServicesHealth,
    WorkersHealth,
    WorkflowsHealth,
)
from callboard.workflows.findings import WorkflowFinding

PROBE_SECONDS = 2.0  # load balancers give up after about five

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


class BrokenWorkflow(Protocol):
    """A workflow file that cannot be used, as the catalogue reports it."""

    @property
    def path(self) -> Path: ...

    @property
    def findings(self) -> Sequence[WorkflowFinding]: ...


class WorkflowFiles(Protocol):
    """What health wants to know of the catalogue of workflows."""

    def names(self) -> Iterable[str]: ...

    def broken(self) -> Sequence[BrokenWorkflow]: ...


class PriceList(Protocol):
    """What `GET /models` wants to know of the prices."""

    def list(self, providers: Iterable[str]) -> Sequence[ModelPrice]: ...


class HealthService:
    """Asks every part of the server how it is."""

    def __init__(
        self, settings: Settings, database: Database, *, queue_stats: QueueStats, workflow_files: WorkflowFiles
    ) -> None:
        self._settings = settings
        self._database = database
        self._queue_stats = queue_stats
        self._workflow_files = workflow_files

    async def check(self) -> Health:
        """Return how the server is, within some seconds, whatever is broken."""
        has_database, workers, redis, broker = await asyncio.gather(
            self.database_answers(),
            _attempt("queue", self._queue_stats.count_workers()),
            _check_broker(self._settings.redis_url),
            _check_broker(self._settings.token_broker_url),
        )
        services = ServicesHealth(
            database="healthy" if has_database else "unhealthy",
            redis=redis,
            queue=_queue_status(workers),
            broker=broker,
            workers=WorkersHealth(count=workers or 0),
            workflows=self._check_workflows(),
        )
        return Health(status=_overall(services), version=self._settings.app_version, services=services)

    async def database_answers(self) -> bool:
        """Return whether the database answers in time."""
        return await _attempt("database", _is_done(self._database.ping())) is True

    async def queue_numbers(self) -> QueueNumbers | None:
        """Return the numbers of the queue, or None when they cannot be read in time."""
        return await _attempt("queue", self._queue_stats.read())

    def _check_workflows(self) -> WorkflowsHealth:
        broken = [BrokenFile(file=item.path.name, message=_first(item)) for item in self._workflow_files.broken()]
        return WorkflowsHealth(count=len(list(self._workflow_files.names())), broken=broken)


def list_models(
    settings: Settings, providers: Sequence[str], prices: PriceList, *, only: str | None = None
) -> ModelList:
    """Return the models with a known price, and what llm steps get that name none.

    Prices are shown for `providers`, which can be called, and for those that a key would open; `only` of one.
    """
    priced = [name for name in dict.fromkeys([*providers, *LLM_PROVIDERS_WITH_KEYS]) if only in {None, name}]
    items = [
        ModelRead(
            provider=price.provider,
            model=price.model,
            input_usd_per_million=price.input_usd_per_million,
            output_usd_per_million=price.output_usd_per_million,
            source=price.source,
            context_window=price.context_window,
        )
        for price in prices.list(priced)
    ]
    return ModelList(
        providers=list(providers),
        default_provider=settings.default_llm_provider or settings.provider_with_key(),
        default_model=settings.default_llm_model_name,
        items=items,
        total=len(items),
    )


async def _attempt(part: str, question: Awaitable[Answer]) -> Answer | None:
    """Return the answer, or None when there is none in time or asking failed."""
    task = asyncio.ensure_future(question)
    await asyncio.wait([task], timeout=PROBE_SECONDS)
    if not task.done():
        task.cancel()
        log.warning("health.no_answer", part=part, seconds=PROBE_SECONDS)
        return None
    error = task.exception()
    if error is not None:
        log.warning("health.failed", part=part, error=repr(error)[:300])
        return None
    return task.result()


async def _is_done(action: Awaitable[None]) -> bool:
    await action
    return True


async def _check_broker(url: str | None) -> PartStatus:
    if url is None:
        return "not_configured"
    return "healthy" if await broker_answers(url, PROBE_SECONDS) else "unhealthy"


def _queue_status(workers: int | None) -> PartStatus:
    if workers is None:
        return "unhealthy"
    return "healthy" if workers else "no_workers"


def _overall(services: ServicesHealth) -> Literal["healthy", "degraded", "unhealthy"]:
    if services.database == "unhealthy":
        return "unhealthy"
    has_parts = "unhealthy" not in {services.redis, services.broker}
    is_well = services.queue == "healthy" and has_parts and not services.workflows.broken
    return "healthy" if is_well else "degraded"


def _first(broken: BrokenWorkflow) -> str:
    return next((finding.describe() for finding in broken.findings if finding.is_error), "It cannot be used.")
