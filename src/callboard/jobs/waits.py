"""How long a job will probably wait for a worker: from the queue as it is and how long recent jobs took.

Asked by `service.py` at every submit, so the numbers are read at most once a second.
"""

import math
import time
from collections.abc import Awaitable, Callable

import structlog

from callboard.core.database import DATABASE_ERRORS
from callboard.jobs.repository.jobs import WaitNumbers

KEEP_SECONDS = 1.0
GUESSED_SECONDS = 10.0  # how long a job takes, before any has ended

log = structlog.get_logger(__name__)


class WaitEstimator:
    """Estimates waits from numbers that are at most `KEEP_SECONDS` old."""

    def __init__(self, read: Callable[[], Awaitable[WaitNumbers]]) -> None:
        self._read = read
        self._numbers: WaitNumbers | None = None
        self._read_at = 0.0

    async def estimate(self, priority: int) -> int:
        """Return the seconds until a job of `priority`, submitted now, will probably begin."""
        if self._numbers is None or time.monotonic() - self._read_at > KEEP_SECONDS:
            self._read_at = time.monotonic()  # before the read: others go on with the old numbers meanwhile
            await self._look()
        return 0 if self._numbers is None else estimate_wait_seconds(self._numbers, priority)

    async def _look(self) -> None:
        """Read the numbers; while the database is away the old ones stand, and the submit itself decides."""
        try:
            self._numbers = await self._read()
        except DATABASE_ERRORS as error:
            log.warning("waits.not_read", error=repr(error)[:300])


def estimate_wait_seconds(numbers: WaitNumbers, priority: int) -> int:
    """Return the seconds until a job of `priority` will probably begin, 0 while a slot is free for it.

    >>> busy = WaitNumbers({0: 30, 9: 10}, running=20, slots=20, mean_seconds=4.0)
    >>> estimate_wait_seconds(busy, 0)  # 40 ahead, a slot is free every 0.2 s: 41 x 0.2 s
    9
    >>> estimate_wait_seconds(busy, 9)  # 10 ahead: 11 x 0.2 s
    3
    >>> estimate_wait_seconds(WaitNumbers({}, running=3, slots=20, mean_seconds=4.0), 0)
    0
    """
    ahead = sum(count for other, count in numbers.ready_by_priority.items() if other >= priority)
    free = max(0, numbers.slots - numbers.running)
    if ahead < free:
        return 0
    seconds_per_job = numbers.mean_seconds or GUESSED_SECONDS
    return math.ceil((ahead - free + 1) * seconds_per_job / max(1, numbers.slots))
