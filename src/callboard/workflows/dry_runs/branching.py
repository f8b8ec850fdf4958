"""Dry runs of branches: one of several that is chosen, or all side by side. Called by `walk.py`."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from callboard.core.json_values import JsonValue
from callboard.workflows.dry_runs.frames import Found, Frame, Walked, Walker
from callboard.workflows.dry_runs.outputs import doubted_view
from callboard.workflows.dry_runs.plans import ONCE, ONE, ZERO, Certainty, Load, PlanBranch, Span
from callboard.workflows.dry_runs.sums import beside, one_of, scaled
from callboard.workflows.steps.base import CompiledStep
from callboard.workflows.steps.foresight import ForeseenBranch, ForeseenChoice, ForeseenParallel
from callboard.workflows.unknown_values import TextSize


async def choose(walker: Walker, step: CompiledStep, choice: ForeseenChoice, frame: Frame) -> Found:
    """Go through every branch that may be taken."""
    shares = _shares(walker, step, choice.branches)
    branches: list[PlanBranch] = []
    possible: list[tuple[Decimal, Load]] = []
    outputs: list[JsonValue] = []
    for branch, share in zip(choice.branches, shares, strict=True):
        certainty = frame.certainty if branch.is_taken else Certainty.POSSIBLE
        if branch.is_taken is False:
            steps = tuple(walker.never(each, frame) for each in branch.sequence.steps)
            certainty = Certainty.NEVER
        else:
            inner = replace(frame.copy(), certainty=certainty)
            walked = await walker.sequence(branch.sequence.steps, inner)
            _take_over(walker, inner, frame, is_certain=bool(branch.is_taken))
            possible.append((share, walked.load))
            outputs.append(walked.output)
            factor = ONCE if branch.is_taken else Span(ZERO, share, ONE)
            steps = tuple(scaled(each, factor) for each in walked.plan)
        branches.append(
            PlanBranch(
                name=branch.sequence.branch,
                condition=branch.condition,
                certainty=certainty,
                share=share,
                steps=steps,
            )
        )
    output = outputs[0] if len(outputs) == 1 else _any_of(walker, step, outputs)
    return Found(load=one_of(possible), output=output, branches=tuple(branches))


async def run_beside(walker: Walker, parallel: ForeseenParallel, frame: Frame) -> Found:
    """Go through all branches."""
    branches: list[PlanBranch] = []
    all_walked: dict[str, Walked] = {}
    for name, sequence in parallel.branches.items():
        walked = all_walked[name] = await walker.sequence(sequence.steps, frame)
        branches.append(
            PlanBranch(name=sequence.branch, condition=None, certainty=frame.certainty, share=ONE, steps=walked.plan)
        )
    load = beside([walked.load for walked in all_walked.values()], max_concurrency=parallel.max_concurrency)
    output = {name: walked.output for name, walked in all_walked.items()}
    return Found(load=load, output=output, branches=tuple(branches))


def _shares(walker: Walker, step: CompiledStep, branches: Sequence[ForeseenBranch]) -> list[Decimal]:
    """Return how likely each branch is taken: as often as in earlier runs, else all equally."""
    past = walker.past.get(step.id)
    seen = [
        Decimal(past.choices.get(branch.sequence.branch, 0)) if past and branch.is_taken is not False else ZERO
        for branch in branches
    ]
    if not sum(seen):
        seen = [ZERO if branch.is_taken is False else ONE for branch in branches]
    whole = sum(seen, ZERO) or ONE
    return [each / whole for each in seen]


def _any_of(walker: Walker, step: CompiledStep, outputs: Sequence[JsonValue]) -> JsonValue:
    sizes = [walker.book.measure_value(output) for output in outputs]
    likely = sum(size.likely for size in sizes) // len(sizes)
    size = TextSize(min(each.low for each in sizes), likely, max(each.high for each in sizes))
    return walker.book.new(f"steps.{step.id}", size)


def _take_over(walker: Walker, inner: Frame, frame: Frame, *, is_certain: bool) -> None:
    """Make what ran in a branch visible behind it; where the branch may not run, in doubt."""
    for step_id, view in inner.views.items():
        if step_id not in frame.views:
            frame.views[step_id] = view if is_certain else doubted_view(step_id, view, walker.book)
