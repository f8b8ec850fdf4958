"""The step kinds that a process knows, by type. `wiring` fills it; `compiler.py` asks it."""

import difflib
from collections.abc import Iterable

from callboard.core.errors import UnprocessableError
from callboard.workflows.steps.base import StepKind

# Types that the workflow format names: one that this process lacks is told apart from a typing error.
FORMAT_TYPES = frozenset(
    {"approval", "conditional", "external_api", "llm", "parallel", "transform", "wait", "workflow"}
)


class UnknownStepTypeError(UnprocessableError):
    """There is no step type by that name."""

    code = "unknown_step_type"


class UnsupportedStepTypeError(UnprocessableError):
    """The step type belongs to the workflow format, but this version does not run it yet."""

    code = "not_yet_supported"


class StepRegistry:
    """Finds a step kind by its type. Two of one type are a mistake in the wiring."""

    def __init__(self, kinds: Iterable[StepKind]) -> None:
        self._by_type: dict[str, StepKind] = {}
        for kind in kinds:
            if kind.type in self._by_type:
                raise ValueError(f"two step kinds have the type {kind.type!r}")
            self._by_type[kind.type] = kind

    @property
    def types(self) -> tuple[str, ...]:
        """The types that `get` knows, sorted."""
        return tuple(sorted(self._by_type))

    def get(self, step_type: str) -> StepKind:
        """Return the kind of `step_type`.

        Raises: UnsupportedStepTypeError, when the format has it but this process does not;
        UnknownStepTypeError, with the nearest name.
        """
        kind = self._by_type.get(step_type)
        if kind is not None:
            return kind
        known = ", ".join(self.types) or "none"
        if step_type in FORMAT_TYPES:
            raise UnsupportedStepTypeError(
                f"Steps of type {step_type!r} are not yet supported by this version of Callboard. It runs: {known}."
            )
        nearest = difflib.get_close_matches(step_type, self._by_type, n=1)
        advice = f"Did you mean {nearest[0]!r}?" if nearest else f"Known are: {known}."
        raise UnknownStepTypeError(f"There is no step type {step_type!r}. {advice}")
