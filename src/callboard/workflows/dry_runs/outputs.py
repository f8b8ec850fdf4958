"""What steps see of one another in a dry run, where the output of one is not known. Called by `walk.py`."""

from collections.abc import Mapping
from typing import Any

from callboard.core.json_values import JsonValue
from callboard.workflows.dry_runs.history import PastStep
from callboard.workflows.references import StepView
from callboard.workflows.steps.base import CompiledStep
from callboard.workflows.unknown_values import TextSize, UnknownBook

ANSWER_KEYS = frozenset({"content", "parsed", "data"})  # below these lies what was answered
_SMALL = TextSize(1, 5, 20)
_WORD = TextSize(3, 20, 100)
_OBJECT = TextSize(20, 60, 200)
_SIZES: Mapping[Any, TextSize] = {
    "integer": _SMALL,
    "number": _SMALL,
    "boolean": _SMALL,
    "string": _WORD,
    "object": _OBJECT,
}


def unknown_output(step: CompiledStep, size: TextSize, past: PastStep | None, book: UnknownBook) -> JsonValue:
    """Return what the step gives, as far as its own shape tells: an object of unknown values, or one.

    `size` is that of the answer, or of the output as a whole where it has no such part.
    """
    path = f"steps.{step.id}"
    properties = step.body.output_shape().get("properties")
    sample = None if past is None else past.sample
    if not isinstance(properties, Mapping) or not properties:
        return book.new(path, size, *([] if sample is None else [sample]))
    return {
        name: _part(f"{path}.{name}", name, about, size, len(properties), sample, book)
        for name, about in properties.items()
    }


def awaited_output(step: CompiledStep, book: UnknownBook) -> JsonValue:
    """Return what people or the world outside will give: unknown values, in the shape that the step tells."""
    return _awaited(step.body.output_shape(), f"steps.{step.id}", book)


def _awaited(schema: Any, path: str, book: UnknownBook) -> JsonValue:
    about = schema if isinstance(schema, Mapping) else {}
    properties = about.get("properties")
    if isinstance(properties, Mapping) and properties:
        return {name: _awaited(part, f"{path}.{name}", book) for name, part in properties.items()}
    kind = about.get("type")
    return book.new(path, _SIZES.get(kind, _OBJECT) if isinstance(kind, str) else _OBJECT)


def doubted_view(step_id: str, view: StepView, book: UnknownBook) -> StepView:
    """Return the view of a step that may not have run: whatever is asked of it, nobody knows."""
    path = f"steps.{step_id}"
    output = book.new(path, book.measure_value(view.output))
    doubt: Any = book.new(f"{path}.success", _SMALL)
    aliases = {name: book.new(f"{path}.{name}", book.measure_value(value)) for name, value in view.aliases.items()}
    return StepView(output=output, success=doubt, error=doubt, skipped=doubt, aliases=aliases)


def fallible_view(step_id: str, view: StepView, book: UnknownBook) -> StepView:
    """Return the view of a step that may fail without ending the run: its output is there, its success is not known."""
    doubt: Any = book.new(f"steps.{step_id}.success", _SMALL)
    return StepView(output=view.output, success=doubt, error=doubt, skipped=view.skipped, aliases=view.aliases)


def _part(
    path: str, name: str, about: Any, size: TextSize, parts: int, sample: JsonValue, book: UnknownBook
) -> JsonValue:
    kind = about.get("type") if isinstance(about, Mapping) else None
    if kind == "null":
        return None
    if isinstance(sample, Mapping) and name in sample:
        chars = book.measure_value(sample[name]).likely
        likely = max(size.likely, chars) if name in ANSWER_KEYS else chars
        return book.new(path, TextSize(min(size.low, likely), likely, max(size.high, likely)), sample[name])
    if name in ANSWER_KEYS:
        return book.new(path, size)
    return book.new(path, _SIZES.get(kind) or size.divided(parts))
