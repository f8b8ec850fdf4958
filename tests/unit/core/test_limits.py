"""Rate limits as one process counts them, and how they are written."""

import asyncio
import time

import pytest

from callboard.core.limits import RateLimit, RateLimiter, parse_rate_limit

TWO_A_SECOND = RateLimit(2, 1)


class TestParseRateLimit:
    @pytest.mark.parametrize(
        ("text", "limit"),
        [
            ("10/second", RateLimit(10, 1)),
            ("600/minute", RateLimit(600, 60)),
            ("5 per hour", RateLimit(5, 3600)),
            ("1/day", RateLimit(1, 86400)),
            ("100 per 5 minutes", RateLimit(100, 300)),  # 5 x 60 s
            (" 3 / 2 Seconds ", RateLimit(3, 2)),
        ],
    )
    def test_reads_amount_and_window(self, text: str, limit: RateLimit) -> None:
        assert parse_rate_limit(text) == limit

    @pytest.mark.parametrize(
        "text", ["", "10", "ten/second", "10/fortnight", "0/second", "-1/second", "1.5/second", "1/second; 5/minute"]
    )
    def test_refuses_what_it_cannot_keep(self, text: str) -> None:
        with pytest.raises(ValueError, match="a rate limit is such as"):
            parse_rate_limit(text)

    def test_is_shown_as_it_is_understood(self) -> None:
        assert str(parse_rate_limit("100 per 5 minutes")) == "100 per 300 s"


class TestHit:
    async def test_allows_as_many_as_the_limit_and_says_what_is_left(self) -> None:
        limiter = RateLimiter()

        decisions = [await limiter.hit("a", RateLimit(2, 3600)) for _ in range(3)]

        assert [(decision.allowed, decision.remaining) for decision in decisions] == [(True, 1), (True, 0), (False, 0)]
        assert {decision.limit for decision in decisions} == {2}

    async def test_tells_when_there_is_more(self) -> None:
        limiter = RateLimiter()

        decisions = [await limiter.hit("a", RateLimit(1, 3600)) for _ in range(2)]

        assert all(0 < decision.reset_seconds <= 3600 for decision in decisions)

    async def test_keys_do_not_know_each_other(self) -> None:
        limiter = RateLimiter()
        await limiter.hit("a", RateLimit(1, 3600))

        assert (await limiter.hit("b", RateLimit(1, 3600))).allowed

    async def test_allows_again_when_it_said_so(self) -> None:
        limiter = RateLimiter()
        started = time.monotonic()

        waits = 0
        for _ in range(3):
            while not (decision := await limiter.hit("a", TWO_A_SECOND)).allowed:
                waits += 1
                await asyncio.sleep(decision.reset_seconds)  # the wait that is promised, no synchronisation

        # the third fits once the window of the first two has slid far enough: 1.5 s at the latest, 2 windows at worst
        assert waits >= 1
        assert time.monotonic() - started < 2.5

    async def test_never_lets_twice_the_limit_through_at_a_windows_edge(self) -> None:
        limiter = RateLimiter()
        limit = RateLimit(20, 1)
        allowed_at: list[float] = []

        give_up_at = time.monotonic() + 2.2
        while time.monotonic() < give_up_at:
            if (await limiter.hit("a", limit)).allowed:
                allowed_at.append(time.monotonic())
            await asyncio.sleep(0.005)

        in_any_half_second = max(sum(at <= other < at + 0.5 for other in allowed_at) for at in allowed_at)
        assert in_any_half_second <= 31  # 20 of a fresh window + half of the next one's 20, counted by weight
