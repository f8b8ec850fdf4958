"""The `conditional` step: one branch of several, chosen by a condition. `wiring` hands it to the registry."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from callboard.core.json_values import JsonValue
from callboard.workflows.conditions import Condition
from callboard.workflows.config_rules import RuledConfig
from callboard.workflows.references import Scope
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution, StepList, StepSequence
from callboard.workflows.steps.foresight import Foreseen, ForeseenBranch, ForeseenChoice, IsKnown

IF_TRUE, IF_FALSE, DEFAULT = "if_true", "if_false", "default"


class ConditionalCase(BaseModel):
    """One of several branches; the first whose `when` holds is taken."""

    model_config = ConfigDict(extra="forbid")

    when: str | bool = Field(description="A CEL condition over input, steps and context.")
    steps: StepList = Field(description="Steps to run when it holds.")


class ConditionalConfig(RuledConfig):
    """`condition` with `if_true` and `if_false`, or `cases` with `default`."""

    model_config = ConfigDict(extra="forbid")

    condition: str | bool | None = Field(None, description="A CEL condition over input, steps and context.")
    if_true: StepList = Field(default_factory=list, description="Steps to run when the condition holds.")
    if_false: StepList = Field(default_factory=list, description="Steps to run when it does not.")
    cases: list[ConditionalCase] | None = Field(None, description="The first whose `when` holds is taken.")
    default: StepList = Field(default_factory=list, description="Steps to run when no case holds.")

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield where both forms are mixed, and where there is neither, or no step in it."""
        for name in (IF_TRUE, IF_FALSE, "condition"):
            if given.get("cases") is not None and given.get(name) is not None:
                yield name, f'"{name}" does not go with "cases": give condition with if_true and if_false, or cases.'
                return
        if given.get("cases") is None and given.get("condition") is None:
            yield "", "Give a condition (with if_true, if_false), or cases (with default)."
        elif given.get("cases") == []:
            yield "cases", 'There is no case in it: write [{"when": ..., "steps": [...]}, ...].'
        elif given.get("cases") is None and DEFAULT in given:
            yield DEFAULT, '"default" goes with "cases"; beside "condition" it is called "if_false".'


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
        cases = _cases(raw)
        for index, case in enumerate(cases):
            name = f"cases[{index}]"
            branches[name] = _branch(step, case.get("steps"), name, place=("cases", index, "steps"))
            conditions.append((step.condition(case.get("when", True), "cases", index, "when"), name))
            if case.get("when") is True and (index < len(cases) - 1 or branches[DEFAULT].steps):
                message = "This case always holds: no case behind it, nor default, is ever taken."
                step.warn(message, "cases", index, "when", code="constant_condition")
        if raw.get("condition") is not None:
            conditions.append((step.condition(raw["condition"], "condition"), IF_TRUE))
        config = step.config(ConditionalConfig)
        if not any(raw.get(name) for name in (IF_TRUE, IF_FALSE, DEFAULT)) and not cases:
            message = 'There is no step in any branch: write "if_true": [...], or "if_false": [...], or both.'
            step.refuse(message, code="shape")
        otherwise = DEFAULT if config.condition is None else IF_FALSE
        return _Choice(conditions=tuple(conditions), otherwise=otherwise, branches=branches)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice(StepBody):
    conditions: tuple[tuple[Condition, str], ...]
    otherwise: str
    branches: Mapping[str, StepSequence]

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        return ForeseenChoice(tuple(self._foresee_branches(scope, is_known)))

    def _foresee_branches(self, scope: Scope, is_known: IsKnown) -> Iterator[ForeseenBranch]:
        is_reached: bool | None = True  # None: hangs on a condition before it
        for condition, branch in self.conditions:
            holds = condition.decide(scope, is_known) if is_reached is not False else False
            is_taken = is_reached if holds is True else holds
            yield ForeseenBranch(sequence=self.branches[branch], condition=condition.text, is_taken=is_taken)
            if holds is not False:
                is_reached = False if holds else None
        yield ForeseenBranch(sequence=self.branches[self.otherwise], condition=None, is_taken=is_reached)

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
