"""Dry runs of another workflow inside the one that is gone through. Called by `walk.py`."""

from dataclasses import replace

from callboard.core.errors import StepError
from callboard.core.json_values import JsonValue
from callboard.workflows.dry_runs.frames import Found, Frame, Walker
from callboard.workflows.dry_runs.plans import ONE, PlanBranch
from callboard.workflows.references import Scope, StepView
from callboard.workflows.steps.base import CompiledStep
from callboard.workflows.steps.foresight import ForeseenWorkflow
from callboard.workflows.unknown_values import Unknown


async def run_inside(walker: Walker, step: CompiledStep, ahead: ForeseenWorkflow, frame: Frame) -> Found:
    """Go through the steps of the other workflow, in a scope of their own."""
    views: dict[str, StepView] = {}
    scope = Scope(input=ahead.input_data, context=ahead.context, steps=views)
    with walker.inside(step):
        walked = await walker.sequence(ahead.workflow.sequence.steps, replace(frame, scope=scope, views=views))
        load = walker.within_limit(walked.load, ahead.workflow.timeout_seconds)
        output = _result(walker, step, ahead, scope, walked.output)
    inside = PlanBranch(
        name=ahead.workflow.name, condition=None, certainty=frame.certainty, share=ONE, steps=walked.plan
    )
    return Found(load=load, output=output, branches=(inside,))


def _result(walker: Walker, step: CompiledStep, ahead: ForeseenWorkflow, scope: Scope, last: JsonValue) -> JsonValue:
    """Return what the other workflow gives; where that hangs on something unknown, it may be an object or not."""
    outputs = ahead.workflow.outputs
    try:
        value = last if outputs is None else outputs.render(scope)
    except StepError as error:
        walker.notes.warn("/outputs", f"The outputs could not be made: {error.message}", code="outputs_would_fail")
        return walker.book.new(f"steps.{step.id}", walker.book.measure_value(last))
    return value if isinstance(value, dict | Unknown) else {"value": value}
