"""Rate limits in a real Redis: what processes share, and what becomes of them while Redis is away."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from callboard.core import limits
from callboard.core.limits import RateLimit, RateLimiter
from tests.fixtures.redis_server import PrivateRedis, find_redis_url, private_redis

AN_HOUR = RateLimit(2, 3600)


@pytest.fixture
def key() -> str:
    return f"test:{uuid4()}"


@pytest.fixture
async def two_processes() -> AsyncIterator[tuple[RateLimiter, RateLimiter]]:
    url = find_redis_url()
    one, other = RateLimiter(url), RateLimiter(url)
    yield one, other
    await one.close()
    await other.close()


@pytest.fixture
def redis() -> Iterator[PrivateRedis]:
    with private_redis() as server:
        yield server


class TestSharedLimit:
    async def test_is_counted_for_all_of_them(self, two_processes: tuple[RateLimiter, RateLimiter], key: str) -> None:
        one, other = two_processes

        decisions = [await limiter.hit(key, AN_HOUR) for limiter in (one, other, one)]

        assert [(decision.allowed, decision.remaining) for decision in decisions] == [(True, 1), (True, 0), (False, 0)]
        assert 0 < decisions[2].reset_seconds <= 3600

    async def test_ends_by_redis_time(self, two_processes: tuple[RateLimiter, RateLimiter], key: str) -> None:
        one, other = two_processes
        short = RateLimit(1, 1)
        await one.hit(key, short)

        refused = await other.hit(key, short)

        assert not refused.allowed
        assert 0 < refused.reset_seconds <= 1

    async def test_leaves_no_key_without_an_end(self, two_processes: tuple[RateLimiter, RateLimiter], key: str) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - only this test looks into the server

        await two_processes[0].hit(key, AN_HOUR)

        async with Redis.from_url(find_redis_url()) as client:
            kept = [name async for name in client.scan_iter(f"callboard:*{key}*")]
            assert kept
            assert all([0 < await client.ttl(name) <= 7200 for name in kept])  # 2 x 3600 s


class TestRedisAway:
    async def test_counts_alone_from_the_start_and_warns_once(self, key: str) -> None:
        limiter = RateLimiter("redis://:s3cret@127.0.0.1:9/0")

        with capture_logs() as logs:
            decisions = [await limiter.hit(key, AN_HOUR) for _ in range(3)]
        await limiter.close()

        assert [decision.allowed for decision in decisions] == [True, True, False]
        [warning] = logs
        assert (warning["event"], warning["log_level"]) == ("rate_limits.redis_away", "warning")
        assert "s3cret" not in str(warning)

    async def test_counts_alone_while_it_is_away_and_together_when_it_is_back(
        self, redis: PrivateRedis, key: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "REDIS_PAUSE_SECONDS", 0.0)
        limiter = RateLimiter(redis.url)
        await limiter.hit(key, AN_HOUR)

        with capture_logs() as logs:
            redis.stop()
            while_away = [await limiter.hit(key, AN_HOUR) for _ in range(2)]
            redis.start()
            after = await limiter.hit(key, AN_HOUR)
        await limiter.close()

        assert all(decision.allowed for decision in while_away)
        assert after.remaining == 1  # the new Redis knows of this call alone: 2 - 1
        assert [entry["event"] for entry in logs] == ["rate_limits.redis_away", "rate_limits.redis_back"]

    async def test_leaves_a_redis_that_is_away_alone_for_a_while(self, redis: PrivateRedis, key: str) -> None:
        limiter = RateLimiter(redis.url)
        redis.stop()
        await limiter.hit(key, AN_HOUR)

        redis.start()
        decision = await limiter.hit(key, AN_HOUR)
        await limiter.close()

        assert decision.remaining == 0  # still counted here, with the call before: 2 - 2
