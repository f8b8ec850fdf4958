"""The `parallel` step: branches side by side, or a loop over a list. `wiring` hands it to the registry."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.references import SCOPE_ROOTS, StepView, Template, describe_type
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution, StepSequence
from callboard.workflows.steps.branch_tasks import run_branches

DEFAULT_MAX_CONCURRENCY = 10
INDEX_NAME = "index"

BranchName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,50}$")]
LoopName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,49}$")]


class LoopListError(PermanentError):
    """What a loop should go over is no list."""

    code = "loop_list_invalid"
    category = "workflow"


class LoopListChangedError(PermanentError):
    """The list of a loop is not the one that the run began with."""

    code = "loop_list_changed"


class ParallelConfig(BaseModel):
    """`steps` (each a branch), `branches`, or `for_each` with the `steps` of one item."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    steps: list[Any] | None = Field(None, description="Each a branch of its own; in a loop: the steps of one item.")
    branches: dict[BranchName, list[Any]] | None = Field(None, description="Steps by the name of their branch.")
    for_each: str | list[Any] | None = Field(None, description="The list to go over; null is an empty list.")
    item_name: LoopName = Field("item", alias="as", description="What the steps call the item.")
    max_concurrency: int = Field(DEFAULT_MAX_CONCURRENCY, ge=1, le=1000, description="Branches or items at a time.")
    fail_fast: bool = Field(default=True, description="Whether the first failure cancels the other branches.")

    @field_validator("item_name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in {*SCOPE_ROOTS, "secrets", INDEX_NAME}:
            raise ValueError(f"{name} means something else in references; choose another name")
        return name

    @model_validator(mode="after")
    def _one_form(self) -> "ParallelConfig":
        if (self.steps is None) == (self.branches is None):
            raise ValueError("give either steps (alone, or with for_each) or branches")
        if self.for_each is not None and self.steps is None:
            raise ValueError("for_each goes with steps, not with branches")
        return self


class ParallelStep:
    """The kind `parallel`. Its output is an object by branch, or a list by item in the order of the list."""

    type = "parallel"
    config_model: ConfigModel = ParallelConfig
    is_container = True

    def compile(self, step: StepCompiler) -> StepBody:
        if step.raw.get("for_each") is not None:
            return self._compile_loop(step)
        branches = _compile_branches(step)
        config = step.config(ParallelConfig)
        return _Branches(branches=branches, max_concurrency=config.max_concurrency, fail_fast=config.fail_fast)

    def _compile_loop(self, step: StepCompiler) -> StepBody:
        name = step.raw.get("as", "item")
        items = step.template(step.raw["for_each"], "for_each")
        sequence = step.sequence(step.raw.get("steps"), "steps", loop_names=(str(name), INDEX_NAME))
        config = step.config(ParallelConfig)
        return _Loop(
            items=items,
            sequence=sequence,
            item_name=config.item_name,
            max_concurrency=config.max_concurrency,
            fail_fast=config.fail_fast,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branches(StepBody):
    branches: Mapping[str, StepSequence]
    max_concurrency: int
    fail_fast: bool

    async def run(self, execution: StepExecution) -> JsonValue:
        ended = await run_branches(
            [partial(execution.children.run, sequence) for sequence in self.branches.values()],
            max_concurrency=self.max_concurrency,
            fail_fast=self.fail_fast,
        )
        return {name: _last_output(views) for name, views in zip(self.branches, ended, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loop(StepBody):
    items: Template
    sequence: StepSequence
    item_name: str
    max_concurrency: int
    fail_fast: bool

    async def run(self, execution: StepExecution) -> JsonValue:
        items = self._render_items(execution)
        await _check_same_list(execution, items)
        starts = [
            partial(execution.children.run_item, self.sequence, index, names={self.item_name: item, INDEX_NAME: index})
            for index, item in enumerate(items)
        ]
        ended = await run_branches(starts, max_concurrency=self.max_concurrency, fail_fast=self.fail_fast)
        return [_last_output(views) for views in ended]

    def _render_items(self, execution: StepExecution) -> list[JsonValue]:
        items = self.items.render(execution.scope)
        if items is None:
            return []
        if not isinstance(items, list):
            raise LoopListError(f"for_each needs a list, and this is {describe_type(items)}.")
        return items


async def _check_same_list(execution: StepExecution, items: list[JsonValue]) -> None:
    """Journal which list this is; paths such as `each[3]` mean the same item only while it is the same."""
    digest = hashlib.sha256(orjson.dumps(items, option=orjson.OPT_SORT_KEYS)).hexdigest()
    journaled = await execution.children.choose(lambda: digest)
    if journaled != digest:
        raise LoopListChangedError(
            f"The loop began with another list than the {len(items)} items it has now, so finished items cannot "
            "be told from new ones. Submit the job anew.",
            details={"journaled_sha256": journaled, "sha256": digest},
        )


def _compile_branches(step: StepCompiler) -> dict[str, StepSequence]:
    raw_steps, raw_branches = step.raw.get("steps"), step.raw.get("branches")
    if isinstance(raw_branches, dict):
        return {name: step.sequence(steps, "branches", name, branch=name) for name, steps in raw_branches.items()}
    sequences = [
        step.sequence(raw_step, "steps", index)
        for index, raw_step in enumerate(raw_steps if isinstance(raw_steps, list) else ())
    ]
    return {sequence.steps[0].id: sequence for sequence in sequences if sequence.steps}


def _last_output(views: Sequence[StepView]) -> JsonValue:
    return views[-1].output if views else None
