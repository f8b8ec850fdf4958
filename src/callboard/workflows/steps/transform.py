"""The `transform` step: one operation on a value, without any outside call. `wiring` hands it to the registry."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.references import Scope, Template, compile_template
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution, StepTimeoutError
from callboard.workflows.transforms.base import Transform, TransformTools, UnknownTransformError
from callboard.workflows.transforms.registry import TransformRegistry


class TransformConfigError(PermanentError):
    """What the references in a transform's config led to is not what the operation takes."""

    code = "transform_config_invalid"
    category = "workflow"


class TransformConfig(BaseModel):
    """The operation, what it works on, and what it takes."""

    model_config = ConfigDict(extra="forbid")

    operation: str
    input: Any = Field(None, description="What the operation works on, with references.")
    source: Any = Field(None, description="The same as `input`.")
    config: dict[str, Any] = Field(default_factory=dict, description="What the operation itself takes.")


class TransformStep:
    """The kind `transform`. `executor` runs the operations that would hold the event loop."""

    type = "transform"
    config_model: ConfigModel = TransformConfig
    is_container = False

    def __init__(self, transforms: TransformRegistry, executor: Executor | None = None) -> None:
        self._transforms = transforms
        self._executor = executor

    def compile(self, step: StepCompiler) -> StepBody:
        config = step.config(TransformConfig)
        try:
            transform = self._transforms.get(config.operation)
        except UnknownTransformError as error:
            step.refuse(error.message, "operation", code=error.code)
        given = transform.normalise({key: value for key, value in config.config.items() if key != "source"})
        rendered = {key: value for key, value in given.items() if key not in transform.raw_fields}
        raw = {key: value for key, value in given.items() if key in transform.raw_fields}
        for key, value in raw.items():
            step.template(value, "config", key, names=None)  # its items' keys are names too
        template = step.template(rendered, "config")
        fixed = None
        if template.is_constant:
            fixed = step.parse({**template.render(Scope()), **raw}, transform.config_model, "config")
            for finding in transform.check(fixed, step.markdown_schemas):
                step.report(finding.message, "config", *finding.pointer.split("/")[1:], code=finding.code)
        return _Operation(
            transform=transform,
            value=_compile_input(step, config, transform),
            rendered=template,
            raw=raw,
            fixed=fixed,
            markdown_schemas=step.markdown_schemas,
            executor=self._executor,
        )


def _compile_input(step: StepCompiler, config: TransformConfig, transform: Transform) -> Template:
    for place, value in (
        (("input",), config.input),
        (("source",), config.source),
        (("config", "source"), config.config.get("source")),
    ):
        if value is not None:
            return step.template(value, *place)
    if transform.needs_input and not {"input", "source"} & config.model_fields_set:
        step.report(f'The operation "{transform.operation}" needs an input.', code="missing_field")
    return step.template(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation(StepBody):
    transform: Transform
    value: Template
    rendered: Template
    raw: Mapping[str, JsonValue]
    fixed: BaseModel | None  # the config, where it holds no references
    markdown_schemas: Mapping[str, Mapping[str, Any]]
    executor: Executor | None
    templates: dict[bytes, Template] = field(default_factory=dict)  # of raw fields, by their JSON: compiled once

    async def run(self, execution: StepExecution) -> JsonValue:
        scope = execution.scope
        value = self.value.render(scope)
        config = self.fixed if self.fixed is not None else self._read_config(scope)
        tools = TransformTools(
            render=lambda template, names: self._render(template, scope, names), markdown_schemas=self.markdown_schemas
        )
        if not self.transform.runs_in_thread:
            return self.transform.apply(value, config, tools)
        work = asyncio.get_running_loop().run_in_executor(self.executor, self.transform.apply, value, config, tools)
        try:
            async with asyncio.timeout(execution.timeout_seconds):
                return await work
        except TimeoutError as error:
            raise StepTimeoutError(
                f"The operation {self.transform.operation} took longer than {execution.timeout_seconds:g} s "
                "(timeout_seconds)."
            ) from error

    def _read_config(self, scope: Scope) -> BaseModel:
        try:
            return self.transform.config_model.model_validate({**self.rendered.render(scope), **self.raw})
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, item['loc'])) or 'config'}: {item['msg']}" for item in error.errors()]
            raise TransformConfigError(
                f"The config of {self.transform.operation} does not fit once its references are filled in: "
                f"{'; '.join(faults)}."
            ) from error

    def _render(self, value: JsonValue, scope: Scope, names: Mapping[str, JsonValue]) -> JsonValue:
        key = orjson.dumps(value)
        template = self.templates.get(key)
        if template is None:
            self.templates[key] = template = compile_template(value, where=self.transform.operation)
        return template.render(replace(scope, locals={**scope.locals, **names}))
