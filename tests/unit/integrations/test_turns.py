"""Turns at a service with a rate limit: who waits, how long, and who is sent away."""

import asyncio
import time

import pytest

from callboard.core.limits import RateLimit
from callboard.integrations.errors import ServiceRateLimitedError
from callboard.integrations.turns import Turns


def turns(amount: int, window_seconds: int) -> Turns:
    return Turns(limits={"maps": RateLimit(amount, window_seconds)})


class TestTake:
    async def test_waits_for_nothing_where_there_is_no_limit(self) -> None:
        everyone = turns(1, 3600)

        for _ in range(3):
            await everyone.take("weather", patience_seconds=0)

    async def test_lets_as_many_through_at_once_as_the_limit_says(self) -> None:
        everyone = turns(3, 3600)

        for _ in range(3):
            await everyone.take("maps", patience_seconds=0.1)
        with pytest.raises(ServiceRateLimitedError):
            await everyone.take("maps", patience_seconds=0.1)

    async def test_waits_for_the_next_window(self) -> None:
        everyone = turns(2, 1)
        started = time.monotonic()

        for _ in range(3):
            await everyone.take("maps", patience_seconds=5)

        # a window ends within its second, and half of the next one has the first turn of a limit of 2 to give
        assert time.monotonic() - started < 2.5

    async def test_says_how_long_the_wait_would_be(self) -> None:
        everyone = turns(1, 3600)
        await everyone.take("maps", patience_seconds=1)

        with pytest.raises(ServiceRateLimitedError) as caught:
            await everyone.take("maps", patience_seconds=1)

        assert caught.value.retry_after_seconds is not None
        assert 0 < caught.value.retry_after_seconds <= 3600
        assert "maps is called 1 per 3600 s at most (SERVICE_RATE_LIMITS)" in caught.value.message
        assert caught.value.details == {"service": "maps", "rate_limit": "1 per 3600 s"}

    async def test_sends_nobody_away_who_can_wait(self) -> None:
        everyone = turns(10, 1)

        await asyncio.gather(*(everyone.take("maps", patience_seconds=10) for _ in range(15)))

    async def test_comes_in_the_order_of_asking(self) -> None:
        everyone, served = turns(2, 1), list[int]()

        async def ask(number: int) -> None:
            await everyone.take("maps", patience_seconds=10)
            served.append(number)

        await asyncio.gather(*(ask(number) for number in range(5)))

        assert served == [0, 1, 2, 3, 4]

    async def test_sends_away_at_once_whom_the_queue_is_too_long_for(self) -> None:
        everyone = turns(1, 60)
        await everyone.take("maps", patience_seconds=1)
        waiting = [asyncio.create_task(everyone.take("maps", patience_seconds=300)) for _ in range(3)]
        await asyncio.sleep(0)  # lets them stand in the queue

        started = time.monotonic()
        with pytest.raises(ServiceRateLimitedError) as caught:
            await everyone.take("maps", patience_seconds=150)
        for task in waiting:
            task.cancel()

        assert caught.value.retry_after_seconds == 180  # 3 before it, one a minute
        assert time.monotonic() - started < 1

    async def test_gives_up_in_time_behind_one_who_waits_longer(self) -> None:
        everyone = turns(1, 3600)
        await everyone.take("maps", patience_seconds=1)
        patient = asyncio.create_task(everyone.take("maps", patience_seconds=1e6))
        await asyncio.sleep(0)

        async with asyncio.timeout(5):
            with pytest.raises(ServiceRateLimitedError):
                await everyone.take("maps", patience_seconds=0.05)
        patient.cancel()

    async def test_a_cancelled_one_leaves_the_queue(self) -> None:
        everyone = turns(1, 3600)
        await everyone.take("maps", patience_seconds=1)
        leaving = asyncio.create_task(everyone.take("maps", patience_seconds=1e6))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

        with pytest.raises(ServiceRateLimitedError) as caught:
            await everyone.take("maps", patience_seconds=1)

        assert caught.value.retry_after_seconds is not None
        assert caught.value.retry_after_seconds <= 3600  # its own wait alone
