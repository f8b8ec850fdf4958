"""How many jobs of one user, workflow or tenant may run at once, over all workers, and what is left of that.

The claim (`repository/lanes.py`) takes from `Allowances` what it starts; `waits.py` what stands ahead of a submit.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Group: TypeAlias = tuple[str, ...]
"""What a limit counts together: a user, a workflow or a tenant."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Jobs that every limit treats alike: one user's of one workflow. `user_id` is "" for jobs of no user."""

    tenant_id: str
    user_id: str
    workflow_name: str


ANY_LANE = Lane("", "", "")  # of all jobs, where nothing is limited and nobody asks for more


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningLimits:
    """The most jobs that may be `processing` at once; 0 is any number.

    Users are told apart within their tenant, and jobs of no user are nobody's. A workflow's limit counts its jobs
    of all tenants: it protects what the workflow uses.
    """

    per_user: int = 0
    per_workflow: int = 0
    per_tenant: int = 0

    @property
    def are_set(self) -> bool:
        return bool(self.per_user or self.per_workflow or self.per_tenant)

    def groups_of(self, lane: Lane) -> list[tuple[Group, int]]:
        """Return what jobs of `lane` count for, each with its limit."""
        groups: list[tuple[Group, int]] = []
        if self.per_user and lane.user_id:
            groups.append((("user", lane.tenant_id, lane.user_id), self.per_user))
        if self.per_workflow:
            groups.append((("workflow", lane.workflow_name), self.per_workflow))
        if self.per_tenant:
            groups.append((("tenant", lane.tenant_id), self.per_tenant))
        return groups


NO_LIMITS = RunningLimits()


class Allowances:
    """What the limits leave, given how many jobs of each lane run.

    >>> lane = Lane("default", "ann", "hello")
    >>> allowances = Allowances(RunningLimits(per_user=3), {lane: 1})
    >>> allowances.take(lane), allowances.take(lane), allowances.take(lane)
    (True, True, False)
    >>> allowances.take(Lane("default", "", "hello"))
    True
    """

    def __init__(self, limits: RunningLimits, running: Mapping[Lane, int]) -> None:
        self._limits = limits
        self._taken: Counter[Group] = Counter()
        for lane, count in running.items():
            for group, _ in limits.groups_of(lane):
                self._taken[group] += count

    def left(self, lane: Lane) -> int | None:
        """Return how many jobs of `lane` may still start, None for any number."""
        return min((max(0, limit - self._taken[group]) for group, limit in self._limits.groups_of(lane)), default=None)

    def take(self, lane: Lane) -> bool:
        """Take one job of `lane` from what is left and return True; False when nothing is."""
        return self.take_up_to(lane, 1) == 1

    def take_up_to(self, lane: Lane, count: int) -> int:
        """Take `count` jobs of `lane`, or as many as are left, and return how many that were."""
        left = self.left(lane)
        taken = count if left is None else min(count, left)
        for group, _ in self._limits.groups_of(lane):
            self._taken[group] += taken
        return taken
