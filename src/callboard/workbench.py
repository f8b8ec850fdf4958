"""What steps work with: providers, outside services, transforms, step kinds, and what reads workflow files.

`wiring.py` builds one for a server or a worker; commands that need neither database nor server (`callboard run`,
`validate`, `diagram`) open one by `open_workbench`. To find who does what, grep a name here and land on its code.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from callboard.core.breaker import CircuitBreakers
from callboard.core.cache import AnswerCache, AnswerStore
from callboard.core.config import Settings
from callboard.core.http_client import HttpClient
from callboard.core.pricing import NO_COST
from callboard.core.replay import RecordedAnswers
from callboard.core.telemetry import Telemetry
from callboard.integrations.port import ExternalService
from callboard.integrations.recording import RecordingService
from callboard.integrations.registry import ServiceRegistry
from callboard.llm.agents import Runner
from callboard.llm.anthropic import AnthropicProvider
from callboard.llm.client import LLMClient
from callboard.llm.openai_compatible import OpenAICompatibleProvider
from callboard.llm.port import LLMResponse, Provider
from callboard.llm.pricing import ModelPrices, resolve_alias
from callboard.llm.recording import RecordingClient
from callboard.llm.replay import ReplayProvider
from callboard.llm.sandbox import SandboxProvider
from callboard.outside_services import build_registry, build_services
from callboard.plugins import (
    SERVICES,
    STEPS,
    TRANSFORMS,
    FoundPlugin,
    PluginContext,
    find_plugins,
    load_plugins,
)
from callboard.workflows.bundles import Bundle
from callboard.workflows.call_prices import CallPrices
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.engine import MAX_STEP_OUTPUT_BYTES
from callboard.workflows.errors import InvalidWorkflowError
from callboard.workflows.file_schema import FormatParts, build_file_schema
from callboard.workflows.files import WorkflowFileReader, WorkflowFolders
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.model_doubts import KnownModels, find_model_doubts
from callboard.workflows.prompts import PromptSource
from callboard.workflows.short_forms import FORMAT_TYPES
from callboard.workflows.steps.approval import ApprovalStep
from callboard.workflows.steps.base import StepKind
from callboard.workflows.steps.conditional import ConditionalStep
from callboard.workflows.steps.external_api import ExternalApiStep
from callboard.workflows.steps.llm import LLMStep
from callboard.workflows.steps.parallel import ParallelStep
from callboard.workflows.steps.registry import StepRegistry
from callboard.workflows.steps.transform import TransformStep
from callboard.workflows.steps.wait import WaitStep
from callboard.workflows.steps.workflow import WorkflowStep
from callboard.workflows.transforms.base import Transform
from callboard.workflows.transforms.extract_fields import ExtractFields
from callboard.workflows.transforms.filter import Filter
from callboard.workflows.transforms.join import Join
from callboard.workflows.transforms.map import Map
from callboard.workflows.transforms.markdown_to_json import MarkdownToJson
from callboard.workflows.transforms.merge import Merge
from callboard.workflows.transforms.regex_extract import RegexExtract
from callboard.workflows.transforms.registry import FORMAT_OPERATIONS, TransformRegistry
from callboard.workflows.transforms.sort import Sort
from callboard.workflows.transforms.template import Template
from callboard.workflows.transforms.unique import Unique

TRANSFORM_THREADS = 4  # they share Python's one lock: more of them would only make the loop wait longer for it
SECRET_PREFIX = "CALLBOARD_SECRET_"  # noqa: S105 - `${secrets.NAME}` is read from CALLBOARD_SECRET_NAME
DEFAULT_MODELS = {  # what an llm step gets that names no model, where DEFAULT_LLM_MODEL_NAME is empty
    "openrouter": "anthropic/claude-3.5-sonnet",
    "anthropic": "claude-3-5-sonnet-20241022",
    "openai": "gpt-4o",
    "replay": "anthropic/claude-3.5-sonnet",
    "sandbox": "sandbox",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What runs and checks workflow files. It needs no database and holds no run."""

    settings: Settings
    telemetry: Telemetry
    answers: RecordedAnswers
    prices: ModelPrices
    llm: LLMClient
    services: ServiceRegistry
    cache: AnswerCache
    registry: StepRegistry
    transform_threads: Executor
    reader: WorkflowFileReader
    defaults_for: Callable[[str], Mapping[str, Any]]

    @property
    def call_prices(self) -> CallPrices:
        """What calls would cost, for dry runs and budgets."""
        return CallPrices(self.prices, self.settings.external_service_pricing)

    def reader_for(self, folders: WorkflowFolders) -> WorkflowFileReader:
        """Return a reader that looks into `folders`; `folders_for(file, workbench.reader.folders)` finds them."""
        return self.reader.with_folders(folders)

    def runner(self, provider: str | None = None, model: str | None = None) -> Runner:
        """Return what runs agents: on `provider`, or the settings' own. `model` serves agents that name none."""
        defaults = self.defaults_for("")
        return Runner(
            self.llm,
            provider=provider or defaults["provider"],
            model=model or (DEFAULT_MODELS.get(provider) if provider else defaults["model"]),
            model_aliases=self.settings.model_aliases,
        )

    def file_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of workflow files, with all that plugins add."""
        transform = self.registry.get(TransformStep.type)
        parts = FormatParts(
            operations=transform.operation_models if isinstance(transform, TransformStep) else {},
            methods={name: self.services.get(name).methods for name in self.services.names},
        )
        return build_file_schema(self.registry, parts)

    async def close(self) -> None:
        """Give up what the providers and services hold, when the kept answers are written."""
        await self.cache.close()
        await self.llm.close()
        await self.services.close()
        self.transform_threads.shutdown(wait=False, cancel_futures=True)


@asynccontextmanager
async def open_workbench(settings: Settings, *, extra_steps: Sequence[StepKind] = ()) -> AsyncIterator[Workbench]:
    """Give a workbench with connections of its own, and close it at the end."""
    http = HttpClient()
    try:
        workbench = build_workbench(settings, http, extra_steps=extra_steps, can_record=True)
        yield workbench
        await workbench.close()
    finally:
        await http.close()


def build_workbench(
    settings: Settings,
    http: HttpClient,
    *,
    extra_steps: Sequence[StepKind] = (),
    answer_store: AnswerStore | None = None,
    can_record: bool = False,
) -> Workbench:
    """Return what steps work with, by `settings`. `extra_steps` are step kinds beside our own.

    `answer_store` keeps answers (`cache_ttl`) beyond this process; without one they are kept in its memory.
    With `can_record`, runs in memory may record their calls, or be served recorded ones (`core/recording.py`).
    """
    telemetry = Telemetry()
    answers = RecordedAnswers.load(settings.prompts_dir)
    prices = ModelPrices(settings.external_service_pricing)
    llm = _build_llm(settings, http, answers, prices, telemetry)
    own_services = build_services(settings, http, answers)
    plugins = load_plugins(_plugin_context(settings, http), taken=_own_names(own_services, extra_steps))
    all_services: list[ExternalService] = [*own_services, *plugins.services]
    if can_record:
        llm, all_services = RecordingClient(llm, prices), [RecordingService(service) for service in all_services]
    services = build_registry(settings, all_services, telemetry)
    cache = AnswerCache(answer_store, max_answer_bytes=settings.max_step_output_bytes)
    transform_threads = ThreadPoolExecutor(TRANSFORM_THREADS, thread_name_prefix="transform")
    registry = build_step_registry(
        llm,
        services,
        extra_steps=(*extra_steps, *plugins.steps),
        extra_transforms=plugins.transforms,
        cache=cache,
        prices=CallPrices(prices, settings.external_service_pricing),
        transform_threads=transform_threads,
        max_output_bytes=settings.max_step_output_bytes,
    )
    return Workbench(
        settings=settings,
        telemetry=telemetry,
        answers=answers,
        prices=prices,
        llm=llm,
        services=services,
        cache=cache,
        registry=registry,
        transform_threads=transform_threads,
        reader=_build_reader(settings, registry, prices),
        defaults_for=_build_defaults(settings, answers),
    )


def build_step_registry(
    llm: LLMClient,
    services: ServiceRegistry,
    *,
    extra_steps: Sequence[StepKind] = (),
    extra_transforms: Sequence[Transform] = (),
    cache: AnswerCache | None = None,
    prices: CallPrices | None = None,
    transform_threads: Executor | None = None,
    max_output_bytes: int = MAX_STEP_OUTPUT_BYTES,
) -> StepRegistry:
    """Return the step kinds that workflow files may use. Without `transform_threads` the loop's own serve."""
    transforms = TransformRegistry(
        [
            *(ExtractFields(), Filter(), Join(), Map(), MarkdownToJson()),
            *(Merge(), RegexExtract(), Sort(), Template(), Unique()),
            *extra_transforms,
        ]
    )
    return StepRegistry(
        [
            LLMStep(llm, cache, prices=prices),
            ExternalApiStep(services, cache, prices=prices),
            TransformStep(transforms, transform_threads, max_output_bytes=max_output_bytes),
            ConditionalStep(),
            ParallelStep(),
            ApprovalStep(),
            WaitStep(),
            WorkflowStep(),
            *extra_steps,
        ]
    )


