"""What a dry run tells: the plan of a run, and what it would take. Made by `walk.py`; shown by faces."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Literal, TypeAlias

from callboard.core.errors import Finding
from callboard.workflows.findings import WorkflowFinding

Basis: TypeAlias = Literal["history", "prompt"]
ZERO, ONE = Decimal(0), Decimal(1)


class Certainty(StrEnum):
    """Whether a step runs, by what is known of the input."""

    CERTAIN = "certain"
    POSSIBLE = "possible"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Span:
    """A number that is not known yet: hardly below `low`, about `likely`, not above `high`."""

    low: Decimal
    likely: Decimal
    high: Decimal

    @classmethod
    def exactly(cls, number: int | Decimal) -> "Span":
        return cls.of(number, number, number)

    @classmethod
    def of(cls, low: float | Decimal, likely: float | Decimal, high: float | Decimal) -> "Span":
        """Return the span of three numbers, put in order where they are not."""
        lowest, middle, highest = (Decimal(str(number)) for number in (low, likely, high))
        return cls(min(lowest, middle, highest), middle, max(lowest, middle, highest))

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, other: "Span") -> "Span":
        return Span(self.low * other.low, self.likely * other.likely, self.high * other.high)


NOTHING = Span(ZERO, ZERO, ZERO)
ONCE = Span(ONE, ONE, ONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What something takes. `cost_usd` is None where a price is not known."""

    input_tokens: Span = NOTHING
    output_tokens: Span = NOTHING
    cost_usd: Span | None = NOTHING
    seconds: Span = NOTHING

    def __add__(self, other: "Load") -> "Load":
        return Load(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd,
            seconds=self.seconds + other.seconds,
        )

    def times(self, count: Span) -> "Load":
        """Return what so many of these take, one after the other."""
        return Load(
            input_tokens=self.input_tokens * count,
            output_tokens=self.output_tokens * count,
            cost_usd=None if self.cost_usd is None else self.cost_usd * count,
            seconds=self.seconds * count,
        )


def add_up(loads: Iterable[Load]) -> Load:
    """Return what all of these take, one after the other."""
    return sum(loads, Load())


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMessage:
    """A message to a model, with marks where something is not known yet; `tokens` is what it likely comes to."""

    role: str
    text: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """An outside call as it would be made: of a model (`messages`) or of an outside service (`method`).

    `load` is that of one call, re-asks and retries left out. `fallbacks` = (provider, model).
    """

    service: str
    provider: str
    model: str | None = None
    method: str | None = None
    fallbacks: tuple[tuple[str, str], ...] = ()
    max_tokens: int | None = None
    messages: tuple[PlannedMessage, ...] = ()
    load: Load


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLoop:
    """A loop: over what, and how many items. `is_count_known` is False where that was guessed or seen before."""

    over: str
    item_name: str
    count: Span
    is_count_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBranch:
    """Steps inside a step. `share` is how likely it is taken, of a choice; `name` is empty for a loop.

    Of a step that runs another workflow, `name` is that of the workflow.
    """

    name: str
    condition: str | None
    certainty: Certainty
    share: Decimal
    steps: "tuple[PlanStep, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One step of the plan. `times` is how often it runs in the whole run, and `load` what that takes together.

    `when` is its condition. `problem` is why it would fail. `calls` are those of its first instances.
    `waits` says what it waits for, which takes nothing of `load`.
    """

    id: str
    type: str
    display_name: str | None
    certainty: Certainty
    when: str | None
    times: Span
    load: Load
    basis: Basis
    calls: tuple[PlannedCall, ...] = ()
    loop: PlannedLoop | None = None
    branches: tuple[PlanBranch, ...] = ()
    problem: str | None = None
    waits: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run would do. `assumptions` say in words what was guessed; `runs_seen` is how many earlier runs told."""

    workflow_name: str
    workflow_version: str
    input_errors: tuple[Finding, ...]
    warnings: tuple[WorkflowFinding, ...]
    assumptions: tuple[str, ...]
    plan: Sequence[PlanStep]
    load: Load
    basis: Basis
    runs_seen: int
