"""Whether the references of a file can lead anywhere: what can be said before anything runs.

The compiler hands over each reference as it comes by it, and asks for the verdict last, when all steps are
known. What a step gives is known from its body (`output_shape`), what the input has from `input_schema`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from callboard.workflows.findings import Severity, SourcePlace, WorkflowFinding, nearest_name, suggest
from callboard.workflows.known_shapes import UnknownKey, find_unknown_key
from callboard.workflows.reachability import Place, StepMap
from callboard.workflows.reference_syntax import show_key
from callboard.workflows.references import (
    SCOPE_ROOTS,
    SECRETS_ROOT,
    STEP_FIELDS,
    Reference,
    explain_unknown_name,
)

FindPlace: TypeAlias = Callable[[], SourcePlace | None]

MAX_JUDGED = 500  # of the faulty references of a file; each looks for the nearest name

_COUNTS = frozenset({"length", "size", "count", "len"})  # what other languages call it


@dataclass(frozen=True, slots=True)
class Use:
    """A reference at its place in the file.

    `offset` counts characters of the text there; `related` finds the line of the prompt that has it.
    """

    reference: Reference
    pointer: str
    reader: Place
    offset: int | None = None
    related: FindPlace | None = None

    def finding(self, reason: str, code: str, severity: Severity = Severity.ERROR) -> WorkflowFinding:
        """Return the finding that this reference is wrong for `reason`."""
        place = self.related() if self.related is not None else None
        shown = f"prompt {place.file}: " if place is not None else ""
        return WorkflowFinding(
            pointer=self.pointer,
            message=f"{shown}${{{self.reference.text}}}: {reason}",
            code=code,
            severity=severity,
            offset=self.offset,
            related=place,
        )


class ReferenceChecks:
    """Gathers the references of one file and judges them."""

    def __init__(self, steps: StepMap) -> None:
        self._steps = steps
        self._uses: list[Use] = []
        self._input_schema: Mapping[str, Any] = {}
        self._context_names: frozenset[str] | None = None
        self._shapes: dict[str, Mapping[str, Any]] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}

    def note_input_schema(self, schema: Mapping[str, Any]) -> None:
        """Tell what the run's input looks like."""
        self._input_schema = schema

    def note_context(self, names: Collection[str]) -> None:
        """Tell which names `context` has; there are no others."""
        self._context_names = frozenset(names)

    def note_output(self, step_id: str, shape: Mapping[str, Any], aliases: tuple[str, ...]) -> None:
        """Tell what the output of a step looks like, as JSON Schema, and its aliases."""
        self._shapes[step_id] = shape
        self._aliases[step_id] = aliases

    def note(
        self, use: Use, *, names: Collection[str] | None = (), allows_secrets: bool = False
    ) -> WorkflowFinding | None:
        """Keep a use for the verdict. A name that means nothing at its place is told at once.

        `names` are known beside those of the loops around; None: any name may be.
        """
        reference = use.reference
        if reference.root in use.reader.names or (names is not None and reference.root in names):
            return None
        if reference.root in SCOPE_ROOTS:
            self._uses.append(use)
            return None
        allowed = [*use.reader.names, *(names or ()), *([SECRETS_ROOT] if allows_secrets else [])]
        reason = explain_unknown_name(reference.root, allowed)
        if reference.root == SECRETS_ROOT:
            return None if allows_secrets else use.finding(reason, "secret_not_allowed")
        if names is None:
            return None
        return use.finding(self._explain_root(reference) or reason, "unknown_reference")

    def _explain_root(self, reference: Reference) -> str | None:
        """Return what was meant by a path that begins with the name of an input or a constant, or of a step."""
        properties = self._input_schema.get("properties")
        if isinstance(properties, Mapping) and reference.root in properties:
            meant = f"input.{reference.text}"
        elif reference.root in (self._context_names or ()):
            meant = f"context.{reference.text}"
        elif reference.root in self._steps:
            meant = f"steps.{reference.text}" if reference.keys else f"steps.{reference.root}.output"
        else:
            return None
        return f'there is nothing called "{reference.root}" here. Did you mean "{meant}"?'

    def judge(self) -> Iterator[WorkflowFinding]:
        """Yield a finding for every use that cannot lead anywhere, at most `MAX_JUDGED`."""
        found = 0
        for use in self._uses:
            finding = self._judge(use)
            if finding is not None:
                yield finding
                found += 1
                if found == MAX_JUDGED:
                    return

    def read_step_ids(self) -> set[str]:
        """Return the ids of all steps that something reads."""
        return {use.reference.step_id for use in self._uses if use.reference.step_id is not None}

    def _judge(self, use: Use) -> WorkflowFinding | None:
        reference = use.reference
        if reference.step_id is not None:
            problem = self._steps.problem_of(reference, use.reader)
            if problem is not None:
                return use.finding(problem[1], problem[0])
            return self._judge_output_key(use, reference.step_id)
        if reference.root == "input":
            return self._judge_input(use)
        return self._judge_context(use) if reference.root == "context" else None

    def _judge_output_key(self, use: Use, step_id: str) -> WorkflowFinding | None:
        keys = use.reference.keys[1:]
        first = keys[0] if keys else None
        aliases = self._aliases.get(step_id, ())
        if first is None or (first in STEP_FIELDS and first != "output") or first in aliases:
            return None
        is_direct = first != "output"
        unknown = find_unknown_key(self._shapes.get(step_id, {}), keys if is_direct else keys[1:])
        if unknown is None or (not unknown.is_closed and unknown.depth == 0 and use.reference.has_default):
            return None
        path = f'the output of "{step_id}"' + "".join(
            show_key(key) for key in (keys if is_direct else keys[1:])[: unknown.depth]
        )
        extra = (*aliases, *STEP_FIELDS) if is_direct and unknown.depth == 0 else ()
        return use.finding(_explain_key(unknown, path, extra), "unknown_key", Severity.WARNING)

    def _judge_input(self, use: Use) -> WorkflowFinding | None:
        unknown = find_unknown_key(self._input_schema, use.reference.keys)
        if unknown is None:
            return None
        path = "input" + "".join(show_key(key) for key in use.reference.keys[: unknown.depth])
        has_default = use.reference.has_default
        if has_default and not unknown.is_closed and nearest_name(unknown.key, unknown.known) is None:
            return None  # the author says that it may be missing
        severity = Severity.ERROR if unknown.is_closed and not has_default else Severity.WARNING
        subject = path if unknown.kind is not None else f"input_schema for {path}"
        return use.finding(_explain_key(unknown, subject), "unknown_input", severity)

    def _judge_context(self, use: Use) -> WorkflowFinding | None:
        names, keys = self._context_names, use.reference.keys
        if names is None or not keys or not isinstance(keys[0], str) or keys[0] in names:
            return None
        hint = suggest(keys[0], names, what="There are:")
        severity = Severity.WARNING if use.reference.has_default else Severity.ERROR
        return use.finding(f'there is no "{keys[0]}" in context.{hint}', "unknown_context", severity)


def _explain_key(unknown: UnknownKey, path: str, extra: Collection[str] = ()) -> str:
    if unknown.kind is not None:
        hint = " Behind it [0] takes one item, and [*] goes through all." if unknown.kind == "a list" else ""
        if unknown.key in _COUNTS:
            hint = " In a condition, size(...) counts it."
        return f'{path} is {unknown.kind}, so there is no "{unknown.key}" in it.{hint}'
    return f'there is no "{unknown.key}" in {path}.{suggest(unknown.key, [*unknown.known, *extra], what="There are:")}'
