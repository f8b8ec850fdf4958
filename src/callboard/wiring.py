"""The one place where steps, transforms, services, providers, adapters and hooks are connected.

`main.py` (through `serving`) and `worker.py` (through `build_services` and `working`) call it, once per
process. Tests and benches build their own. To find who does what, grep a name here and land on its code.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from callboard.accounts.operator_keys import prepare_keys
from callboard.accounts.service import ApiKeyService
from callboard.core import migrations
from callboard.core.breaker import CircuitBreakers
from callboard.core.config import Settings
from callboard.core.database import Database
from callboard.core.errors import CallboardError
from callboard.core.garbage import let_short_lived_objects_die
from callboard.core.http_client import HttpClient
from callboard.core.notifications import NotificationListener
from callboard.core.pricing import NO_COST
from callboard.core.process_limits import raise_open_file_limit
from callboard.core.replay import RecordedAnswers
from callboard.core.security import KeyHasher
from callboard.core.telemetry import Telemetry
from callboard.integrations.google_places import GooglePlaces
from callboard.integrations.google_places_replay import ReplayPlaces
from callboard.integrations.google_places_sandbox import SandboxPlaces
from callboard.integrations.port import ExternalService
from callboard.integrations.registry import ServiceRegistry
from callboard.jobs.checkpoints import Journal
from callboard.jobs.endings import Endings
from callboard.jobs.finishes import Finishes
from callboard.jobs.leases import WorkerLease
from callboard.jobs.queue_stats import DatabaseQueueStats
from callboard.jobs.repository.jobs import find_ended, read_wait_numbers
from callboard.jobs.repository.submissions import WORK_CHANNEL
from callboard.jobs.runner import JobRunner
from callboard.jobs.service import JobService
from callboard.jobs.sweeper import Sweeper
from callboard.jobs.waits import WaitEstimator
from callboard.llm.anthropic import AnthropicProvider
from callboard.llm.client import LLMClient
from callboard.llm.openai_compatible import OpenAICompatibleProvider
from callboard.llm.port import LLMResponse, Provider
from callboard.llm.pricing import ModelPrices
from callboard.llm.replay import ReplayProvider
from callboard.llm.sandbox import SandboxProvider
from callboard.queues.embedded import EmbeddedDoorbell
from callboard.system.service import HealthService
from callboard.workflows.bundles import Bundle
from callboard.workflows.catalogue import WorkflowCatalogue
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.engine import Engine
from callboard.workflows.errors import InvalidWorkflowError
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.service import BundleStore, WorkflowService
from callboard.workflows.steps.base import StepKind
from callboard.workflows.steps.conditional import ConditionalStep
from callboard.workflows.steps.external_api import ExternalApiStep
from callboard.workflows.steps.llm import LLMStep
from callboard.workflows.steps.parallel import ParallelStep
from callboard.workflows.steps.registry import StepRegistry
from callboard.workflows.steps.transform import TransformStep
from callboard.workflows.transforms.extract_fields import ExtractFields
from callboard.workflows.transforms.join import Join
from callboard.workflows.transforms.markdown_to_json import MarkdownToJson
from callboard.workflows.transforms.merge import Merge
from callboard.workflows.transforms.registry import TransformRegistry
from callboard.workflows.transforms.template import Template

SECRET_PREFIX = "CALLBOARD_SECRET_"  # noqa: S105 - `${secrets.NAME}` is read from CALLBOARD_SECRET_NAME
DEFAULT_MODELS = {  # what an llm step gets that names no model, where DEFAULT_LLM_MODEL_NAME is empty
    "openrouter": "anthropic/claude-3.5-sonnet",
    "anthropic": "claude-3-5-sonnet-20241022",
    "openai": "gpt-4o",
    "replay": "anthropic/claude-3.5-sonnet",
    "sandbox": "sandbox",
}


class SchemaBehindError(CallboardError):
    """The database has not the tables that this version needs; run `callboard db upgrade`."""

    code = "schema_behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What one process works with."""

    settings: Settings
    database: Database
    telemetry: Telemetry
    api_keys: ApiKeyService
    catalogue: WorkflowService
    jobs: JobService
    llm: LLMClient
    prices: ModelPrices
    health: HealthService
    doorbell: EmbeddedDoorbell
    runner: JobRunner
    sweeper: Sweeper
    lease: WorkerLease
    journal: Journal
    finishes: Finishes


@asynccontextmanager
async def serving(settings: Settings, *, extra_steps: Sequence[StepKind] = ()) -> AsyncIterator[Services]:
    """Give the services of an API process, with a worker inside unless EMBEDDED_WORKER says no."""
    async with build_services(settings, extra_steps=extra_steps) as services:
        if not settings.embedded_worker:
            yield services
            return
        async with working(services):
            yield services


