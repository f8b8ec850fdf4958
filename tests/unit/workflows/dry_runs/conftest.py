"""A dry run as its tests make one: real step kinds, a model and a service that count who asks them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.core.pricing import MILLION, UnitPrice
from callboard.integrations.registry import ServiceRegistry
from callboard.llm.client import LLMClient
from callboard.llm.pricing import ModelPrices
from callboard.workbench import build_step_registry
from callboard.workflows.bundles import Bundle
from callboard.workflows.call_prices import CallPrices
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.dry_runs.history import PastRuns, PastStep, Seen
from callboard.workflows.dry_runs.plans import DryRun, PlanStep
from callboard.workflows.dry_runs.walk import NO_INPUT, foresee
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.scripted_provider import ScriptedProvider
from tests.fixtures.scripted_service import ScriptedService

DEFAULTS = {"provider": "main", "model": "default-model", "model_aliases": {}}
PRICES = {  # per token: 1 and 10 millionths of a dollar; a call of the service: 2 cents
    "main/default-model": UnitPrice(input_usd=1 / MILLION, output_usd=10 / MILLION),
    "maps": UnitPrice(call_usd=Decimal("0.02")),
}


@dataclass
class Rehearsals:
    """Makes dry runs and keeps who was asked meanwhile: nobody."""

    provider: ScriptedProvider = field(default_factory=lambda: ScriptedProvider("main"))
    service: ScriptedService = field(default_factory=ScriptedService)
    prompts: dict[str, str] = field(default_factory=dict)

    @property
    def registry(self) -> StepRegistry:
        return build_step_registry(LLMClient([self.provider]), ServiceRegistry([self.service]))

    async def __call__(
        self,
        *steps: dict[str, Any],
        input_data: JsonValue = NO_INPUT,
        past: PastRuns | None = None,
        max_seconds: float = 30,
        workflows: dict[str, dict[str, Any]] | None = None,
        **fields: Any,
    ) -> DryRun:
        definition = {"name": "rehearsed", "steps": list(steps), **fields}
        others = {
            name: Bundle(definition={"name": name, **each}, prompts=self.prompts, defaults=DEFAULTS)
            for name, each in (workflows or {}).items()
        }
        bundle = Bundle(definition=definition, prompts=self.prompts, defaults=DEFAULTS, workflows=others)
        prices = CallPrices(ModelPrices(PRICES), PRICES)
        workflow = compile_workflow(bundle, self.registry)
        return await foresee(workflow, input_data, prices=prices, past=past, max_seconds=max_seconds)


@pytest.fixture
def rehearse() -> Iterator[Rehearsals]:
    rehearsals = Rehearsals()
    yield rehearsals
    assert (rehearsals.provider.asked, rehearsals.service.asked) == ([], [])


def say(step_id: str, template: str, **fields: Any) -> dict[str, Any]:
    """Return a transform that gives a text."""
    config = {"operation": "template", "config": {"template": template}}
    return {"id": step_id, "type": "transform", "config": config, **fields}


def ask(step_id: str, prompt: str, *, config: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a step that asks the model, with room for 400 tokens."""
    config = {"prompt_text": prompt, "max_tokens": 400, **(config or {})}
    return {"id": step_id, "type": "llm", "config": {k: v for k, v in config.items() if v is not None}, **fields}


def look_up(step_id: str, **fields: Any) -> dict[str, Any]:
    """Return a step that calls the service."""
    return {"id": step_id, "type": "external_api", "config": {"service": "maps", "method": "ask"}, **fields}


def choose(step_id: str, condition: str, if_true: Any, if_false: Any = ()) -> dict[str, Any]:
    """Return a decision."""
    config = {"condition": condition, "if_true": list(if_true), "if_false": list(if_false)}
    return {"id": step_id, "type": "conditional", "config": config}


def repeat(step_id: str, items: Any, *steps: dict[str, Any], **config: Any) -> dict[str, Any]:
    """Return a loop."""
    return {"id": step_id, "type": "parallel", "config": {"for_each": items, "steps": list(steps), **config}}


def past_step(**fields: Any) -> PastStep:
    """Return a step that came up once in each of ten runs, apart from `fields`."""
    return PastStep(**{"instances": Seen(1, 1, 1), "ran_share": 1.0, **fields})


def past_runs(**steps: PastStep) -> PastRuns:
    return PastRuns(runs=10, duration_ms=Seen(100, 200, 300), steps=steps)


def steps_of(plan: Any) -> dict[str, PlanStep]:
    """Return every step of a plan by its id, those inside others too."""
    found: dict[str, PlanStep] = {}
    for step in plan:
        found[step.id] = step
        for branch in step.branches:
            found |= steps_of(branch.steps)
    return found
