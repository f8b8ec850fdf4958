"""Sums over the plan of a run: of steps that run side by side, one of which is taken, or once per item.

Called by `walk.py`. Every plan is relative to being reached once, so a container only multiplies its children.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from callboard.workflows.dry_runs.plans import NOTHING, Certainty, Load, PlanBranch, PlannedLoop, PlanStep, Span, add_up

MAX_CALLS_SHOWN = 3  # of a step in a loop: the first instances tell what all look like


def scaled(step: PlanStep, factor: Span) -> PlanStep:
    """Return the plan of `step` when it is reached `factor` times."""
    branches = tuple(
        replace(branch, steps=tuple(scaled(child, factor) for child in branch.steps)) for branch in step.branches
    )
    return replace(step, times=step.times * factor, load=step.load.times(factor), branches=branches)


def merged(instances: Sequence[PlanStep]) -> PlanStep:
    """Return one plan for all instances of a step: what they take together, and whether all of them run."""
    if len(instances) == 1:
        return instances[0]
    # one that fails, or does not run, has no branches, or not all of them
    whole = [each for each in instances if each.branches and each.certainty is not Certainty.NEVER] or instances[:1]
    certainty = _together([each.certainty for each in instances])
    branches = tuple(_merged_branch(branches) for branches in zip(*(each.branches for each in whole), strict=True))
    return replace(
        whole[0],
        certainty=certainty,
        times=sum((each.times for each in instances), NOTHING),
        load=add_up(each.load for each in instances),
        calls=tuple(call for each in instances for call in each.calls)[:MAX_CALLS_SHOWN],
        loop=_merged_loop([each.loop for each in instances if each.loop is not None]),
        branches=branches if certainty is not Certainty.POSSIBLE else tuple(map(_doubted, branches)),
        problem=next((each.problem for each in instances if each.problem is not None), None),
    )


def one_of(choices: Sequence[tuple[Decimal, Load]]) -> Load:
    """Return what one of several takes: the least of them, their mean by their shares, the most of them."""
    if not choices:
        return Load()
    loads = [load for _, load in choices]
    mean = add_up(load.times(Span.exactly(share)) for share, load in choices)
    costs = [load.cost_usd for load in loads if load.cost_usd is not None]
    is_priced = len(costs) == len(loads) and mean.cost_usd is not None
    return Load(
        input_tokens=_around(mean.input_tokens, [load.input_tokens for load in loads]),
        output_tokens=_around(mean.output_tokens, [load.output_tokens for load in loads]),
        cost_usd=_around(mean.cost_usd, costs) if is_priced and mean.cost_usd is not None else None,
        seconds=_around(mean.seconds, [load.seconds for load in loads]),
    )


def beside(loads: Sequence[Load], *, max_concurrency: int) -> Load:
    """Return what all of these take when so many run at a time: the longest one decides, or how many there are."""
    if not loads:
        return Load()
    total = add_up(loads)
    share = Decimal(max(1, min(max_concurrency, len(loads))))
    seconds = Span(
        max(*(load.seconds.low for load in loads), total.seconds.low / share),
        max(*(load.seconds.likely for load in loads), total.seconds.likely / share),
        max(*(load.seconds.high for load in loads), total.seconds.high / share),
    )
    return replace(total, seconds=seconds)


def _doubted(branch: PlanBranch) -> PlanBranch:
    """Return a branch of a step that not every instance runs."""
    steps = tuple(
        replace(step, certainty=_at_most_possible(step.certainty), branches=tuple(map(_doubted, step.branches)))
        for step in branch.steps
    )
    return replace(branch, certainty=_at_most_possible(branch.certainty), steps=steps)


def _at_most_possible(certainty: Certainty) -> Certainty:
    return Certainty.POSSIBLE if certainty is Certainty.CERTAIN else certainty


def _around(mean: Span, spans: Sequence[Span]) -> Span:
    return Span(min(span.low for span in spans), mean.likely, max(span.high for span in spans))


def _together(certainties: Sequence[Certainty]) -> Certainty:
    return certainties[0] if len(set(certainties)) == 1 else Certainty.POSSIBLE


def _merged_loop(loops: Sequence[PlannedLoop]) -> PlannedLoop | None:
    if not loops:
        return None
    return replace(
        loops[0],
        count=sum((loop.count for loop in loops), NOTHING),
        is_count_known=all(loop.is_count_known for loop in loops),
    )


def _merged_branch(branches: Sequence[PlanBranch]) -> PlanBranch:
    first = branches[0]
    return replace(
        first,
        certainty=_together([branch.certainty for branch in branches]),
        share=sum((branch.share for branch in branches), Decimal(0)) / len(branches),
        steps=tuple(merged(steps) for steps in zip(*(branch.steps for branch in branches), strict=True)),
    )
