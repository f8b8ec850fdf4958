"""What a run in memory has done so far, as a tree of its steps. Filled by the run, drawn by `run_views.py`.

A terminal's picture is drawn in a thread of its own: children are copied before they are walked, since the run
may add one meanwhile.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from callboard.core import clock
from callboard.workflows.steps.base import StepOutcome, StepRecord, UsageRecord
from callboard.workflows.steps.waiting import Wait, describe_wait, seconds_of

LLM_SERVICE = "llm"


@dataclass(slots=True)
class StepNode:
    """A step, or an item of a loop (`type` ""), with what is below it. Times are those of `RunTree.now`."""

    path: str
    type: str = ""
    started: float | None = None
    seconds: float | None = None
    outcome: StepOutcome | None = None
    attempts: int = 1
    waits_seconds: float | None = None  # before the next attempt
    waits_for: str = ""  # a person, a signal or a time, in words
    waits_until: float | None = None
    error: Mapping[str, Any] | None = None
    text_length: int = 0
    text_tail: str = ""
    usage: list[UsageRecord] = field(default_factory=list)
    children: "dict[str, StepNode]" = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the step goes by below the one that contains it."""
        return self.path.rpartition("/")[2]

    @property
    def is_running(self) -> bool:
        return self.started is not None and self.outcome is None

    @property
    def is_good(self) -> bool:
        """Whether nothing in it needs to be looked at: it has ended well, or holds only such steps."""
        if self.outcome is None and self.type:
            return False
        return self.outcome is not StepOutcome.FAILED and all(child.is_good for child in list(self.children.values()))


class RunTree:
    """The steps of a run, by their paths. It implements `RunObserver`."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.started = now()
        self.root = StepNode("")

    def step_started(self, path: str, step_type: str) -> None:
        node = self.node(path)
        node.type, node.started, node.outcome, node.seconds = step_type, self.now(), None, None

    def step_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        node = self.node(path)
        node.attempts, node.waits_seconds, node.error = attempt, delay_seconds, error
        node.text_length, node.text_tail = 0, ""

    def step_ended(self, record: StepRecord) -> None:
        node = self.node(record.path)
        node.type, node.outcome, node.error = record.step_type, record.outcome, record.error
        node.attempts, node.waits_seconds = record.attempts, None
        node.seconds = (record.completed_at - record.started_at).total_seconds()

    def text_came(self, path: str, text: str) -> None:
        node = self.node(path)
        node.text_length += len(text)
        node.text_tail = (node.text_tail + text)[-200:]

    def call_ended(self, call: str, usage: UsageRecord) -> None:
        self.node(call.rpartition("#")[0]).usage.append(usage)

    def step_waits(self, path: str, wait: Wait) -> None:
        node = self.node(path)
        seconds = seconds_of(wait, clock.now())
        node.waits_for = describe_wait(wait)
        node.waits_until = self.now() + seconds if math.isfinite(seconds) else None

    def step_goes_on(self, path: str) -> None:
        node = self.node(path)
        node.waits_for, node.waits_until = "", None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the screen still while the block lasts: somebody is asked."""
        yield

    def node(self, path: str) -> StepNode:
        """Return the node of `path`, made with all above it where it is new."""
        node = self.root
        for place in _places_of(path):
            node = node.children.setdefault(place, StepNode(place))
        return node

    def usage(self) -> list[UsageRecord]:
        """Return every call of the run."""
        return [usage for node in _all_below(self.root) for usage in node.usage]


def tokens_of(usage: list[UsageRecord]) -> int:
    """Return the tokens that models took and gave."""
    return sum(each.input_units + each.output_units for each in usage if each.service == LLM_SERVICE)


def cost_of(usage: list[UsageRecord]) -> Decimal:
    """Return what the calls cost together, in US dollars."""
    return sum((each.cost_usd for each in usage), Decimal(0))


def _places_of(path: str) -> Iterator[str]:
    """Yield the paths of all nodes on the way to `path`.

    >>> list(_places_of("each[0]/draft"))
    ['each', 'each[0]', 'each[0]/draft']
    """
    above = ""
    for part in path.split("/"):
        bare = part.partition("[")[0]
        if bare != part:
            yield above + bare
        yield above + part
        above += f"{part}/"


def _all_below(node: StepNode) -> Iterator[StepNode]:
    for child in list(node.children.values()):
        yield child
        yield from _all_below(child)
