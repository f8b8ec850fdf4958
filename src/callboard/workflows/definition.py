"""The shape of a workflow file: Pydantic models of the top level and of what every step has.

Read by the catalogue and the compiler (`read_definition`), by container step kinds for their children
(`read_steps`), and published as JSON Schema. Short forms that existing files use are folded into the one
long form here, so nothing behind this module knows them. What a step's `config` holds is its kind's matter.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    field_validator,
)

from callboard.core.json_values import JsonValue
from callboard.workflows.call_budgets import MAX_BUDGET_USD
from callboard.workflows.findings import WorkflowFinding, pointer_of, suggest
from callboard.workflows.references import STEP_FIELDS
from callboard.workflows.shape_faults import IN_CONFIG, PATTERN_RULES, findings_of, meant_field
from callboard.workflows.short_forms import Moves, Place, describe_kind, fold_step, given_twice, rename, shape_fault

DEFAULT_RUN_SECONDS = 600
DEFAULT_CALL_SECONDS = 120
RESERVED_CONTEXT = frozenset({"job_id", "workflow", "user_id", "started_at"})  # the engine fills these in

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,99}$"
STEP_ID_PATTERN = r"^[A-Za-z0-9_-]{1,50}$"
_ALIAS = re.compile(r"[\w-]{1,50}")
PATTERN_RULES |= {
    NAME_PATTERN: "a small letter, then at most 99 small letters, digits, _ or -",
    STEP_ID_PATTERN: "1 to 50 letters, digits, _ or -",
}

_INPUT_TYPES = {name: name for name in ("string", "integer", "number", "boolean", "object", "array", "null")} | {
    "str": "string",
    "text": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "dict": "object",
    "list": "array",
}

ModelT = TypeVar("ModelT", bound=BaseModel)
Seconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600)]


class ErrorMode(StrEnum):
    """What happens when a step has failed for good."""

    FAIL = "fail"
    CONTINUE = "continue"
    DEFAULT = "default"
    RETRY = "retry"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RetryPolicy(_Strict):
    """How often, and after how long, a step is tried again. Only errors that are worth it are repeated."""

    max_attempts: int = Field(default=3, ge=1, le=100, description="All attempts, the first included.")
    delay_seconds: float = Field(default=1, ge=0, le=86_400, description="Before the second attempt.")
    backoff_multiplier: float = Field(default=2, ge=1, le=100, description="Each further delay is so much longer.")
    max_delay_seconds: float = Field(default=60, ge=0, le=86_400, description="No delay is longer.")
    jitter: bool = Field(default=True, description="Shorten each delay by a random part, up to half.")


def _check_alias(alias: str) -> str:
    if alias in STEP_FIELDS:
        raise ValueError(f'"{alias}" cannot be an alias: ${{steps.ID.{alias}}} has a meaning of its own')
    if _ALIAS.fullmatch(alias) is None:
        raise ValueError(f'the alias "{alias[:60]}" is no name (letters, digits, _ and -)')
    return alias


def _check_no_alias_twice(aliases: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((alias for index, alias in enumerate(aliases) if alias in aliases[:index]), None)
    if twice is not None:
        raise ValueError(f'the alias "{twice}" is there twice; keep one')
    return aliases


def _check_context_name(name: str) -> str:
    if name in RESERVED_CONTEXT:
        raise ValueError(f'"{name}" is filled in when a run starts; choose another name')
    return name


Alias = Annotated[str, AfterValidator(_check_alias)]
Aliases = Annotated[tuple[Alias, ...], AfterValidator(_check_no_alias_twice)]
ContextName = Annotated[str, AfterValidator(_check_context_name)]


class StepDefinition(_Strict):
    """One step, whatever its type."""

    id: Annotated[str, StringConstraints(pattern=STEP_ID_PATTERN)] = Field(
        description="Unique in the file; later steps read ${steps.ID.output}.", examples=["draft"]
    )
    type: str = Field(description="What the step does.")
    config: dict[str, Any] = Field(default_factory=dict, description="What a step of this type takes.")
    display_name: str | None = Field(default=None, description="Shown in progress and diagrams.")
    description: str | None = Field(default=None, description="What the step is for.")
    when: str | bool = Field(default=True, description="A condition; where it is false, the step is skipped.")
    error_mode: Annotated[ErrorMode, Field(strict=False)] | None = Field(
        default=None, description="After retries are used up; the file's default_error_mode where it is absent."
    )
    default_value: Any = Field(default=None, description="The output under error_mode default.")
    retry: RetryPolicy | None = Field(default=None, description="How often, and after how long, it is tried again.")
    timeout_seconds: Seconds = Field(default=DEFAULT_CALL_SECONDS, description="Of one call, or one transform.")
    outputs: Aliases = Field(default=(), strict=False, description="Further names of the output.")

    _pointer: str = PrivateAttr(default="")
    _lifted: Mapping[str, Place] = PrivateAttr(default_factory=dict)

    @property
    def pointer(self) -> str:
        """The JSON pointer of this step in its file."""
        return self._pointer

    @property
    def has_default_value(self) -> bool:
        return "default_value" in self.model_fields_set

    def pointer_to(self, *parts: str | int) -> str:
        """Return the JSON pointer of something in `config`, as the file has it.

        Containers may carry their config on the step itself; the pointer then leads there.
        """
        place = self._lifted.get(str(parts[0])) if parts else None
        if place is None:
            return pointer_of(*parts, base=f"{self._pointer}/config")
        return pointer_of(*place, *parts[1:], base=self._pointer)

    def note_place(self, pointer: str, *, lifted: Mapping[str, Place] = MappingProxyType({})) -> None:
        """Note where in its file this step stands, and which keys of `config` stood on the step itself."""
        self._pointer, self._lifted = pointer, lifted


class _ShortInput(_Strict):
    """One entry of the short form of `input_schema`."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    type: str | None = None
    description: str | None = None
    required: bool = False
    default: Any = None

    @field_validator("type")
    @classmethod
    def _check_type(cls, name: str | None) -> str | None:
        if name is not None and name not in _INPUT_TYPES:
            raise ValueError(f'"{name[:60]}" is no type of an input.{suggest(name, _INPUT_TYPES, what="Types:")}')
        return name

    def as_schema(self) -> dict[str, JsonValue]:
        schema: dict[str, JsonValue] = {"type": _INPUT_TYPES[self.type]} if self.type is not None else {}
        if self.description is not None:
            schema["description"] = self.description
        if "default" in self.model_fields_set:
            schema["default"] = self.default
        return schema


