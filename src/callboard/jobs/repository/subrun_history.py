"""What earlier runs of a workflow that runs others tell: its steps by names that are theirs alone.

Ids are unique in one file only. Inside the step `sub` a step is called `sub/its_id`, which hangs on the paths of a
run and is found out here, not by the database: so only so many rows are read. Called by `history.py`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

import sqlalchemy as sa

from callboard.core.database import ReadSession
from callboard.jobs.models import JobStep

SUBRUN_TYPE = "workflow"  # of the steps that run another workflow
MAX_ROWS = 20_000  # of all runs together: some 0.2 s

Subruns: TypeAlias = Mapping[UUID, Mapping[str, str]]  # by run: the ids of its `workflow` steps by their paths


@dataclass(slots=True)
class Sums:
    """What the instances of one step in one run come to, with the names of a grouped row."""

    instances: int = 0
    ran: int = 0
    all_chars: list[int] = field(default_factory=list)
    all_ms: list[int] = field(default_factory=list)

    def add(self, *, has_run: bool, chars: int | None, duration_ms: int | None) -> None:
        """Add one instance."""
        self.instances += 1
        self.ran += has_run
        if has_run and chars is not None:
            self.all_chars.append(chars)
        if has_run and duration_ms is not None:
            self.all_ms.append(duration_ms)

    @property
    def chars(self) -> float | None:
        return sum(self.all_chars) / len(self.all_chars) if self.all_chars else None

    @property
    def most_chars(self) -> int:
        return max(self.all_chars, default=0)

    @property
    def ms(self) -> float:
        return sum(self.all_ms) / len(self.all_ms) if self.all_ms else 0.0

    @property
    def most_ms(self) -> int:
        return max(self.all_ms, default=0)


@dataclass(slots=True)
class UsageSums:
    """What the calls of one step to one service in one run come to, with the names of a grouped row."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal = Decimal(0)

    def add(self, input_tokens: int | None, output_tokens: int | None, cost_usd: Decimal | None) -> None:
        """Add one call."""
        self.calls += 1
        self.input_tokens += input_tokens or 0
        self.output_tokens += output_tokens or 0
        self.cost_usd += cost_usd or Decimal(0)


async def find_subruns(session: ReadSession, ids: Sequence[UUID]) -> Subruns:
    """Return the steps of these runs that ran another workflow; runs without any are left out."""
    query = sa.select(JobStep.job_id, JobStep.path, JobStep.step_id).where(
        JobStep.job_id.in_(ids), JobStep.step_type == SUBRUN_TYPE, ~JobStep.path.contains("#")
    )
    found: dict[UUID, dict[str, str]] = defaultdict(dict)
    for row in await session.execute(query):
        found[row.job_id][row.path] = row.step_id
    return found


async def take_within_limit(session: ReadSession, ids: Sequence[UUID], *, max_rows: int) -> list[UUID]:
    """Return the first of `ids` whose rows together are no more than `max_rows`."""
    query = (
        sa.select(JobStep.job_id, sa.func.count().label("rows")).where(JobStep.job_id.in_(ids)).group_by(JobStep.job_id)
    )
    counts = {row.job_id: row.rows for row in await session.execute(query)}
    taken, total = [], 0
    for job_id in ids:
        total += counts.get(job_id, 0)
        if total > max_rows:
            break
        taken.append(job_id)
    return taken


def name_of(path: str, step_id: str, subruns: Mapping[str, str]) -> str:
    """Return the name that the step `step_id` at `path` has in the whole run.

    >>> name_of("each[0]/sub/draft", "draft", {"each[0]/sub": "sub"})
    'sub/draft'
    >>> name_of("each[0]/draft", "draft", {})
    'draft'
    """
    return "/".join([*_ids_around(path, subruns), step_id])


def _ids_around(path: str, subruns: Mapping[str, str]) -> Iterator[str]:
    end = path.find("/")
    while end >= 0:
        around = subruns.get(path[:end])
        if around is not None:
            yield around
        end = path.find("/", end + 1)
