"""The `external_api` step: one call of an outside service. `workbench` hands it to the registry."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from callboard.core.cache import MAX_TTL_SECONDS, AnswerCache, cache_key
from callboard.core.errors import StepError
from callboard.core.json_values import JsonValue
from callboard.integrations.errors import UnknownServiceError
from callboard.integrations.guarded import GuardedService
from callboard.integrations.port import ServiceResult, suggest_name
from callboard.integrations.registry import ServiceRegistry
from callboard.workflows.call_budgets import CallBound
from callboard.workflows.call_prices import CallPrices
from callboard.workflows.references import Scope, Template
from callboard.workflows.steps.base import (
    ConfigModel,
    PaidCall,
    StepBody,
    StepCompiler,
    StepExecution,
)
from callboard.workflows.steps.external_api_answers import (
    build_kept_usage,
    build_usage,
    is_success,
    journal_kept_result,
    journal_result,
)
from callboard.workflows.steps.foresight import Foreseen, ForeseenServiceCall, IsKnown
from callboard.workflows.steps.redaction import PLACEHOLDER, UsedSecrets

WRITING_METHODS = frozenset({"post", "put", "patch", "delete", "request"})  # called for what they do, too
OUTPUT_SHAPE: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "data": {},
        "cached": {"type": "boolean"},
        "status_code": {"type": "integer"},
        "duration_ms": {"type": "integer"},
    },
    "additionalProperties": False,
}


class ExternalApiConfig(BaseModel):
    """Which method of which service is called, and with what."""

    model_config = ConfigDict(extra="forbid", strict=True)

    service: str = Field(description="Which service is called.")
    method: str = Field(
        validation_alias=AliasChoices("method", "operation"), description="Which of its methods; also `operation`."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="What the method takes, with references; ${secrets.NAME} too."
    )
    cache_ttl: int = Field(
        0, ge=0, le=MAX_TTL_SECONDS, description="Seconds for which an answer is kept; 0: not at all."
    )


class ExternalApiStep:
    """The kind `external_api`. Its output: data, cached, status_code, duration_ms."""

    type = "external_api"
    config_model: ConfigModel = ExternalApiConfig
    is_container = False

    def __init__(
        self, services: ServiceRegistry, cache: AnswerCache | None = None, *, prices: CallPrices | None = None
    ) -> None:
        """`cache` keeps answers for steps with a `cache_ttl`; left out, in this kind's own memory.

        `prices` tell budgets what a call can cost.
        """
        self._services = services
        self._prices = prices
        self._cache = cache or AnswerCache()

    def compile(self, step: StepCompiler) -> StepBody:
        parameters = step.template(step.raw.get("parameters", {}), "parameters", allows_secrets=True)
        config = step.config(ExternalApiConfig)
        try:
            service = self._services.get(config.service)
        except UnknownServiceError as error:
            step.refuse(error.message, "service", code=error.code)
        model = service.methods.get(config.method)
        if model is None:
            message = f'{service.name} has no method "{config.method}". {suggest_name(config.method, service.methods)}'
            step.refuse(message, "method" if "method" in step.raw else "operation", code="unknown_method")
        step.check(config.parameters, model, "parameters")
        return _Call(
            service=service,
            method=config.method,
            parameters=parameters,
            prices=self._prices,
            cache=self._cache,
            cache_ttl=config.cache_ttl,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call(StepBody):
    service: GuardedService
    method: str
    parameters: Template
    prices: CallPrices | None
    cache: AnswerCache
    cache_ttl: int

    def is_for_its_output(self) -> bool:
        return self.method not in WRITING_METHODS

    def output_shape(self) -> Mapping[str, Any]:
        return OUTPUT_SHAPE

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        del is_known
        return ForeseenServiceCall(
            service=self.service.name,
            provider=self.service.provider,
            method=self.method,
            parameters=self.parameters.render(scope, secrets=lambda _: PLACEHOLDER),
            may_be_kept=self.cache_ttl > 0,
        )

    async def run(self, execution: StepExecution) -> JsonValue:
        return await execution.context.call_once(lambda: self._perform(execution), bound=lambda: self._bound(execution))

    def _bound(self, execution: StepExecution) -> CallBound:
        service = self.service
        upper_usd = None
        if self.prices is not None:
            parameters = self.parameters.render(execution.scope, secrets=lambda _: PLACEHOLDER)
            upper_usd = self.prices.bound_of_service_call(service.name, service.provider, self.method, parameters)
        return CallBound(
            upper_usd=upper_usd, name=f"{service.name}.{self.method}", patience_seconds=execution.timeout_seconds
        )

    async def _perform(self, execution: StepExecution) -> PaidCall:
        used_secrets = UsedSecrets(execution.context.resolve_secret)
        try:
            parameters = self.parameters.render(execution.scope, secrets=used_secrets.resolve)
            if self.cache_ttl:
                return await self._call_unless_kept(execution, parameters, used_secrets)
            result = await self.service.call(self.method, parameters, timeout_seconds=execution.timeout_seconds)
        except StepError as error:
            raise used_secrets.without(error) from None
        return self._paid(result, execution, used_secrets)

    async def _call_unless_kept(
        self, execution: StepExecution, parameters: dict[str, Any], used_secrets: UsedSecrets
    ) -> PaidCall:
        """Return the kept answer to an equal call, or make the call and keep its answer as the journal has it."""
        started = time.monotonic()
        tenant_id, key = execution.context.tenant_id, self._key(parameters)
        async with self.cache.turn(
            tenant_id, key, ttl_seconds=self.cache_ttl, wait_seconds=execution.timeout_seconds
        ) as kept:
            if kept is None:
                result = await self.service.call(self.method, parameters, timeout_seconds=execution.timeout_seconds)
                paid = self._paid(result, execution, used_secrets)
                if is_success(result):
                    self.cache.keep(tenant_id, key, paid.value, ttl_seconds=self.cache_ttl)
                return paid
        value = journal_kept_result(kept, duration_ms=round((time.monotonic() - started) * 1000))
        return PaidCall(value=value, usage=build_kept_usage(self.service, self.method, value, execution.step_id))

    def _key(self, parameters: dict[str, Any]) -> str:
        # who really answers is a part of it: what the sandbox made up is not served once there is a key
        return cache_key(self.service.name, self.service.provider, self.method, parameters)

    def _paid(self, result: ServiceResult, execution: StepExecution, used_secrets: UsedSecrets) -> PaidCall:
        return PaidCall(
            value=journal_result(result, used_secrets.values),
            usage=build_usage(self.service, self.method, result, execution.step_id),
        )
