"""Whose output goes nowhere: steps that cost time and money, and that nothing reads. Called by the compiler.

A step is used when something reads it, or when it is the last of a sequence and the container around it is
used: its output is then the container's. The last step of the file is used where there are no `outputs`.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from callboard.workflows.definition import StepDefinition
from callboard.workflows.findings import Severity, WorkflowFinding, pointer_of
from callboard.workflows.steps.base import CompiledStep


@dataclass(slots=True)
class _Outlet:
    pointer: str
    is_for_its_output: bool
    container: str | None
    is_last: bool = False


class StepOutlets:
    """Where the outputs of a file's steps go. `has_outputs`: the result is made of what `outputs` reads."""

    def __init__(self) -> None:
        self.has_outputs = False
        self._outlets: dict[str, _Outlet] = {}

    def add(self, step: CompiledStep, definition: StepDefinition, *, container: str | None) -> None:
        """Note a step and the container around it."""
        self._outlets[step.id] = _Outlet(
            pointer_of("id", base=definition.pointer), step.body.is_for_its_output(), container
        )

    def end_sequence(self, steps: Sequence[CompiledStep]) -> None:
        """Note which steps of a sequence may be the last that ran."""
        for step in reversed(steps):
            self._outlets[step.id].is_last = True
            if step.when is None:
                return

    def find_unused(self, read_ids: Collection[str]) -> Iterator[WorkflowFinding]:
        """Yield a warning for each step that is only for its output, which nothing uses."""
        for step_id, outlet in self._outlets.items():
            if outlet.is_for_its_output and not self._is_used(step_id, read_ids):
                message = (
                    f'Nothing reads what the step "{step_id}" gives. Use ${{steps.{step_id}.output}} in a later step '
                    "or in outputs, or remove the step."
                )
                yield WorkflowFinding(
                    pointer=outlet.pointer, message=message, code="unused_step", severity=Severity.WARNING
                )

    def _is_used(self, step_id: str, read_ids: Collection[str]) -> bool:
        current: str | None = step_id
        while current is not None:
            if current in read_ids:
                return True
            outlet = self._outlets.get(current)
            if outlet is None:
                return True  # the container could not be compiled; that is told
            if not outlet.is_last:
                return False
            current = outlet.container
        return not self.has_outputs
