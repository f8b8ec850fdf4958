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
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, ValidationError, field_validator

from callboard.core.json_values import JsonValue
from callboard.workflows.findings import Severity, WorkflowFinding, pointer_of, suggest
from callboard.workflows.references import STEP_FIELDS
from callboard.workflows.short_forms import Moves, Place, describe_kind, fold_step, given_twice, rename, shape_fault

DEFAULT_RUN_SECONDS = 600
DEFAULT_CALL_SECONDS = 120
RESERVED_CONTEXT = frozenset({"job_id", "workflow", "user_id", "started_at"})  # the engine fills these in
PLANNED_STEP_TYPES = frozenset({"approval", "wait", "workflow"})  # in the format, not built yet

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,99}$"
STEP_ID_PATTERN = r"^[A-Za-z0-9_-]{1,50}$"
_ALIAS = re.compile(r"[\w-]{1,50}")
_PATTERN_RULES = {
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
    max_delay_seconds: float = Field(default=60, ge=0, le=86_400)
    jitter: bool = Field(default=True, description="Shorten each delay by a random part, up to half.")


class StepDefinition(_Strict):
    """One step, whatever its type."""

    id: Annotated[str, StringConstraints(pattern=STEP_ID_PATTERN)]
    type: str
    config: dict[str, Any] = Field(default_factory=dict)
    display_name: str | None = None
    description: str | None = None
    when: str | bool = Field(default=True, description="A condition; where it is false, the step is skipped.")
    error_mode: Annotated[ErrorMode, Field(strict=False)] | None = Field(
        default=None, description="After retries are used up; the file's default_error_mode where it is absent."
    )
    default_value: Any = Field(default=None, description="The output under error_mode default.")
    retry: RetryPolicy | None = None
    timeout_seconds: Seconds = Field(default=DEFAULT_CALL_SECONDS, description="Of one call, or one transform.")
    outputs: tuple[str, ...] = Field(default=(), strict=False, description="Further names of the output.")

    _pointer: str = PrivateAttr(default="")
    _lifted: frozenset[str] = PrivateAttr(default=frozenset())

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
        is_lifted = bool(parts) and parts[0] in self._lifted
        return pointer_of(*parts, base=self._pointer if is_lifted else f"{self._pointer}/config")

    def note_place(self, pointer: str, *, lifted: frozenset[str] = frozenset()) -> None:
        """Note where in its file this step stands, and which keys of `config` stood on the step itself."""
        self._pointer, self._lifted = pointer, lifted

    @field_validator("outputs")
    @classmethod
    def _check_aliases(cls, aliases: tuple[str, ...]) -> tuple[str, ...]:
        for alias in aliases:
            if alias in STEP_FIELDS:
                raise ValueError(f'"{alias}" cannot be an alias: ${{steps.ID.{alias}}} has a meaning of its own')
            if _ALIAS.fullmatch(alias) is None:
                raise ValueError(f'the alias "{alias[:60]}" is no name (letters, digits, _ and -)')
        return aliases


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

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    version: str = "1.0.0"
    description: str = ""
    input_schema: dict[str, Any] = Field(default_factory=dict, description="JSON Schema 2020-12 of the input.")
    context: dict[str, Any] = Field(default_factory=dict, description="Constants, reached as ${context.x}.")
    steps: tuple[StepDefinition, ...] = Field(strict=False)
    outputs: Any = Field(default=None, description="The result, with references; the last step's output if absent.")
    default_error_mode: Annotated[ErrorMode, Field(strict=False)] = ErrorMode.FAIL
    timeout_seconds: Seconds = Field(default=DEFAULT_RUN_SECONDS, description="Of the whole run, parked time left out.")
    budget_usd: float | None = Field(default=None, gt=0)

    @property
    def has_outputs(self) -> bool:
        return "outputs" in self.model_fields_set

    @field_validator("context")
    @classmethod
    def _check_context(cls, context: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(RESERVED_CONTEXT & context.keys())
        if taken:
            raise ValueError(f'"{taken[0]}" is filled in when a run starts; choose another name')
        return context


@dataclass(frozen=True, slots=True)
class ReadSteps:
    """Steps that could be read. `unreadable_ids` are those of the others, so that references to them pass."""

    steps: tuple[StepDefinition, ...]
    findings: tuple[WorkflowFinding, ...]
    unreadable_ids: frozenset[str] = frozenset()


_NO_STEPS = WorkflowFinding(pointer="", message='The field "steps" is missing.', code="missing_field")


@dataclass(frozen=True, slots=True)
class ReadDefinition:
    """What could be read of a file. `definition` holds the steps that are readable; None: nothing is."""

    definition: WorkflowDefinition | None
    findings: tuple[WorkflowFinding, ...]
    unreadable_ids: frozenset[str] = frozenset()


def read_definition(raw: JsonValue) -> ReadDefinition:
    """Return the workflow that `raw` (the parsed file) describes, with every fault of its shape.

    A step that cannot be read is left out, so that the others can still be checked.
    """
    if not isinstance(raw, dict):
        message = f"A workflow file is an object with name and steps, not {describe_kind(raw)}."
        return ReadDefinition(None, (shape_fault("", message),))
    folded, moved, findings = _fold_top_level(raw)
    raw_steps = folded.pop("steps", None)
    read = ReadSteps((), (_NO_STEPS,)) if raw_steps is None else read_steps(raw_steps, pointer="/steps")
    definition = None
    try:
        definition = WorkflowDefinition.model_validate({**folded, "steps": read.steps})
    except ValidationError as error:
        findings += findings_of(error, folded, model=WorkflowDefinition, pointer="", moved=moved)
    if folded.get("budget_usd") is not None:
        findings.append(_not_yet("/budget_usd", "Budgets are not supported yet; remove budget_usd."))
    return ReadDefinition(definition, (*findings, *read.findings), read.unreadable_ids)


def read_steps(raw: JsonValue, *, pointer: str) -> ReadSteps:
    """Return the steps of the list `raw` that stands at `pointer`, with every fault of their shape."""
    if not isinstance(raw, list):
        return ReadSteps((), (shape_fault(pointer, f"Steps are a list of objects, not {describe_kind(raw)}."),))
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
        elif isinstance(item, dict) and isinstance(item.get("id"), str):
            unreadable.add(item["id"])
    return ReadSteps(tuple(steps), tuple(findings), frozenset(unreadable))


def read_step(raw: JsonValue, *, pointer: str) -> tuple[StepDefinition | None, list[WorkflowFinding]]:
    """Return the step that `raw` describes, or None, with every fault of its shape."""
    if not isinstance(raw, dict):
        return None, [shape_fault(pointer, f"A step is an object with id and type, not {describe_kind(raw)}.")]
    folded = fold_step(raw, pointer=pointer)
    try:
        step = StepDefinition.model_validate(folded.value)
    except ValidationError as error:
        faults = findings_of(error, folded.value, model=StepDefinition, pointer=pointer, moved=folded.moved)
        return None, folded.findings + faults
    step.note_place(pointer, lifted=folded.lifted)
    return step, folded.findings + _check_support(step)


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


def findings_of(
    error: ValidationError,
    raw: JsonValue,
    *,
    model: type[BaseModel],
    pointer: str,
    moved: Mapping[Place, Place] | None = None,
) -> list[WorkflowFinding]:
    """Return what `model` refused of `raw` as findings below `pointer`, each with the nearest right name.

    `moved` maps the places of folded short forms to where they stand in the file.
    """
    findings: dict[tuple[str, str], WorkflowFinding] = {}
    for fault in error.errors(include_url=False):
        place = _place_in(raw, fault["loc"])
        message, code = _word_fault(fault, place, model)
        where = pointer_of(*_as_written(place, moved or {}), base=pointer)
        findings.setdefault((where, message), WorkflowFinding(pointer=where, message=message, code=code))
    return list(findings.values())


def _place_in(raw: JsonValue, location: Place) -> Place:
    """Return `location` without the labels that Pydantic adds for branches of a union."""
    place: list[str | int] = []
    for index, part in enumerate(location):
        is_item = isinstance(raw, list | tuple) and isinstance(part, int) and part < len(raw)
        if is_item or (isinstance(raw, dict) and part in raw):
            raw = raw[part]
        elif not (isinstance(raw, dict) and index == len(location) - 1):
            continue
        place.append(part)
    return tuple(place)


def _as_written(place: Place, moved: Mapping[Place, Place]) -> Place:
    for length in range(len(place), 0, -1):
        origin = moved.get(place[:length])
        if origin is not None:
            return (*origin, *place[length:])
    return place


def _word_fault(fault: Mapping[str, Any], place: Place, model: type[BaseModel]) -> tuple[str, str]:
    name = str(place[-1]) if place else ""
    match fault["type"]:
        case "extra_forbidden":
            known = _fields_at(model, place[:-1])
            return f'Unknown field "{name}".{suggest(name, known, what="Known fields:")}', "unknown_field"
        case "missing":
            return f'The field "{name}" is missing.', "missing_field"
        case "string_pattern_mismatch":
            rule = _PATTERN_RULES.get(fault["ctx"]["pattern"], f"it must match {fault['ctx']['pattern']}")
            return f"{str(fault['input'])[:80]!r} is not a valid {name}: {rule}.", "shape"
        case "enum":
            return f"{str(fault['input'])[:80]!r} is not a valid {name}: use {fault['ctx']['expected']}.", "shape"
        case "value_error":
            return _as_sentence(str(fault["ctx"]["error"])), "shape"
    return _as_sentence(f"{name}: {fault['msg']}" if name else fault["msg"]), "shape"


def _as_sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def _fields_at(model: type[BaseModel], place: Place) -> set[str]:
    models = {model}
    for part in place:
        if isinstance(part, str):
            models = {found for each in models for found in _models_of_field(each, part)}
    return {field.alias or name for each in models for name, field in each.model_fields.items()}


def _models_of_field(model: type[BaseModel], name: str) -> set[type[BaseModel]]:
    for field_name, field in model.model_fields.items():
        if name in {field_name, field.alias}:
            return _models_in(field.annotation)
    return set()


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for argument in get_args(annotation) for found in _models_in(argument)}


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
            findings.append(shape_fault(where, f'The input "{parsed.name}" is there twice.'))
        properties[parsed.name] = parsed.as_schema()
        if parsed.required and "default" not in parsed.model_fields_set:
            required.append(parsed.name)
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _check_support(step: StepDefinition) -> list[WorkflowFinding]:
    findings: list[WorkflowFinding] = []
    if step.type in PLANNED_STEP_TYPES:
        message = f'Steps of the type "{step.type}" are not supported yet.'
        findings.append(_not_yet(pointer_of("type", base=step.pointer), message))
    if step.error_mode is ErrorMode.DEFAULT and not step.has_default_value:
        message = "error_mode default needs a default_value (null is one)."
        findings.append(shape_fault(pointer_of("error_mode", base=step.pointer), message))
    if step.type in {"llm", "external_api"} and step.config.get("cache_ttl") not in (None, 0):
        message = "Answers are not cached yet: the call is made each time, as with cache_ttl 0."
        where = step.pointer_to("cache_ttl")
        findings.append(
            WorkflowFinding(pointer=where, message=message, code="not_yet_supported", severity=Severity.WARNING)
        )
    return findings


def _not_yet(pointer: str, message: str) -> WorkflowFinding:
    return WorkflowFinding(pointer=pointer, message=message, code="not_yet_supported")
