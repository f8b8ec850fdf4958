"""The `transform` step: one operation on a value, without any outside call. `workbench.py` hands it to the registry."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.reference_syntax import Star
from callboard.workflows.references import Scope, Template
from callboard.workflows.shape_faults import findings_of
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution, StepTimeoutError
from callboard.workflows.steps.foresight import Foreseen, ForeseenWork, IsKnown
from callboard.workflows.transforms.allowance import UNLIMITED_CHARS, Allowance, weigh
from callboard.workflows.transforms.base import Notation, Transform, TransformTools, UnknownTransformError
from callboard.workflows.transforms.registry import TransformRegistry

MAX_QUICK_WEIGHT = 500  # values and characters: 30 us to count, as long as the way to a thread and back takes

_ItemField: TypeAlias = Callable[[Scope], JsonValue]
_PRESENCE_CODES = frozenset({"unknown_field", "missing_field"})  # these need no value of a reference


class TransformConfigError(PermanentError):
    """What the references in a transform's config led to is not what the operation takes."""

    code = "transform_config_invalid"
    category = "workflow"


class TransformConfig(BaseModel):
    """The operation, what it works on, and what it takes."""

    model_config = ConfigDict(extra="forbid")

    operation: str = Field(description="What is done.")
    input: Any = Field(None, description="What the operation works on, with references.")
    source: Any = Field(None, description="The same as `input`.")
    config: dict[str, Any] = Field(default_factory=dict, description="What the operation itself takes.")


class TransformStep:
    """The kind `transform`. `executor` runs what would hold the event loop; results are at most `max_output_bytes`."""

    type = "transform"
    config_model: ConfigModel = TransformConfig
    is_container = False

    def __init__(
        self,
        transforms: TransformRegistry,
        executor: Executor | None = None,
        *,
        max_output_bytes: int = UNLIMITED_CHARS,
    ) -> None:
        self._transforms = transforms
        self._executor = executor
        self._max_output_bytes = max_output_bytes

    @property
    def operation_models(self) -> dict[str, ConfigModel]:
        """What each operation takes, by its name."""
        return {name: self._transforms.get(name).config_model for name in self._transforms.operations}

    def compile(self, step: StepCompiler) -> StepBody:
        config = step.config(TransformConfig)
        value = _compile_input(step, config)
        try:
            transform = self._transforms.get(config.operation)
        except UnknownTransformError as error:
            step.refuse(error.message, "operation", code=error.code)
        if value is None and transform.needs_input and not {"input", "source"} & config.model_fields_set:
            step.report(f'The operation "{transform.operation}" needs an input.', code="missing_field")
        given = transform.normalise({key: text for key, text in config.config.items() if key != "source"})
        item_fields = _compile_item_fields(step, transform, given, has_input=value is not None)
        filled_in = {
            name: step.template(text, "config", name)
            for name, text in given.items()
            if name not in transform.raw_fields and name not in transform.item_fields
        }
        return _Operation(
            transform=transform,
            value=value or step.template(None),
            filled_in=filled_in,
            kept={name: text for name, text in given.items() if name not in filled_in},
            item_fields=item_fields,
            fixed=_read_fixed(step, transform, given, filled_in),
            markdown_schemas=step.markdown_schemas,
            executor=self._executor,
            max_output_bytes=self._max_output_bytes,
        )


def _compile_input(step: StepCompiler, config: TransformConfig) -> Template | None:
    given = [
        (place, value)
        for place, value in (
            (("input",), config.input),
            (("source",), config.source),
            (("config", "source"), config.config.get("source")),
        )
        if value is not None
    ]
    for place, _ in given[1:]:
        name, first = ".".join(place), ".".join(given[0][0])
        step.report(f'"{name}" says the same as "{first}", and both are given; keep one.', *place, code="shape")
    return step.template(given[0][1], *given[0][0]) if given else None


def _compile_item_fields(
    step: StepCompiler, transform: Transform, given: Mapping[str, Any], *, has_input: bool
) -> dict[str, _ItemField]:
    """Return what works each per-item field out; a field of a wrong type is left to the operation's model."""
    compiled: dict[str, _ItemField] = {}
    for name, notation in transform.item_fields.items():
        text = given.get(name)
        names = transform.names_in(name, given, has_input=has_input)
        if notation is Notation.TEMPLATE and name in given:
            compiled[name] = step.template(text, "config", name, names=names).render
        elif notation is Notation.CONDITION and isinstance(text, str | bool):
            compiled[name] = step.condition(text, "config", name, names=names or ()).evaluate
        elif notation is Notation.EXPRESSION and isinstance(text, str):
            compiled[name] = step.expression(text, "config", name, names=names or ()).evaluate
    return compiled


