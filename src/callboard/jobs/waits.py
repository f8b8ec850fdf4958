"""How long a job will probably wait for a worker: from the queue as it is and how long recent jobs took.

Asked by `service.py` at every submit, so the numbers are kept for a while.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from callboard.core.database import DATABASE_ERRORS
from callboard.jobs.repository.jobs import WaitNumbers
from callboard.jobs.running_limits import ANY_LANE, NO_LIMITS, Allowances, Group, Lane, RunningLimits

KEEP_SECONDS = 1.0
READ_SHARE = 20  # a twentieth of the time goes into reading at most, however long the queue is
GUESSED_SECONDS = 10.0  # how long a job takes, before any has ended

log = structlog.get_logger(__name__)


class WaitEstimator:
    """Estimates waits from numbers that are at most `KEEP_SECONDS` old, or older where reading them takes long."""

    def __init__(self, read: Callable[[], Awaitable[WaitNumbers]], *, limits: RunningLimits = NO_LIMITS) -> None:
        self._read = read
        self._limits = limits
        self._numbers: WaitNumbers | None = None
        self._keep_until = 0.0

    async def estimate(self, priority: int, lane: Lane) -> int:
        """Return the seconds until a job of `lane` and `priority`, submitted now, will probably begin."""
        if self._numbers is None or time.monotonic() > self._keep_until:
            await self._look()
        if self._numbers is None:
            return 0
        return estimate_wait_seconds(self._numbers, priority, lane, limits=self._limits)

    async def _look(self) -> None:
        """Read the numbers; while the database is away the old ones stand, and the submit itself decides."""
        began_at = time.monotonic()
        self._keep_until = began_at + KEEP_SECONDS  # before the read: others go on with the old numbers meanwhile
        try:
            self._numbers = await self._read()
        except DATABASE_ERRORS as error:
            log.warning("waits.not_read", error=repr(error)[:300])
        read_seconds = time.monotonic() - began_at
        self._keep_until = began_at + max(KEEP_SECONDS, read_seconds * READ_SHARE)


def estimate_wait_seconds(
    numbers: WaitNumbers, priority: int, lane: Lane = ANY_LANE, *, limits: RunningLimits = NO_LIMITS
) -> int:
    """Return the seconds until a job of `priority` will probably begin, 0 while a slot is free for it.

    What waits behind a limit stands in nobody's way but its own group's: the longest of the waits for a slot and
    for one's own limits counts.

    >>> busy = WaitNumbers({(ANY_LANE, 0): 30, (ANY_LANE, 9): 10}, {ANY_LANE: 20}, slots=20, mean_seconds=4.0)
    >>> estimate_wait_seconds(busy, 0)  # 40 ahead, a slot is free every 0.2 s: 41 x 0.2 s
    9
    >>> estimate_wait_seconds(busy, 9)  # 10 ahead: 11 x 0.2 s
    3
    >>> ann, bob = Lane("default", "ann", "hello"), Lane("default", "bob", "hello")
    >>> limited = WaitNumbers({(ann, 0): 99}, {ann: 5}, slots=20, mean_seconds=4.0)
    >>> estimate_wait_seconds(limited, 0, ann, limits=RunningLimits(per_user=5))  # 100 x 4 s / 5
    80
    >>> estimate_wait_seconds(limited, 0, bob, limits=RunningLimits(per_user=5))
    0
    """
    ahead = {key[0]: 0 for key in numbers.ready}
    for (other, urgency), count in numbers.ready.items():
        ahead[other] += count if urgency >= priority else 0
    allowances = Allowances(limits, numbers.running)
    startable = sum(allowances.take_up_to(other, count) for other, count in ahead.items())
    seconds = numbers.mean_seconds or GUESSED_SECONDS
    waits = [_turns(startable, taken=sum(numbers.running.values()), slots=numbers.slots)]
    for group, limit in limits.groups_of(lane):
        behind = _count_in(group, ahead, limits)
        waits.append(_turns(behind, taken=_count_in(group, numbers.running, limits), slots=limit))
    return math.ceil(max(waits) * seconds)


def _turns(ahead: int, *, taken: int, slots: int) -> float:
    """Return how many jobs' time goes by before the next one behind `ahead` has one of `slots`."""
    free = max(0, slots - taken)
    return 0 if ahead < free else (ahead - free + 1) / max(1, slots)


def _count_in(group: Group, jobs: Mapping[Lane, int], limits: RunningLimits) -> int:
    return sum(count for lane, count in jobs.items() if group in dict(limits.groups_of(lane)))
