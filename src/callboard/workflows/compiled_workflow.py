"""A workflow that is ready to run: what `compiler.py` makes of a bundle, and the engine and the runner take."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from callboard.core.errors import Finding
from callboard.core.json_values import JsonValue
from callboard.core.pricing import COST_QUANTUM
from callboard.workflows.definition import WorkflowDefinition
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.json_schemas import JsonSchema
from callboard.workflows.references import Scope, Template
from callboard.workflows.steps.base import CompiledStep, StepSequence

MAX_NESTED_WORKFLOWS = 10  # below a workflow, by `workflow` steps


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledWorkflow:
    """A workflow, ready to run as often as wanted. It keeps nothing of a run."""

    definition: WorkflowDefinition
    steps: tuple[CompiledStep, ...]
    outputs: Template | None
    input_schema: JsonSchema
    input_defaults: Mapping[str, JsonValue]
    warnings: tuple[WorkflowFinding, ...]

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def context(self) -> Mapping[str, JsonValue]:
        return self.definition.context

    @property
    def sequence(self) -> StepSequence:
        """Its steps as those of the step that runs it as a part of another workflow."""
        return StepSequence(self.steps, is_apart=True)

    @property
    def timeout_seconds(self) -> float:
        return self.definition.timeout_seconds

    @property
    def budget_usd(self) -> Decimal | None:
        """The most that a run may cost, to the 12 decimals that money has; None: anything."""
        budget_usd = self.definition.budget_usd
        return None if budget_usd is None else Decimal(str(budget_usd)).quantize(COST_QUANTUM, rounding=ROUND_DOWN)

    @property
    def total_steps(self) -> int:
        """The number of top-level steps: what progress counts in."""
        return len(self.steps)

    def validate_input(self, value: JsonValue) -> list[Finding]:
        """Return everything in `value` that `input_schema` refuses; pointers start at the input."""
        return self.input_schema.check(self.complete_input(value))

    def complete_input(self, value: JsonValue) -> JsonValue:
        """Return `value` with the defaults that `input_schema` gives for absent top-level properties."""
        if not isinstance(value, dict) or self.input_defaults.keys() <= value.keys():
            return value
        return {**self.input_defaults, **value}

    def result(self, scope: Scope, last_output: JsonValue) -> dict[str, JsonValue]:
        """Return what a run gives, always an object: the file's `outputs` in `scope`, or what its last step gave.

        Raises: UnresolvedReferenceError.
        """
        value = last_output if self.outputs is None else self.outputs.render(scope)
        return value if isinstance(value, dict) else {"value": value}