def _read_fixed(
    step: StepCompiler, transform: Transform, given: Mapping[str, Any], filled_in: Mapping[str, Template]
) -> BaseModel | None:
    """Return the operation's config where nothing has to be filled in, with what is wrong with it reported.

    Where it holds references, report what is wrong whatever they lead to.
    """
    open_fields = {name for name, template in filled_in.items() if not template.is_constant or _is_broken(template)}
    if open_fields:
        _report_early(step, transform, given, open_fields)
        return None
    written_out = {name: template.render(Scope()) for name, template in filled_in.items()}
    fixed = step.parse({**given, **written_out}, transform.config_model, "config")
    for finding in transform.check(fixed, step.markdown_schemas):
        step.report(finding.message, "config", *finding.pointer.split("/")[1:], code=finding.code)
    return fixed


def _is_broken(template: Template) -> bool:
    """Return whether the compiler gave null in the place of what it could not read; it has told why."""
    return template.is_constant and template.render(Scope()) is None


def _report_early(step: StepCompiler, transform: Transform, given: Mapping[str, Any], open_fields: set[str]) -> None:
    """Report unknown and missing fields, and what is wrong with those that hold no reference."""
    try:
        transform.config_model.model_validate(given)
    except ValidationError as error:
        for finding in findings_of(error, dict(given), model=transform.config_model, pointer=""):
            place = [part.replace("~1", "/").replace("~0", "~") for part in finding.pointer.split("/")[1:]]
            if finding.code in _PRESENCE_CODES or (place and place[0] not in open_fields):
                step.report(finding.message, "config", *place, code=finding.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation(StepBody):
    transform: Transform
    value: Template
    filled_in: Mapping[str, Template]  # the config's fields in which references are filled in
    kept: Mapping[str, JsonValue]  # the others
    item_fields: Mapping[str, _ItemField]
    fixed: BaseModel | None  # the whole config, where it holds no references
    markdown_schemas: Mapping[str, Mapping[str, Any]]
    executor: Executor | None
    max_output_bytes: int

    def is_for_its_output(self) -> bool:
        return True

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        del scope, is_known  # whether all of it is known is told by the paths that the step reads
        return ForeseenWork()

    async def run(self, execution: StepExecution) -> JsonValue:
        allowance = Allowance(max_chars=self.max_output_bytes)
        work = partial(self._work, execution.scope, allowance)
        if self._is_quick(execution.scope):
            return work()
        try:
            async with asyncio.timeout(execution.timeout_seconds):
                return await asyncio.get_running_loop().run_in_executor(self.executor, work)
        except TimeoutError as error:
            raise StepTimeoutError(
                f"The operation {self.transform.operation} took longer than {execution.timeout_seconds:g} s "
                "(timeout_seconds)."
            ) from error
        finally:
            allowance.stop()  # the thread sees that nobody waits any more

    def _is_quick(self, scope: Scope) -> bool:
        """Return whether the work is done before a thread would have begun it."""
        templates = (self.value, *self.filled_in.values())
        if self.transform.runs_in_thread or any(map(_collects, templates)):
            return False
        # looked up once more when the work begins, which is cheaper than to hand it on
        rendered = [template.render(scope) for template in templates]
        return weigh(rendered, limit=MAX_QUICK_WEIGHT) < MAX_QUICK_WEIGHT

    def _work(self, scope: Scope, allowance: Allowance) -> JsonValue:
        tools = TransformTools(
            render=lambda field_name, names: self.item_fields[field_name](scope.with_locals(**names)),
            markdown_schemas=self.markdown_schemas,
            allowance=allowance,
        )
        value = self.value.render(scope)
        config = self.fixed if self.fixed is not None else self._read_config(scope)
        result = self.transform.apply(value, config, tools)
        Allowance(max_chars=self.max_output_bytes).take(result)
        return result

    def _read_config(self, scope: Scope) -> BaseModel:
        rendered = {name: template.render(scope) for name, template in self.filled_in.items()}
        try:
            return self.transform.config_model.model_validate({**self.kept, **rendered})
        except ValidationError as error:
            model = self.transform.config_model
            faults = [finding.message for finding in findings_of(error, rendered, model=model, pointer="")]
            raise TransformConfigError(
                f"The config of {self.transform.operation} does not fit once its references are filled in: "
                f"{' '.join(faults)}"
            ) from error


def _collects(template: Template) -> bool:
    """Return whether a `[*]` in it goes over a list before the size of that is known."""
    return any(Star.ALL in reference.keys for reference in template.references)
