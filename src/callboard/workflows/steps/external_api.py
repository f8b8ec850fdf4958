"""The `external_api` step: one call of an outside service. `wiring` hands it to the registry."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from callboard.core.errors import StepError
from callboard.core.json_values import JsonValue
from callboard.integrations.errors import UnknownServiceError
from callboard.integrations.port import ExternalService, ServiceResult, suggest_name
from callboard.integrations.registry import ServiceRegistry
from callboard.workflows.references import Template
from callboard.workflows.steps.base import (
    ConfigModel,
    PaidCall,
    StepBody,
    StepCompiler,
    StepExecution,
    StepTimeoutError,
    UsageRecord,
)
from callboard.workflows.steps.redaction import redact


class ExternalApiConfig(BaseModel):
    """Which method of which service is called, and with what."""

    model_config = ConfigDict(extra="forbid")

    service: str
    method: str = Field(validation_alias=AliasChoices("method", "operation"))
    parameters: dict[str, Any] = Field(default_factory=dict, description="With references; ${secrets.NAME} too.")
    cache_ttl: int = Field(0, ge=0, description="Seconds for which an answer is kept; 0: not at all.")


class ExternalApiStep:
    """The kind `external_api`. Its output: data, cached, status_code, duration_ms."""

    type = "external_api"
    config_model: ConfigModel = ExternalApiConfig
    is_container = False

    def __init__(self, services: ServiceRegistry) -> None:
        self._services = services

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
        # what references bring is not known yet, but which parameters there are is
        codes = None if parameters.is_constant else ("unknown_field", "missing_field")
        step.check(config.parameters, model, "parameters", codes=codes)
        return _Call(service=service, method=config.method, parameters=parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call(StepBody):
    service: ExternalService
    method: str
    parameters: Template

    async def run(self, execution: StepExecution) -> JsonValue:
        return await execution.context.call_once(lambda: self._perform(execution))

    async def _perform(self, execution: StepExecution) -> PaidCall:
        used_secrets = _UsedSecrets(execution.context.resolve_secret)
        try:
            parameters = self.parameters.render(execution.scope, secrets=used_secrets.resolve)
            result = await self._call(parameters, execution.timeout_seconds)
        except StepError as error:
            raise used_secrets.without(error) from None
        return PaidCall(
            value={
                "data": redact(result.data, used_secrets.values),
                "cached": result.cached,
                "status_code": result.status_code,
                "duration_ms": result.duration_ms,
            },
            usage=self._usage(result, execution.step_id),
        )

    async def _call(self, parameters: dict[str, Any], timeout_seconds: float) -> ServiceResult:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self.service.call(self.method, parameters)
        except TimeoutError:
            raise StepTimeoutError(
                f"{self.service.name}.{self.method} did not answer within {timeout_seconds:g} s (timeout_seconds)."
            ) from None

    def _usage(self, result: ServiceResult, task_name: str) -> UsageRecord:
        price = result.cost.price
        return UsageRecord(
            service=self.service.name,
            provider=self.service.provider,
            model=self.method,
            task_name=task_name,
            input_units=result.units,
            output_units=0,
            cost_usd=result.cost.usd,
            duration_ms=result.duration_ms,
            metadata={
                "price_source": result.cost.source,
                "price_id": result.cost.price_id,
                "call_usd": None if price is None else str(price.call_usd),
                "input_usd": None if price is None else str(price.input_usd),
                "status_code": result.status_code,
                "cached": result.cached,
            },
        )


class _UsedSecrets:
    """The secrets that one call was given: nothing that comes back from it may show them."""

    def __init__(self, resolve: Callable[[str], str]) -> None:
        self._resolve = resolve
        self.values: set[str] = set()

    def resolve(self, name: str) -> str:
        value = self._resolve(name)
        self.values.add(value)
        return value

    def without(self, error: StepError) -> StepError:
        """Return `error` with no secret in its message, its details or its causes."""
        if self.values:
            error.message = redact(error.message, self.values)
            error.args = (error.message,)
            error.details = redact(error.details, self.values)
            error.__cause__ = error.__context__ = None
        return error
