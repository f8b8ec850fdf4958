"""Rate limits: how many calls may be made in a window, counted in this process or for all of them in Redis.

`integrations/guarded.py` makes calls to outside services wait for their turn with it, and the API counts the
requests of a caller. Built on limits, as a sliding window: no two windows' worth of calls at a window's edge,
and one number per key, not one entry per call. Added to it here: when Redis is away this process counts alone.
"""

import time
from dataclasses import dataclass
from typing import Any

import structlog
from limits import RateLimitItemPerSecond, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

REDIS_SECONDS = 0.5  # a Redis that counts calls answers within one millisecond, or is of no use
REDIS_CONNECTIONS = 50  # per process; more calls at once wait for one
REDIS_PAUSE_SECONDS = 10.0  # before a Redis that was away is asked again
KEY_PREFIX = "callboard"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `amount` calls in any `window_seconds`."""

    amount: int
    window_seconds: int

    def __str__(self) -> str:
        return f"{self.amount} per {self.window_seconds} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDecision:
    """What became of one call. `remaining` more may follow now; in `reset_seconds` it is more again."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: float


def parse_rate_limit(text: str) -> RateLimit:
    """Return the limit that `text` says: calls per second, minute, hour or day, or per a number of them.

    Raises: ValueError, saying what is allowed.

    >>> parse_rate_limit("600/minute")
    RateLimit(amount=600, window_seconds=60)
    >>> parse_rate_limit("100 per 5 minutes")
    RateLimit(amount=100, window_seconds=300)
    """
    try:
        items = parse_many(text)
    except ValueError:
        items = []
    if len(items) != 1 or items[0].amount < 1:
        raise ValueError(f'a rate limit is such as "10/second", "600/minute" or "100 per 5 minutes", not {text!r}')
    return RateLimit(items[0].amount, items[0].get_expiry())


class RateLimiter:
    """Counts calls by key. With the URL of a Redis, all processes that are given it count together.

    A Redis that is away fails nobody: this process counts alone until it is back, and says so once.
    """

    def __init__(self, redis_url: str | None = None) -> None:
        self._alone = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._redis = None if redis_url is None else _Redis(redis_url)
        self._is_away = False
        self._ask_again_at = 0.0

    async def hit(self, key: str, limit: RateLimit) -> RateDecision:
        """Count one call of `key` if `limit` allows it, and return whether it does.

        A call that is not allowed is not counted. `key` says what is limited and whom, such as `key:<id>`.
        """
        if self._redis is not None and time.monotonic() >= self._ask_again_at:
            if self._is_away:
                self._pause()  # one call asks whether it is back; the others do not wait for that
            try:
                decision = await _hit(self._redis.counter, key, limit)
            except StorageError as error:
                self._note_away(error)
            else:
                self._note_back()
                return decision
        return await _hit(self._alone, key, limit)

    async def close(self) -> None:
        """Close the connections to Redis. A closed limiter is not asked again."""
        if self._redis is not None:
            await self._redis.close()

    def _pause(self) -> None:
        self._ask_again_at = time.monotonic() + REDIS_PAUSE_SECONDS

    def _note_away(self, error: StorageError) -> None:
        self._pause()
        if not self._is_away:
            _log.warning("rate_limits.redis_away", reason=str(error.__cause__), counting="in this process alone")
        self._is_away = True

    def _note_back(self) -> None:
        if self._is_away:
            _log.info("rate_limits.redis_back")
        self._is_away = False


class _Redis:
    """The counter in Redis and its connections."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import BlockingConnectionPool  # noqa: PLC0415 - 80 ms that only users of Redis pay

        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=REDIS_CONNECTIONS,
            timeout=REDIS_SECONDS,
            socket_timeout=REDIS_SECONDS,
            socket_connect_timeout=REDIS_SECONDS,
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        storage = RedisStorage(
            f"async+{url}", wrap_exceptions=True, implementation="redispy", key_prefix=KEY_PREFIX, **options
        )
        self.counter = SlidingWindowCounterRateLimiter(storage)

    async def close(self) -> None:
        await self._pool.aclose()


async def _hit(counter: SlidingWindowCounterRateLimiter, key: str, limit: RateLimit) -> RateDecision:
    item = RateLimitItemPerSecond(limit.amount, limit.window_seconds)
    allowed = await counter.hit(item, key)
    reset_at, remaining = await counter.get_window_stats(item, key)
    return RateDecision(
        allowed=allowed,
        limit=limit.amount,
        remaining=remaining,
        reset_seconds=max(0.0, reset_at - time.time()),
    )
