"""Whose turn it is to call a service that has a rate limit (SERVICE_RATE_LIMITS). Called by `guarded.py`."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from callboard.core.limits import RateLimit, RateLimiter
from callboard.integrations.errors import ServiceRateLimitedError

SHORTEST_WAIT_SECONDS = 0.005  # a limit that says "now" may mean this very moment's rounding


@dataclass(slots=True)
class _Queue:
    """The calls of this process that wait for one limit. The lock lets the one in front ask for its turn."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Turns:
    """Rate limits by the name of what they limit: `google_places`, or `http:api.example.com` for one host."""

    def __init__(self, limiter: RateLimiter | None = None, limits: Mapping[str, RateLimit] | None = None) -> None:
        self._limiter = limiter or RateLimiter()
        self._limits = dict(limits or {})
        self._queues: dict[str, _Queue] = {}

    async def take(self, name: str, *, patience_seconds: float) -> None:
        """Wait until `name` may be called, first come, first served in this process. No limit: at once.

        Raises: ServiceRateLimitedError, when that would take longer than `patience_seconds`, with the wait.
        """
        limit = self._limits.get(name)
        if limit is None:
            return
        give_up_at = time.monotonic() + patience_seconds
        queue = self._queues.setdefault(name, _Queue())
        expected_seconds = queue.length * limit.window_seconds / limit.amount
        if expected_seconds > patience_seconds:
            raise _no_turn(name, limit, expected_seconds)
        queue.length += 1
        try:
            async with asyncio.timeout(patience_seconds), queue.lock:
                await self._wait(name, limit, give_up_at)
        except TimeoutError:
            raise _no_turn(name, limit, limit.window_seconds) from None
        finally:
            queue.length -= 1

    async def close(self) -> None:
        """Close the limiter."""
        await self._limiter.close()

    async def _wait(self, name: str, limit: RateLimit, give_up_at: float) -> None:
        while not (decision := await self._limiter.hit(f"service:{name}", limit)).allowed:
            wait = max(decision.reset_seconds, SHORTEST_WAIT_SECONDS)
            if time.monotonic() + wait > give_up_at:
                raise _no_turn(name, limit, wait)
            await asyncio.sleep(wait)


def _no_turn(name: str, limit: RateLimit, wait_seconds: float) -> ServiceRateLimitedError:
    return ServiceRateLimitedError(
        f"{name} is called {limit} at most (SERVICE_RATE_LIMITS), and the next turn is later than the step's "
        "timeout_seconds. It may be tried again then; a longer timeout or a retry helps.",
        retry_after_seconds=wait_seconds,
        details={"service": name, "rate_limit": str(limit)},
    )
