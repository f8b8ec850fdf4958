"""The `workflow` step: runs another definition in its place. `wiring` hands it to the registry.

The steps inside see the step's `input` as their input, the other file's constants as `context`, and one another;
what is around the step they do not see. They are journaled one by one below its path.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from callboard.core.errors import Finding, PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.definition import NAME_PATTERN, RESERVED_CONTEXT
from callboard.workflows.findings import parts_of, suggest
from callboard.workflows.references import Scope, Template
from callboard.workflows.steps.base import (
    ConfigModel,
    StepBody,
    StepCompiler,
    StepExecution,
    StepTimeoutError,
    Subworkflow,
)
from callboard.workflows.steps.foresight import Foreseen, ForeseenWorkflow, IsKnown

MAX_MISFITS_TOLD = 5  # in the message; the details have all


class WorkflowInputError(PermanentError):
    """The input of a workflow step does not fit the other workflow."""

    code = "workflow_input_invalid"
    category = "workflow"


class WorkflowConfig(BaseModel):
    """The workflow that is run, and its input."""

    model_config = ConfigDict(extra="forbid", strict=True)

    workflow: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] = Field(
        description="The name of another workflow of the same folder."
    )
    input: Any = Field(default_factory=dict, description="What its ${input} is, with references; {} if left out.")


class WorkflowStep:
    """The kind `workflow`. Its output is what a run of that workflow gives: an object."""

    type = "workflow"
    config_model: ConfigModel = WorkflowConfig
    is_container = True

    def compile(self, step: StepCompiler) -> StepBody:
        name, given = step.raw.get("workflow"), step.raw.get("input", {})
        template = step.template(given, "input")
        if isinstance(name, str) and "${" in name:
            message = "The workflow is named in the file, not by a reference. A conditional step chooses among several."
            step.refuse(message, "workflow", code="shape")
        workflow = step.workflow(step.config(WorkflowConfig).workflow, "workflow")
        if not template.references or isinstance(given, dict):
            _check_names(step, workflow, given)
            _check_known_values(step, workflow, given, template)
        return _Subrun(workflow=workflow, given=template)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subrun(StepBody):
    workflow: Subworkflow
    given: Template

    def output_shape(self) -> Mapping[str, Any]:
        outputs = self.workflow.definition.outputs
        if not isinstance(outputs, dict):
            return {"type": "object"}
        return {"type": "object", "properties": {name: {} for name in outputs}, "additionalProperties": False}

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        input_data = self.workflow.complete_input(self.given.render(scope))
        if is_known(input_data):
            self._check(input_data)
        return ForeseenWorkflow(self.workflow, input_data, self._context(scope))

    async def run(self, execution: StepExecution) -> JsonValue:
        input_data = self.workflow.complete_input(self.given.render(execution.scope))
        self._check(input_data)
        try:
            async with asyncio.timeout(self.workflow.timeout_seconds):
                scope, views = await execution.children.run_apart(
                    self.workflow.sequence, input_data=input_data, context=self._context(execution.scope)
                )
        except TimeoutError as error:
            limit = f"{self.workflow.timeout_seconds:g} seconds (timeout_seconds)"
            raise StepTimeoutError(f'The workflow "{self.workflow.name}" took longer than its {limit}.') from error
        return self.workflow.result(scope, views[-1].output)

    def _check(self, input_data: JsonValue) -> None:
        misfits = self.workflow.validate_input(input_data)
        if not misfits:
            return
        told = "; ".join(f"{each.pointer or '/'}: {each.message}" for each in misfits[:MAX_MISFITS_TOLD])
        more = f" There are {len(misfits) - MAX_MISFITS_TOLD} more." if len(misfits) > MAX_MISFITS_TOLD else ""
        raise WorkflowInputError(
            f'The input does not fit the input_schema of the workflow "{self.workflow.name}": {told}.{more}',
            details={"errors": [{"pointer": each.pointer, "message": each.message} for each in misfits]},
        )

    def _context(self, outer: Scope) -> dict[str, JsonValue]:
        """Return what `context` is inside: of the run around it only what every run is told."""
        of_run = {name: outer.context[name] for name in sorted(RESERVED_CONTEXT & outer.context.keys())}
        return {**self.workflow.context, **of_run, "workflow": self.workflow.name}


def _check_names(step: StepCompiler, workflow: Subworkflow, given: JsonValue) -> None:
    """Tell which inputs are missing, and which the other workflow does not know: their values do not matter."""
    schema = workflow.definition.input_schema
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(given, dict) or not isinstance(properties, dict) or "patternProperties" in schema:
        return
    complete = workflow.complete_input(given)
    for name in required if isinstance(required, list) else ():
        if name not in complete:
            message = f'The workflow "{workflow.name}" needs the input "{name}".'
            step.report(message, *(["input"] if "input" in step.raw else []), code="missing_input")
    report = step.report if schema.get("additionalProperties") is False else step.warn
    for name in given:
        if name not in properties:
            hint = suggest(name, properties, what="Its inputs:")
            report(f'The workflow "{workflow.name}" has no input "{name}".{hint}', "input", name, code="unknown_input")


def _check_known_values(step: StepCompiler, workflow: Subworkflow, given: JsonValue, template: Template) -> None:
    """Tell which values do not fit, of those that no reference is still to bring."""
    unknown = [f"{reference.pointer}/" for reference in template.references]
    for misfit in _below_the_top(workflow.validate_input(given), given):
        if not any(pointer.startswith(f"{misfit.pointer}/") for pointer in unknown):
            message = f'This does not fit the workflow "{workflow.name}": {misfit.message}.'
            step.report(message, "input", *parts_of(misfit.pointer), code="schema")


def _below_the_top(misfits: list[Finding], given: JsonValue) -> Iterator[Finding]:
    """Yield what is wrong with values. What the input as a whole lacks is told by its names."""
    yield from (each for each in misfits if each.pointer or not isinstance(given, dict))
