"""The step kinds that a process knows, by type. `wiring` fills it; `compiler.py` asks it."""

from collections.abc import Iterable

from callboard.core.errors import UnprocessableError
from callboard.workflows.findings import suggest
from callboard.workflows.short_forms import FORMAT_TYPES
from callboard.workflows.steps.base import StepKind


class UnknownStepTypeError(UnprocessableError):
    """There is no step type by that name."""

    code = "unknown_step_type"


class UnsupportedStepTypeError(UnprocessableError):
    """The step type belongs to the workflow format, but this version does not run it yet."""

    code = "not_yet_supported"


_HTTP = ' Write "type": "external_api", with "service": "http" in the config.'
_LOOP = ' A loop is a step of the type "parallel" with for_each in the config.'
_OTHER_NAMES = {  # of other tools
    **dict.fromkeys(("http", "http_request", "request", "api", "api_call", "rest", "webhook"), _HTTP),
    **dict.fromkeys(("loop", "for_each", "foreach", "map_reduce", "iterate"), _LOOP),
    **dict.fromkeys(("if", "condition", "branch", "switch"), ' Did you mean "conditional"?'),
    **dict.fromkeys(("prompt", "ai", "chat", "completion", "gpt", "openai", "anthropic"), ' Did you mean "llm"?'),
    **dict.fromkeys(
        ("filter", "map", "sort", "join", "merge", "unique", "template", "extract_fields", "regex_extract"),
        ' Write "type": "transform", with this as "operation" in the config.',
    ),
}


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
        hint = _OTHER_NAMES.get(step_type.casefold()) or suggest(step_type, self.types, what="Types:")
        raise UnknownStepTypeError(f'There is no step type "{step_type[:60]}".{hint}')
