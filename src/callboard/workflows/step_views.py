"""What later steps see of a step that has ended, whether it ended just now or in an earlier attempt.

Called by the engine alone. A replay has to see the very same views, so both ways stand side by side here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from callboard.core.json_values import JsonValue, loads
from callboard.workflows.references import StepView
from callboard.workflows.steps.base import CompiledStep, RecordedStep, StepOutcome

SKIPPED_VIEW = StepView(output=None, success=False, error=None, skipped=True)


def successful_view(step: CompiledStep, output: JsonValue) -> StepView:
    """Return the view of a step that gave `output`."""
    return StepView(output=output, success=True, aliases=_aliases(step, output))


def absorbed_view(step: CompiledStep, output: JsonValue, error: Mapping[str, Any]) -> StepView:
    """Return the view of a step that failed with `error`; `output` is null, or its default value."""
    return StepView(output=output, success=False, error=error, aliases=_aliases(step, output))


def recorded_view(step: CompiledStep, recorded: RecordedStep) -> StepView:
    """Return the view of a step that ended in an earlier attempt; the same as it had there."""
    if recorded.outcome is StepOutcome.SKIPPED:
        return SKIPPED_VIEW
    output = None if recorded.output_json is None else loads(recorded.output_json)
    if recorded.outcome is StepOutcome.SUCCEEDED:
        return successful_view(step, output)
    return absorbed_view(step, output, recorded.error or {})


def _aliases(step: CompiledStep, output: JsonValue) -> Mapping[str, JsonValue]:
    if not step.aliases:
        return {}
    value = step.body.alias_value(output)
    return dict.fromkeys(step.aliases, value)


def fill_in_what_did_not_run(step: CompiledStep, views: dict[str, StepView], view: StepView) -> None:
    """Make every step inside an ended container reachable: one that did not finish reads as null."""
    unfinished = SKIPPED_VIEW if view.error is None else StepView(output=None, success=False, error=view.error)
    for step_id in _reachable_ids(step):
        views.setdefault(step_id, unfinished)


def _reachable_ids(step: CompiledStep) -> Iterator[str]:
    for sequence in step.sequences:
        if not sequence.is_closed:
            for child in sequence.steps:
                yield child.id
                yield from _reachable_ids(child)
