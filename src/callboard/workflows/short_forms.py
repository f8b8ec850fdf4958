"""The short forms that existing workflow files use, folded into the long form that the models read.

Called by `definition.py` before it validates. Everything here takes JSON and gives JSON; where a value
was moved is kept, so that a fault of it is shown where the file has it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from callboard.core.json_values import JsonValue
from callboard.workflows.findings import WorkflowFinding, pointer_of
from callboard.workflows.references import describe_type

Place: TypeAlias = tuple[str | int, ...]  # the parts of a JSON pointer
Moves: TypeAlias = dict[Place, Place]  # where the long form has it -> where the file has it

FORMAT_TYPES = frozenset(
    {"approval", "conditional", "external_api", "llm", "parallel", "transform", "wait", "workflow"}
)  # every type that the workflow format names

# what these take in `config`, and may also carry on the step itself
CONTAINER_KEYS: Mapping[str, frozenset[str]] = {
    "conditional": frozenset({"condition", "if_true", "if_false", "cases", "default"}),
    "parallel": frozenset({"steps", "branches", "for_each", "as", "max_concurrency", "fail_fast"}),
    "approval": frozenset({"timeout_seconds"}),
    "wait": frozenset({"timeout_seconds"}),
    "workflow": frozenset({"workflow", "input"}),
}
_STEP_FIELDS_IN_CONFIG = {"error_mode": "error_mode", "default_value": "default_value", "timeout": "timeout_seconds"}
_RETRY_NAMES = {
    "max_retries": "max_attempts",
    "delay": "delay_seconds",
    "initial_delay": "delay_seconds",
    "multiplier": "backoff_multiplier",
    "backoff": "backoff_multiplier",
    "max_delay": "max_delay_seconds",
}


@dataclass(frozen=True, slots=True)
class Folded:
    """JSON in the long form. `lifted` = the keys of `config` that stood on the step itself, and where there."""

    value: dict[str, JsonValue]
    moved: Moves
    findings: list[WorkflowFinding]
    lifted: Mapping[str, Place] = field(default_factory=dict)


def fold_step(raw: Mapping[str, JsonValue], *, pointer: str) -> Folded:
    """Return the step `raw`, which stands at `pointer`, in the long form.

    `error_mode`, `default_value` and `timeout` in `config` go to the step, where its own do not win; what a
    container carries on the step goes to `config`.
    """
    folded, findings = dict(raw), list[WorkflowFinding]()
    moved: Moves = {}
    rename(folded, "timeout", "timeout_seconds", moved, findings, pointer=pointer)
    _fold_retry(folded, moved, findings, pointer)
    config = folded.get("config", {})
    if not isinstance(config, dict):
        return Folded(folded, moved, findings)
    config = dict(config)
    for name, target in _STEP_FIELDS_IN_CONFIG.items():
        if name in config:
            given = config.pop(name)
            if target not in folded:  # the step's own wins
                folded[target] = given
                moved[(target,)] = ("config", name)
    keys = _container_keys(folded.get("type"))
    lifted = {name: moved.get((name,), (name,)) for name in sorted(keys & folded.keys())}
    for name, place in lifted.items():
        if name in config:
            short = ".".join(map(str, place))
            findings.append(given_twice(pointer_of(*place, base=pointer), short, f"config.{name}"))
        config[name] = folded.pop(name)
    if config or "config" in folded:
        folded["config"] = config
    return Folded(folded, moved, findings, lifted)


def _container_keys(step_type: JsonValue) -> frozenset[str]:
    """Return what a step of the type may carry on itself; of a type that nobody knows, the type is told and no more."""
    if not isinstance(step_type, str) or step_type not in FORMAT_TYPES:
        return frozenset().union(*CONTAINER_KEYS.values())
    return CONTAINER_KEYS.get(step_type, frozenset())


def _fold_retry(folded: dict[str, JsonValue], moved: Moves, findings: list[WorkflowFinding], pointer: str) -> None:
    short = {name: folded.pop(name) for name in ("retry_config", "retry_count", "retry_delay") if name in folded}
    if not short:
        return
    if "retry" in folded:
        findings.extend(given_twice(pointer_of(name, base=pointer), name, "retry") for name in short)
        return
    policy: dict[str, JsonValue] = {}
    config = short.get("retry_config", {})
    if not isinstance(config, dict):
        findings.append(
            shape_fault(f"{pointer}/retry_config", f"retry_config is an object, not {describe_kind(config)}.")
        )
        config = {}
    for name, value in config.items():
        target = _RETRY_NAMES.get(name, name)
        policy[target] = _attempts_of(value) if name == "max_retries" else value
        moved[("retry", target)] = ("retry_config", name)
    if "retry_count" in short:
        if "max_attempts" in policy:
            findings.append(given_twice(pointer_of("retry_count", base=pointer), "retry_count", "max_retries"))
        policy["max_attempts"] = _attempts_of(short["retry_count"])
        moved[("retry", "max_attempts")] = ("retry_count",)
    if "retry_delay" in short:
        policy["delay_seconds"] = short["retry_delay"]
        moved[("retry", "delay_seconds")] = ("retry_delay",)
    folded["retry"] = policy


def _attempts_of(retries: JsonValue) -> JsonValue:
    """Return how many attempts so many retries are; what is no number is left for the model to refuse."""
    return retries + 1 if isinstance(retries, int) and not isinstance(retries, bool) else retries


def rename(
    folded: dict[str, JsonValue], short: str, name: str, moved: Moves, findings: list[WorkflowFinding], *, pointer: str
) -> None:
    """Give the field `short` of `folded` its long `name`."""
    if short not in folded:
        return
    value = folded.pop(short)
    if name in folded:
        findings.append(given_twice(pointer_of(short, base=pointer), short, name))
        return
    folded[name] = value
    moved[(name,)] = (short,)


def shape_fault(pointer: str, message: str) -> WorkflowFinding:
    """Return the finding that the file has another shape than it should, at `pointer`."""
    return WorkflowFinding(pointer=pointer, message=message, code="shape")


def given_twice(pointer: str, short: str, name: str) -> WorkflowFinding:
    """Return the finding that a short form and its long form are both there."""
    return shape_fault(pointer, f'"{short}" says the same as "{name}", and both are given; keep one.')


def describe_kind(value: JsonValue) -> str:
    """Return the kind of `value` in words, without its keys.

    >>> describe_kind({"a": 1}), describe_kind([1, 2])
    ('an object', 'a list')
    """
    return "a list" if isinstance(value, list) else describe_type(value).partition(" with ")[0]
