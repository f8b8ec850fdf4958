"""Dry runs of loops: over a list that is known, or over one that is not. Called by `walk.py`."""

import math
from dataclasses import replace
from decimal import Decimal

from callboard.core.json_values import JsonValue
from callboard.workflows.dry_runs.estimates import seen_size
from callboard.workflows.dry_runs.frames import Found, Frame, Walker
from callboard.workflows.dry_runs.plans import ONE, Certainty, Load, PlanBranch, PlannedLoop, PlanStep, Span
from callboard.workflows.dry_runs.sums import MAX_CALLS_SHOWN, beside, merged, scaled
from callboard.workflows.steps.base import CompiledStep
from callboard.workflows.steps.foresight import ForeseenLoop
from callboard.workflows.unknown_values import TextSize, Unknown

GUESSED_ITEMS = Span.of(0, 5, 20)  # of a list that nobody knows


async def run_loop(walker: Walker, step: CompiledStep, loop: ForeseenLoop, frame: Frame) -> Found:
    """Go through the steps once per item, or once for an item that stands for all."""
    if isinstance(loop.items, Unknown):
        return await _loop_over_unknown(walker, step, loop, loop.items, frame)
    count = len(loop.items)
    if not count:
        never = tuple(walker.never(each, frame) for each in loop.sequence.steps)
        return _looped(loop, Span.exactly(0), never, Load(), [], certainty=Certainty.NEVER)
    walked_items = loop.items[: walker.items_to_walk(count)]
    walked = []
    for index, item in enumerate(walked_items):
        inner = frame.copy(**{loop.item_name: item, loop.index_name: index})
        inner = replace(inner, is_shown=frame.is_shown and index < MAX_CALLS_SHOWN)
        walked.append(await walker.sequence(loop.sequence.steps, inner))
    factor = Span.exactly(Decimal(count) / len(walked))
    steps = tuple(scaled(merged(instances), factor) for instances in zip(*(each.plan for each in walked), strict=True))
    load = beside([each.load for each in walked], max_concurrency=loop.max_concurrency).times(factor)
    outputs: JsonValue = [each.output for each in walked]
    if len(walked) < count:
        outputs = walker.book.new(f"steps.{step.id}", _times(walker.book.measure_value(outputs), factor))
    return _looped(loop, Span.exactly(count), steps, load, outputs, certainty=frame.certainty)


async def _loop_over_unknown(
    walker: Walker, step: CompiledStep, loop: ForeseenLoop, items: Unknown, frame: Frame
) -> Found:
    """Go through the steps once, for an item of which nothing is known."""
    count = _usual_count(walker, step, loop)
    likely = max(1, int(count.likely))
    names = {
        loop.item_name: walker.book.new(loop.item_name, items.size.divided(likely), *_first_of(items.sample)),
        loop.index_name: walker.book.new(loop.index_name, TextSize(1, 1, 3)),
    }
    certainty = frame.certainty if count.low > 0 else Certainty.POSSIBLE
    walked = await walker.sequence(loop.sequence.steps, replace(frame.copy(**names), certainty=certainty))
    rounds = Span(*(Decimal(math.ceil(end / loop.max_concurrency)) for end in (count.low, count.likely, count.high)))
    load = replace(walked.load.times(count), seconds=walked.load.seconds * rounds)
    steps = tuple(scaled(each, count) for each in walked.plan)
    size = seen_size(walker.past.get(step.id)) or _times(walker.book.measure_value(walked.output), count)
    output = walker.book.new(f"steps.{step.id}", size)
    return _looped(loop, count, steps, load, output, certainty=certainty, is_known=False)


def _usual_count(walker: Walker, step: CompiledStep, loop: ForeseenLoop) -> Span:
    """Return how many items such a list has: as many as in earlier runs, else a guess."""
    past, first = walker.past.get(step.id), walker.past.get(loop.sequence.steps[0].id) if loop.sequence.steps else None
    if past is None or not past.instances.mean:
        walker.notes.assume(
            f'How many items "{step.id}" goes over is not known; counted as {GUESSED_ITEMS.likely} '
            f"({GUESSED_ITEMS.low} to {GUESSED_ITEMS.high})."
        )
        return GUESSED_ITEMS
    if first is None:
        return Span.exactly(0)
    return Span.of(
        first.instances.low / max(1.0, past.instances.high),
        first.instances.mean / past.instances.mean,
        first.instances.high / max(1.0, past.instances.low),
    )


def _looped(
    loop: ForeseenLoop,
    count: Span,
    steps: tuple[PlanStep, ...],
    load: Load,
    output: JsonValue,
    *,
    certainty: Certainty,
    is_known: bool = True,
) -> Found:
    planned = PlannedLoop(over=loop.over, item_name=loop.item_name, count=count, is_count_known=is_known)
    body = PlanBranch(name="", condition=None, certainty=certainty, share=ONE, steps=steps)
    return Found(load=load, output=output, loop=planned, branches=(body,))


def _times(size: TextSize, count: Span) -> TextSize:
    return TextSize(int(size.low * count.low), int(size.likely * count.likely), int(size.high * count.high))


def _first_of(sample: JsonValue) -> list[JsonValue]:
    return sample[:1] if isinstance(sample, list) else []