@asynccontextmanager
async def build_services(settings: Settings, *, extra_steps: Sequence[StepKind] = ()) -> AsyncIterator[Services]:
    """Give everything connected, with nothing running yet, and close it at the end.

    `extra_steps` are step kinds beside our own: benches and tests bring theirs.

    Raises: MissingKeysError, SchemaBehindError: this process may not start.
    """
    raise_open_file_limit()
    keys = prepare_keys(settings)
    database = Database(
        settings.resolved_database_url, schema=settings.database_schema, pool_size=settings.database_pool_size
    )
    http = HttpClient()
    try:
        await prepare_database(database, settings)
        keys_service = ApiKeyService(database, KeyHasher(keys.secret_key), keys.operator_keys)
        services = _connect(settings, database, http, keys_service, extra_steps=extra_steps)
        yield services
        await services.jobs.close()
        await services.llm.close()
        await services.api_keys.close()
    finally:
        await http.close()
        await database.close()


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """Run jobs while the block lasts; then stop in good order and hand back what is not done."""
    settings = services.settings
    let_short_lived_objects_die()
    listener = _listen(services)
    await services.lease.register()
    await services.sweeper.start()
    await services.doorbell.start(services.runner.run_next)
    if listener is not None:
        await listener.start()
    try:
        yield
    finally:
        if listener is not None:
            await listener.stop()
        await services.doorbell.stop()
        await services.runner.stop(grace_seconds=settings.shutdown_grace_seconds)
        await services.sweeper.stop()
        await services.journal.close()
        await services.finishes.close()
        await services.lease.stop()


async def prepare_database(database: Database, settings: Settings) -> None:
    """Bring the tables up to date; in production only look. Raises: SchemaBehindError."""
    if settings.environment != "production":
        await migrations.upgrade(database)
        return
    at, needed = await migrations.current(database), migrations.head()
    if at != needed:
        raise SchemaBehindError(
            f"The database is at revision {at or 'none'} and this version needs {needed}. "
            "Run `callboard db upgrade` (with a backup at hand), then start again."
        )


def build_step_registry(
    llm: LLMClient, services: ServiceRegistry, *, extra_steps: Sequence[StepKind] = ()
) -> StepRegistry:
    """Return the step kinds that workflow files may use."""
    transforms = TransformRegistry([ExtractFields(), Join(), MarkdownToJson(), Merge(), Template()])
    return StepRegistry(
        [
            LLMStep(llm),
            ExternalApiStep(services),
            TransformStep(transforms),
            ConditionalStep(),
            ParallelStep(),
            *extra_steps,
        ]
    )


def _connect(
    settings: Settings,
    database: Database,
    http: HttpClient,
    api_keys: ApiKeyService,
    *,
    extra_steps: Sequence[StepKind],
) -> Services:
    telemetry = Telemetry()
    answers = RecordedAnswers.load(settings.prompts_dir)
    prices = ModelPrices(settings.external_service_pricing)
    llm = _build_llm(settings, http, answers, prices, telemetry)
    outside = ServiceRegistry([_build_places(settings, http, answers)])
    registry = build_step_registry(llm, outside, extra_steps=extra_steps)
    workflows = _build_workflows(settings, registry, answers)
    doorbell = EmbeddedDoorbell(poll_seconds=settings.poll_seconds)
    endings = Endings(lambda ids: find_ended(database, ids))
    lease = WorkerLease(database, lease_seconds=settings.lease_seconds, slots=settings.max_running_jobs)
    journal = Journal(database, max_output_bytes=settings.max_step_output_bytes, telemetry=telemetry, lease=lease)
    finishes = Finishes(database, telemetry=telemetry, lease=lease)
    runner = JobRunner(
        database,
        engine=Engine(max_output_bytes=settings.max_step_output_bytes),
        bundles=BundleStore(database, registry),
        journal=journal,
        finishes=finishes,
        endings=endings,
        lease=lease,
        telemetry=telemetry,
        secrets=read_secret,
        max_running=settings.max_running_jobs,
        ring=doorbell.ring,
    )
    return Services(
        settings=settings,
        database=database,
        telemetry=telemetry,
        api_keys=api_keys,
        catalogue=workflows,
        jobs=JobService(
            database,
            workflows=workflows,
            doorbell=doorbell,
            endings=endings,
            estimator=WaitEstimator(lambda: read_wait_numbers(database)),
            telemetry=telemetry,
            idempotency_hours=settings.idempotency_hours,
            abort_run=runner.cancel,
        ),
        llm=llm,
        prices=prices,
        health=HealthService(settings, database, queue_stats=DatabaseQueueStats(database), workflow_files=workflows),
        doorbell=doorbell,
        runner=runner,
        sweeper=Sweeper(
            database,
            runner=runner,
            lease=lease,
            lease_seconds=settings.lease_seconds,
            idempotency_hours=settings.idempotency_hours,
            ring=doorbell.ring,
        ),
        lease=lease,
        journal=journal,
        finishes=finishes,
    )