def find_installed_plugins(settings: Settings, http: HttpClient) -> list[FoundPlugin]:
    """Return what installed packages add, and what of it cannot be used and why."""
    own_services = build_services(settings, http, RecordedAnswers.load(settings.prompts_dir))
    return find_plugins(_plugin_context(settings, http), taken=_own_names(own_services, ()))


def _plugin_context(settings: Settings, http: HttpClient) -> PluginContext:
    return PluginContext(http=http, read_secret=read_secret, prices=settings.external_service_pricing)


def _own_names(services: Sequence[ExternalService], steps: Sequence[StepKind]) -> Mapping[str, Sequence[str]]:
    """Return the names that no plugin may take: ours, and those that the workflow format will bring."""
    return {
        SERVICES: [service.name for service in services],
        TRANSFORMS: sorted(FORMAT_OPERATIONS),
        STEPS: [*sorted(FORMAT_TYPES), *(kind.type for kind in steps)],
    }


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


def _build_reader(settings: Settings, registry: StepRegistry, prices: ModelPrices) -> WorkflowFileReader:
    """Return what reads workflow files, each compiled to see what is wrong with it."""

    usual_provider = settings.default_llm_provider or settings.provider_with_key()

    def has_price(provider: str | None, model: str) -> bool:
        name = resolve_alias(model, settings.model_aliases)
        asked = (provider,) if provider is not None else (None, usual_provider)
        return any(prices.find(name, each) is not None for each in asked)

    def priced_names() -> list[str]:
        return [price.model for price in prices.list(("openai", "anthropic", "openrouter"))]

    models = KnownModels(has_price, priced_names)

    def check(bundle: Bundle, prompts: PromptSource) -> list[WorkflowFinding]:
        doubts = find_model_doubts(bundle.definition, models)
        try:
            return [*compile_workflow(bundle, registry, prompts=prompts).warnings, *doubts]
        except InvalidWorkflowError as error:
            return [*error.findings, *doubts]

    folders = WorkflowFolders(
        prompts_dir=settings.prompts_dir,
        markdown_schemas_dir=settings.markdown_schemas_dir,
        definitions_dir=settings.workflows_dir,
    )
    return WorkflowFileReader(folders, check=check)


def _build_defaults(settings: Settings, answers: RecordedAnswers) -> Callable[[str], Mapping[str, Any]]:
    """Return what resolves the provider and model of llm steps that name none, for a workflow by its name."""

    def defaults_for(name: str) -> Mapping[str, Any]:
        provider = settings.default_llm_provider or settings.provider_with_key()
        provider = provider or ("replay" if answers.has_answers_for(name) else "sandbox")
        return {
            "provider": provider,
            "model": settings.default_llm_model_name or DEFAULT_MODELS.get(provider),
            "model_aliases": settings.model_aliases,
        }

    return defaults_for


def replay_defaults() -> dict[str, Any]:
    """Return the defaults of llm steps that are served kept answers: the same on every machine."""
    return {"provider": "replay", "model": DEFAULT_MODELS["replay"], "model_aliases": {}}


def read_secret(name: str) -> str | None:
    """Return the secret that `${secrets.NAME}` stands for, or None: it is CALLBOARD_SECRET_NAME's value."""
    return os.environ.get(SECRET_PREFIX + name)


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