class WorkflowDefinition(_Strict):
    """A workflow file."""

    schema_url: str | None = Field(
        default=None, alias="$schema", description="Where editors find the JSON Schema of this format; runs ignore it."
    )
    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] = Field(
        description="By which jobs are submitted; unique among the files of a folder.", examples=["support_reply"]
    )
    version: str = Field(default="1.0.0", description="Shown to people; a run is pinned to the content itself.")
    description: str = Field(default="", description="What the workflow is for.")
    input_schema: dict[str, Any] = Field(default_factory=dict, description="JSON Schema 2020-12 of the input.")
    context: dict[ContextName, Any] = Field(default_factory=dict, description="Constants, reached as ${context.x}.")
    steps: tuple[StepDefinition, ...] = Field(strict=False, description="The steps, run in order.")
    outputs: Any = Field(default=None, description="The result, with references; the last step's output if absent.")
    default_error_mode: Annotated[ErrorMode, Field(strict=False)] = Field(
        default=ErrorMode.FAIL, description="What happens when a step has failed for good, unless it says else itself."
    )
    timeout_seconds: Seconds = Field(default=DEFAULT_RUN_SECONDS, description="Of the whole run, parked time left out.")
    budget_usd: float | None = Field(
        default=None, gt=0, le=MAX_BUDGET_USD, description="The most that a run may cost, in US dollars."
    )

    @property
    def has_outputs(self) -> bool:
        return "outputs" in self.model_fields_set


@dataclass(frozen=True, slots=True)
class ReadSteps:
    """Steps that could be read. `unreadable_ids` are those of the others, so that references to them pass."""

    steps: tuple[StepDefinition, ...]
    findings: tuple[WorkflowFinding, ...]
    unreadable_ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ReadDefinition:
    """What could be read of a file, as far as it goes: with errors among the `findings` it is only good for checks.

    What is wrong is left out or, where it is needed, stands in for itself, so that the rest can be checked at
    the same time. `definition` is None where no step can be read.
    """

    definition: WorkflowDefinition | None
    findings: tuple[WorkflowFinding, ...]
    unreadable_ids: frozenset[str] = frozenset()


