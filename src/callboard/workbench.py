"""What steps work with: providers, outside services, transforms, step kinds, and what reads workflow files.

`wiring.py` builds one for a server or a worker; commands that need neither database nor server (`callboard run`,
`validate`, `diagram`) open one by `open_workbench`. To find who does what, grep a name here and land on its code.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from callboard.core.breaker import CircuitBreakers
from callboard.core.config import Settings
from callboard.core.http_client import HttpClient
from callboard.core.pricing import NO_COST
from callboard.core.replay import RecordedAnswers
from callboard.core.telemetry import Telemetry
from callboard.integrations.google_places import GooglePlaces
from callboard.integrations.google_places_replay import ReplayPlaces
from callboard.integrations.google_places_sandbox import SandboxPlaces
from callboard.integrations.port import ExternalService
from callboard.integrations.registry import ServiceRegistry
from callboard.llm.anthropic import AnthropicProvider
from callboard.llm.client import LLMClient
from callboard.llm.openai_compatible import OpenAICompatibleProvider
from callboard.llm.port import LLMResponse, Provider
from callboard.llm.pricing import ModelPrices
from callboard.llm.replay import ReplayProvider
from callboard.llm.sandbox import SandboxProvider
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import InvalidWorkflowError
from callboard.workflows.files import WorkflowFileReader
from callboard.workflows.findings import WorkflowFinding
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What runs and checks workflow files. It needs no database and holds no run."""

    settings: Settings
    telemetry: Telemetry
    answers: RecordedAnswers
    prices: ModelPrices
    llm: LLMClient
    services: ServiceRegistry
    registry: StepRegistry
    reader: WorkflowFileReader
    defaults_for: Callable[[str], Mapping[str, Any]]

    async def close(self) -> None:
        """Give up what the providers and services hold."""
        await self.llm.close()
        await self.services.close()


@asynccontextmanager
async def open_workbench(settings: Settings, *, extra_steps: Sequence[StepKind] = ()) -> AsyncIterator[Workbench]:
    """Give a workbench with connections of its own, and close it at the end."""
    http = HttpClient()
    try:
        workbench = build_workbench(settings, http, extra_steps=extra_steps)
        yield workbench
        await workbench.close()
    finally:
        await http.close()


def build_workbench(settings: Settings, http: HttpClient, *, extra_steps: Sequence[StepKind] = ()) -> Workbench:
    """Return what steps work with, by `settings`. `extra_steps` are step kinds beside our own."""
    telemetry = Telemetry()
    answers = RecordedAnswers.load(settings.prompts_dir)
    prices = ModelPrices(settings.external_service_pricing)
    llm = _build_llm(settings, http, answers, prices, telemetry)
    services = ServiceRegistry([_build_places(settings, http, answers)])
    registry = build_step_registry(llm, services, extra_steps=extra_steps)
    return Workbench(
        settings=settings,
        telemetry=telemetry,
        answers=answers,
        prices=prices,
        llm=llm,
        services=services,
        registry=registry,
        reader=_build_reader(settings, registry),
        defaults_for=_build_defaults(settings, answers),
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


def _build_reader(settings: Settings, registry: StepRegistry) -> WorkflowFileReader:
    """Return what reads workflow files, each compiled to see what is wrong with it."""

    def check(bundle: Bundle) -> tuple[WorkflowFinding, ...]:
        try:
            return compile_workflow(bundle, registry).warnings
        except InvalidWorkflowError as error:
            return error.findings

    return WorkflowFileReader(settings.prompts_dir, settings.markdown_schemas_dir, check=check)


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


def read_secret(name: str) -> str | None:
    """Return the secret that `${secrets.NAME}` stands for, or None: it is CALLBOARD_SECRET_NAME's value."""
    return os.environ.get(SECRET_PREFIX + name)


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
