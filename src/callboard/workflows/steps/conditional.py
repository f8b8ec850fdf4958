"""The `conditional` step: one branch of several, chosen by a condition. `wiring` hands it to the registry."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from callboard.core.json_values import JsonValue
from callboard.workflows.conditions import Condition
from callboard.workflows.references import Scope
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution, StepSequence

IF_TRUE, IF_FALSE, DEFAULT = "if_true", "if_false", "default"


class ConditionalCase(BaseModel):
    """One of several branches; the first whose `when` holds is taken."""

    model_config = ConfigDict(extra="forbid")

    when: str | bool
    steps: list[Any]


class ConditionalConfig(BaseModel):
    """`condition` with `if_true` and `if_false`, or `cases` with `default`."""

    model_config = ConfigDict(extra="forbid")

    condition: str | bool | None = Field(None, description="A CEL condition over input, steps and context.")
    if_true: list[Any] = Field(default_factory=list, description="Steps to run when the condition holds.")
    if_false: list[Any] = Field(default_factory=list, description="Steps to run when it does not.")
    cases: list[ConditionalCase] | None = Field(None, description="The first whose `when` holds is taken.")
    default: list[Any] = Field(default_factory=list, description="Steps to run when no case holds.")

    @model_validator(mode="after")
    def _one_form(self) -> "ConditionalConfig":
        if (self.condition is None) == (self.cases is None):
            raise ValueError("give either condition (with if_true, if_false) or cases (with default)")
        return self


class ConditionalStep:
    """The kind `conditional`. Its output is that of the last step that ran, null if none did."""

    type = "conditional"
    config_model: ConfigModel = ConditionalConfig
    is_container = True

    def compile(self, step: StepCompiler) -> StepBody:
        raw, branches = step.raw, {}
        for name in (IF_TRUE, IF_FALSE, DEFAULT):
            branches[name] = _branch(step, raw.get(name), name, place=(name,))
        conditions: list[tuple[Condition, str]] = []
        for index, case in enumerate(_cases(raw)):
            name = f"cases[{index}]"
            branches[name] = _branch(step, case.get("steps"), name, place=("cases", index, "steps"))
            conditions.append((step.condition(case.get("when", True), "cases", index, "when"), name))
        if raw.get("condition") is not None:
            conditions.append((step.condition(raw["condition"], "condition"), IF_TRUE))
        config = step.config(ConditionalConfig)
        otherwise = DEFAULT if config.condition is None else IF_FALSE
        return _Choice(conditions=tuple(conditions), otherwise=otherwise, branches=branches)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice(StepBody):
    conditions: tuple[tuple[Condition, str], ...]
    otherwise: str
    branches: Mapping[str, StepSequence]

    async def run(self, execution: StepExecution) -> JsonValue:
        chosen = await execution.children.choose(lambda: self._decide(execution.scope))
        views = await execution.children.run(self.branches[chosen])
        return next((view.output for view in reversed(views) if not view.skipped), None)

    def _decide(self, scope: Scope) -> str:
        for condition, branch in self.conditions:
            if condition.evaluate(scope):
                return branch
        return self.otherwise


def _branch(step: StepCompiler, raw_steps: JsonValue, name: str, *, place: tuple[str | int, ...]) -> StepSequence:
    """Return the steps of a branch, which may be left out or empty: nothing runs then."""
    if not raw_steps:
        return StepSequence((), branch=name)
    return step.sequence(raw_steps, *place, branch=name)


def _cases(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the cases as far as they can be read; `ConditionalConfig` tells what is wrong with the rest."""
    cases = raw.get("cases")
    return [case if isinstance(case, dict) else {} for case in cases] if isinstance(cases, list) else []