def read_definition(raw: JsonValue) -> ReadDefinition:
    """Return the workflow that `raw` (the parsed file) describes, with every fault of its shape."""
    if not isinstance(raw, dict):
        message = f"A workflow file is an object with name and steps, not {describe_kind(raw)}."
        return ReadDefinition(None, (shape_fault("", message),))
    folded, moved, findings = _fold_top_level(raw)
    has_steps = "steps" in folded
    raw_steps = folded.pop("steps", None)
    read = read_steps(raw_steps, pointer="/steps") if has_steps else ReadSteps((), ())
    shown = {**folded, "steps": read.steps} if has_steps else folded
    definition = None
    try:
        definition = WorkflowDefinition.model_validate(shown)
    except ValidationError as error:
        findings += findings_of(error, shown, model=WorkflowDefinition, pointer="", moved=moved)
        definition = _without_faults(WorkflowDefinition, shown, error, {"name": "unnamed", "steps": ()})
    return ReadDefinition(definition, (*findings, *read.findings), read.unreadable_ids)


def read_steps(raw: JsonValue, *, pointer: str) -> ReadSteps:
    """Return the steps of the list `raw` that stands at `pointer`, with every fault of their shape."""
    if not isinstance(raw, list):
        hint = ' Write [{"id": ..., "type": ..., "config": {...}}, ...].'
        fault = shape_fault(pointer, f"Steps are a list of objects, not {describe_kind(raw)}.{hint}")
        keys = frozenset(map(str, raw)) if isinstance(raw, dict) else frozenset[str]()
        return ReadSteps((), (fault,), ids_in(raw) | keys)
    if not raw:
        return ReadSteps((), (shape_fault(pointer, "There is no step."),))
    steps: list[StepDefinition] = []
    findings: list[WorkflowFinding] = []
    unreadable: set[str] = set()
    for index, item in enumerate(raw):
        step, found = read_step(item, pointer=pointer_of(index, base=pointer))
        findings += found
        if step is not None:
            steps.append(step)
        else:
            unreadable |= ids_in(item)
    return ReadSteps(tuple(steps), tuple(findings), frozenset(unreadable))


def read_step(raw: JsonValue, *, pointer: str) -> tuple[StepDefinition | None, list[WorkflowFinding]]:
    """Return the step that `raw` describes with every fault of its shape, or None where type or config have one.

    With faults the step is what is left of it: good for checks only.
    """
    if not isinstance(raw, dict):
        return None, [shape_fault(pointer, f"A step is an object with id and type, not {describe_kind(raw)}.")]
    folded = fold_step(raw, pointer=pointer)
    findings = folded.findings
    try:
        step = StepDefinition.model_validate(folded.value)
    except ValidationError as error:
        findings += findings_of(error, folded.value, model=StepDefinition, pointer=pointer, moved=folded.moved)
        left = _what_is_left(folded.value, error, pointer)
        if left is None:
            return None, findings
        step = left
    step.note_place(pointer, lifted=folded.lifted)
    return step, findings + _check_support(step, folded.moved)


def _what_is_left(value: Mapping[str, JsonValue], error: ValidationError, pointer: str) -> StepDefinition | None:
    """Return a step without its faulty fields, or None where the type or the config is one of them."""
    faulty = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
    unknown = {str(name) for name in faulty - StepDefinition.model_fields.keys()}
    meant = {meant_field(name, StepDefinition.model_fields) for name in unknown - IN_CONFIG}
    if {"type", "config"} & (faulty | meant):
        return None
    if unknown - IN_CONFIG and unknown & IN_CONFIG and "config" not in value:
        return None  # all of the config stands on the step, and what of it is missing cannot be told
    misplaced = {name: value[name] for name in sorted(IN_CONFIG & faulty & value.keys())}  # told; it counts as config
    repaired = {**value, "config": {**misplaced, **value.get("config", {})}}
    step = _without_faults(StepDefinition, repaired, error, {"id": "unnamed"})
    if step is None or "id" not in faulty:
        return step
    given = next((value[name] for name in ("id", *sorted(map(str, faulty))) if isinstance(value.get(name), str)), None)
    return step.model_copy(update={"id": given or f"the step at {pointer}"})