def _build_llm(
    settings: Settings, http: HttpClient, answers: RecordedAnswers, prices: ModelPrices, telemetry: Telemetry
) -> LLMClient:
    def count(provider: str, model: str, outcome: str, response: LLMResponse | None) -> None:
        telemetry.llm_call(
            provider,
            model,
            outcome=outcome,
            input_tokens=response.usage.input_tokens if response else 0,
            output_tokens=response.usage.output_tokens if response else 0,
            cost=response.cost.usd if response else NO_COST.usd,
        )

    breakers = CircuitBreakers(threshold=settings.breaker_failures, open_seconds=settings.breaker_seconds)
    client = LLMClient(_build_providers(settings, http, answers, prices), breakers=breakers, on_outcome=count)
    telemetry.watch_breakers(client.open_circuits)
    return client


def _build_providers(
    settings: Settings, http: HttpClient, answers: RecordedAnswers, prices: ModelPrices
) -> Iterator[Provider]:
    """Yield the providers that can be used: those with a key, and the two that need none."""
    for name, key, base_url in (
        ("openrouter", settings.openrouter_api_key, settings.openrouter_base_url),
        ("openai", settings.openai_api_key, settings.openai_base_url),
    ):
        if key is not None:
            yield OpenAICompatibleProvider(name, base_url=base_url, api_key=_plain(key), http=http, prices=prices)
    if settings.openai_compatible_base_url is not None:
        yield OpenAICompatibleProvider(
            "openai_compatible",
            base_url=settings.openai_compatible_base_url,
            api_key=_plain(settings.openai_compatible_api_key),
            http=http,
            prices=prices,
        )
    if settings.anthropic_api_key is not None:
        yield AnthropicProvider(
            base_url=settings.anthropic_base_url,
            api_key=_plain(settings.anthropic_api_key),
            http=http,
            prices=prices,
        )
    yield ReplayProvider(answers, prices)
    yield SandboxProvider()


def _build_places(settings: Settings, http: HttpClient, answers: RecordedAnswers) -> ExternalService:
    """Return Google Places: live with a key, else made up where the sandbox was chosen, else recorded."""
    prices = settings.external_service_pricing
    if settings.google_places_api_key is not None:
        return GooglePlaces(
            http=http,
            api_key=settings.google_places_api_key.get_secret_value(),
            base_url=settings.google_places_base_url,
            prices=prices,
        )
    return SandboxPlaces() if settings.default_llm_provider == "sandbox" else ReplayPlaces(answers, prices=prices)


def _build_workflows(settings: Settings, registry: StepRegistry, answers: RecordedAnswers) -> WorkflowService:
    def check(bundle: Bundle) -> tuple[WorkflowFinding, ...]:
        try:
            return compile_workflow(bundle, registry).warnings
        except InvalidWorkflowError as error:
            return error.findings

    def defaults_for(name: str) -> Mapping[str, Any]:
        provider = settings.default_llm_provider or settings.provider_with_key()
        provider = provider or ("replay" if answers.has_answers_for(name) else "sandbox")
        return {
            "provider": provider,
            "model": settings.default_llm_model_name or DEFAULT_MODELS.get(provider),
            "model_aliases": settings.model_aliases,
        }

    catalogue = WorkflowCatalogue(
        settings.workflows_dir, settings.prompts_dir, settings.markdown_schemas_dir, check=check
    )
    return WorkflowService(catalogue, registry, defaults_for=defaults_for)


def _listen(services: Services) -> NotificationListener | None:
    """Return what hears other processes ring, on PostgreSQL; on SQLite polling does."""
    database = services.database
    if not database.is_postgresql:
        return None

    def heard(payload: str) -> None:
        kind, _, job_id = payload.partition(" ")
        if kind == "cancel":
            services.runner.cancel(UUID(job_id))
        else:
            services.doorbell.ring()

    return NotificationListener(database.url, channel=f"{WORK_CHANNEL}_{database.schema}", on_notify=heard)


def read_secret(name: str) -> str | None:
    """Return the secret that `${secrets.NAME}` stands for, or None: it is CALLBOARD_SECRET_NAME's value."""
    return os.environ.get(SECRET_PREFIX + name)


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
