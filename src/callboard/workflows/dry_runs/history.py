"""What earlier runs of a workflow tell about the next one. Read by dry runs, through the port `History`.

`jobs/repository/history.py` answers from the journal and the usage rows; a command without a database has none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from callboard.core.json_values import JsonValue

RUNS_READ = 50  # the last ones that were completed: enough for a mean, and recent enough to be about this file


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a number: its low end (a tenth lies below), its mean, and the most that there was."""

    low: float
    mean: float
    high: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Seen | None":
        """Return what `numbers` show, or None where there are none.

        >>> Seen.of([4, 2, 6])
        Seen(low=2.0, mean=4.0, high=6.0)
        """
        if not numbers:
            return None
        ordered = sorted(map(float, numbers))
        return cls(ordered[math.floor(len(ordered) / 10)], sum(ordered) / len(ordered), ordered[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class PastStep:
    """One step in those runs.

    `instances` counts how often it came up in a run that came to it, skipped ones too, and `ran_share` is the
    part of those that were not skipped. Calls, tokens and cost are those of one instance that ran, re-asks
    included. `choices` counts the branches that were taken. `sample` is what it gave last, if that is short.
    """

    instances: Seen
    ran_share: float
    output_chars: Seen | None = None
    duration_ms: Seen | None = None
    calls: Seen | None = None
    input_tokens: Seen | None = None
    output_tokens: Seen | None = None
    cost_usd: Decimal | None = None
    choices: Mapping[str, int] = field(default_factory=dict)
    sample: JsonValue = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRuns:
    """The last completed runs of a workflow: how many, how long they took, and their steps by id.

    A step of a workflow that the step `sub` runs has the id `sub/its_id`.
    """

    runs: int
    duration_ms: Seen
    steps: Mapping[str, PastStep]


class History(Protocol):
    """Where earlier runs are read."""

    async def read(self, workflow_name: str, *, tenant_id: str) -> PastRuns | None:
        """Return the last `RUNS_READ` completed runs of a tenant's workflow, or None where there are none."""
        ...