def _without_faults(
    model: type[ModelT], value: Mapping[str, JsonValue], error: ValidationError, needed: Mapping[str, JsonValue]
) -> ModelT | None:
    """Return `value` read without the top-level fields that are faulty; `needed` stands in for what is required."""
    faulty = {fault["loc"][0] for fault in error.errors() if fault["loc"]}
    stand_ins = {name: stand_in for name, stand_in in needed.items() if name in faulty}
    try:
        return model.model_validate({**{k: v for k, v in value.items() if k not in faulty}, **stand_ins})
    except ValidationError:
        return None


def ids_in(raw: JsonValue) -> frozenset[str]:
    """Return every `id` of what could be a step in `raw`, so that references to it are no mistakes as well."""
    found: set[str] = set()
    stack = [raw]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            found.update(item[name] for name in ("id", "step_id", "name") if isinstance(item.get(name), str))
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return frozenset(found)


def retry_delay_seconds(policy: RetryPolicy, attempt: int, random_part: Callable[[], float] = random.random) -> float:
    """Return how long to wait after `attempt` (the first is 1) has failed.

    With jitter the delay is between half of itself and all of it; `random_part` gives 0 <= x < 1.

    >>> policy = RetryPolicy(delay_seconds=1, backoff_multiplier=3, max_delay_seconds=5, jitter=False)
    >>> [retry_delay_seconds(policy, attempt) for attempt in (1, 2, 3)]
    [1.0, 3.0, 5.0]
    >>> retry_delay_seconds(RetryPolicy(delay_seconds=8), 1, lambda: 0.5)
    6.0
    """
    grown = policy.delay_seconds * float(policy.backoff_multiplier) ** (attempt - 1)
    delay = min(grown, float(policy.max_delay_seconds))
    return delay * (0.5 + random_part() / 2) if policy.jitter else delay


def _fold_top_level(raw: Mapping[str, JsonValue]) -> tuple[dict[str, JsonValue], Moves, list[WorkflowFinding]]:
    folded, findings = dict(raw), list[WorkflowFinding]()
    moved: Moves = {}
    rename(folded, "timeout", "timeout_seconds", moved, findings, pointer="")
    if "inputs" in folded:
        inputs = folded.pop("inputs")
        moved[("input_schema",)] = ("inputs",)
        if "input_schema" in folded:
            findings.append(given_twice("/inputs", "inputs", "input_schema"))
        else:
            folded["input_schema"] = _schema_of_inputs(inputs, findings)
    return folded, moved, findings


def _schema_of_inputs(inputs: JsonValue, findings: list[WorkflowFinding]) -> dict[str, JsonValue]:
    """Return the JSON Schema that the short form `inputs: [{name, type, ...}]` stands for."""
    properties: dict[str, JsonValue] = {}
    required: list[str] = []
    if not isinstance(inputs, list):
        findings.append(
            shape_fault("/inputs", f"inputs is a list of objects with a name, not {describe_kind(inputs)}.")
        )
        inputs = []
    for index, item in enumerate(inputs):
        where = pointer_of("inputs", index)
        try:
            parsed = _ShortInput.model_validate(item)
        except ValidationError as error:
            findings += findings_of(error, item, model=_ShortInput, pointer=where)
            continue
        if parsed.name in properties:
            findings.append(shape_fault(pointer_of("name", base=where), f'The input "{parsed.name}" is there twice.'))
        properties[parsed.name] = parsed.as_schema()
        if parsed.required and "default" not in parsed.model_fields_set:
            required.append(parsed.name)
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _check_support(step: StepDefinition, moved: Moves) -> list[WorkflowFinding]:
    findings: list[WorkflowFinding] = []
    if step.error_mode is ErrorMode.DEFAULT and not step.has_default_value:
        message = 'error_mode "default" needs a default_value on the step (null is one).'
        findings.append(
            shape_fault(pointer_of(*moved.get(("error_mode",), ("error_mode",)), base=step.pointer), message)
        )
    return findings


def _not_yet(pointer: str, message: str) -> WorkflowFinding:
    return WorkflowFinding(pointer=pointer, message=message, code="not_yet_supported")
