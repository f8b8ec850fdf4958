"""The `parallel` step: branches side by side, or a loop over a list. `wiring` hands it to the registry."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeGuard

import orjson
from pydantic import ConfigDict, Field, StringConstraints, field_validator

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.config_rules import RuledConfig
from callboard.workflows.references import SCOPE_ROOTS, Scope, StepView, Template, describe_type
from callboard.workflows.shape_faults import PATTERN_RULES
from callboard.workflows.steps.base import ConfigModel, StepBody, StepCompiler, StepExecution, StepList, StepSequence
from callboard.workflows.steps.branch_tasks import run_branches
from callboard.workflows.steps.foresight import Foreseen, ForeseenLoop, ForeseenParallel, IsKnown
from callboard.workflows.unknown_values import Unknown

DEFAULT_MAX_CONCURRENCY = 10
INDEX_NAME = "index"
_BARE_PATH = re.compile(r"(?:input|steps|context|item)(?:\.[\w-]+|\[[\w*]+\])+")

BRANCH_PATTERN = r"^[A-Za-z0-9_-]{1,50}$"
LOOP_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,49}$"
PATTERN_RULES |= {
    BRANCH_PATTERN: "1 to 50 letters, digits, _ or -",
    LOOP_NAME_PATTERN: "a letter or _, then at most 49 letters, digits or _",
}
BranchName = Annotated[str, StringConstraints(pattern=BRANCH_PATTERN)]
LoopName = Annotated[str, StringConstraints(pattern=LOOP_NAME_PATTERN)]


class LoopListError(PermanentError):
    """What a loop should go over is no list."""

    code = "loop_list_invalid"
    category = "workflow"


class LoopListChangedError(PermanentError):
    """The list of a loop is not the one that the run began with."""

    code = "loop_list_changed"


class ParallelConfig(RuledConfig):
    """`steps` (each a branch), `branches`, or `for_each` with the `steps` of one item."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, strict=True)

    steps: StepList | None = Field(None, description="Each a branch of its own; in a loop: the steps of one item.")
    branches: dict[BranchName, StepList] | None = Field(None, description="Steps by the name of their branch.")
    for_each: str | list[Any] | None = Field(None, description="The list to go over; null is an empty list.")
    item_name: LoopName = Field("item", alias="as", description="What the steps call the item.")
    max_concurrency: int = Field(DEFAULT_MAX_CONCURRENCY, ge=1, le=1000, description="Branches or items at a time.")
    fail_fast: bool = Field(default=True, description="Whether the first failure cancels the other branches.")

    @field_validator("item_name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in {*SCOPE_ROOTS, "secrets", INDEX_NAME}:
            raise ValueError(f'"{name}" means something else in references; choose another name')
        return name

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield where both forms are mixed, and where there is neither."""
        has_steps, has_branches = given.get("steps") is not None, given.get("branches") is not None
        if has_steps and has_branches:
            yield "branches", 'Give "steps" or "branches", not both.'
        elif has_branches and given.get("for_each") is not None:
            yield "for_each", 'A loop runs "steps" for each item; it has no "branches".'
        elif not has_steps and given.get("for_each") is not None:
            yield "", 'A loop needs "steps": what runs for each item.'
        elif not has_steps and not has_branches:
            yield "", 'Give "steps" (each a branch of its own, or with for_each those of one item), or "branches".'
        items = given.get("for_each")
        if _is_plain_text(items):
            yield "for_each", f'"for_each" must be a list, or a reference to one such as ${{{_path_in(items)}}}.'


def _is_plain_text(items: JsonValue) -> TypeGuard[str]:
    return isinstance(items, str) and "${" not in items


def _path_in(text: str) -> str:
    """Return the path that was meant by `text`, or an example of one."""
    match = _BARE_PATH.fullmatch(text.strip("${} "))
    return match.group() if match is not None else "input.items"


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
        if not config.steps and not config.branches:
            step.refuse("There is no step in it.", "steps" if "steps" in step.raw else "branches", code="shape")
        return _Branches(branches=branches, max_concurrency=config.max_concurrency, fail_fast=config.fail_fast)

    def _compile_loop(self, step: StepCompiler) -> StepBody:
        name = step.raw.get("as", "item")
        given = step.raw["for_each"]
        items = step.template([] if _is_plain_text(given) else given, "for_each")  # what is plain text is refused below
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

    def output_shape(self) -> Mapping[str, Any]:
        return {"type": "object", "properties": {name: {} for name in self.branches}, "additionalProperties": False}

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        del scope, is_known
        return ForeseenParallel(branches=self.branches, max_concurrency=self.max_concurrency)

    async def run(self, execution: StepExecution) -> JsonValue:
        ended = await run_branches(
            [partial(execution.children.run, sequence) for sequence in self.branches.values()],
            flows=execution.flows,
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

    def output_shape(self) -> Mapping[str, Any]:
        return {"type": "array"}

    def foresee(self, scope: Scope, is_known: IsKnown) -> Foreseen:
        del is_known
        items = self.items.render(scope)
        return ForeseenLoop(
            sequence=self.sequence,
            items=items if isinstance(items, Unknown) else self._as_list(items),
            item_name=self.item_name,
            index_name=INDEX_NAME,
            over=self.items.references[0].text if len(self.items.references) == 1 else "",
            max_concurrency=self.max_concurrency,
        )

    async def run(self, execution: StepExecution) -> JsonValue:
        items = self._as_list(self.items.render(execution.scope))
        await _check_same_list(execution, items)
        starts = [
            partial(execution.children.run_item, self.sequence, index, names={self.item_name: item, INDEX_NAME: index})
            for index, item in enumerate(items)
        ]
        ended = await run_branches(
            starts, flows=execution.flows, max_concurrency=self.max_concurrency, fail_fast=self.fail_fast
        )
        return [_last_output(views) for views in ended]

    @staticmethod
    def _as_list(items: JsonValue) -> list[JsonValue]:
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
