"""What a dry run carries from step to step, and what it finds. Shared by `walk.py` and what it goes
through: `branching.py`, `looping.py`, `subruns.py`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from callboard.core.json_values import JsonValue
from callboard.workflows.dry_runs.estimates import Notes
from callboard.workflows.dry_runs.history import PastStep
from callboard.workflows.dry_runs.plans import Certainty, Load, PlanBranch, PlannedCall, PlannedLoop, PlanStep, add_up
from callboard.workflows.references import Scope, StepView
from callboard.workflows.steps.base import CompiledStep
from callboard.workflows.unknown_values import UnknownBook


@dataclass(frozen=True, slots=True)
class Frame:
    """What a sequence of steps sees, how sure it is to run, and how often it may be tried. As the engine's.

    `is_shown` is False for items of a loop whose prompts nobody will see.
    """

    scope: Scope
    views: dict[str, StepView]
    certainty: Certainty = Certainty.CERTAIN
    attempts: int = 1
    is_shown: bool = True

    def copy(self, /, **names: JsonValue) -> "Frame":
        """Return a frame whose steps nobody else sees, with `names` beside."""
        views = dict(self.views)
        scope = replace(self.scope, steps=views, locals={**self.scope.locals, **names})
        return replace(self, scope=scope, views=views)


@dataclass(frozen=True, slots=True)
class Walked:
    """What was found of a sequence: its plan and what its last step gave."""

    plan: tuple[PlanStep, ...]
    output: JsonValue

    @property
    def load(self) -> Load:
        return add_up(step.load for step in self.plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found of one step that is reached once."""

    load: Load
    output: JsonValue
    calls: tuple[PlannedCall, ...] = ()
    loop: PlannedLoop | None = None
    branches: tuple[PlanBranch, ...] = ()
    may_fail: bool = True
    waits: str | None = None
    may_time_out: bool = False


class Walker(Protocol):
    """What containers ask of the walk that they are a part of."""

    @property
    def past(self) -> Mapping[str, PastStep]: ...

    @property
    def book(self) -> UnknownBook: ...

    @property
    def notes(self) -> Notes: ...

    async def sequence(self, steps: Sequence[CompiledStep], frame: Frame) -> Walked:
        """Go through steps that run one after the other."""
        ...

    def never(self, step: CompiledStep, frame: Frame) -> PlanStep:
        """Return the plan of a step that does not run, with all that is inside it."""
        ...

    def items_to_walk(self, count: int) -> int:
        """Return how many of so many items are gone through; the others are taken to be like these."""
        ...

    def inside(self, step: CompiledStep) -> AbstractContextManager[None]:
        """Go on, until the end of the context, in the workflow that `step` runs."""
        ...

    def within_limit(self, load: Load, timeout_seconds: float) -> Load:
        """Return the load with no more seconds than a run may take."""
        ...
