"""What a doorbell inside a process does: it calls at a ring, now and then without one, and no more once stopped."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from callboard.queues.embedded import EmbeddedDoorbell

SOON_SECONDS = 5.0
NEVER_SECONDS = 3600.0


class Claimer:
    """A `run_next` that finds `work` jobs, one a call; `failures` are raised first."""

    def __init__(self, *failures: Exception, work: int = 0) -> None:
        self.calls = 0
        self.running = 0
        self.most_running = 0
        self.work = work
        self.failures = list(failures)
        self.gate = asyncio.Event()
        self.gate.set()
        self._called = asyncio.Event()

    async def run_next(self) -> int:
        self.calls += 1
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self._called.set()
        await self.gate.wait()
        await asyncio.sleep(0)
        self.running -= 1
        if self.failures:
            raise self.failures.pop(0)
        if self.work:
            self.work -= 1
            return 1
        return 0

    async def until_called(self, times: int) -> None:
        async with asyncio.timeout(SOON_SECONDS):
            while self.calls < times:
                self._called.clear()
                await self._called.wait()

    async def rest(self) -> None:
        """Let everything that is about to happen happen."""
        await asyncio.sleep(0.05)


@pytest.fixture(params=["embedded"])
async def doorbell(request: pytest.FixtureRequest) -> AsyncIterator[EmbeddedDoorbell]:
    """A doorbell that never polls in the time of a test."""
    doorbell = EmbeddedDoorbell(poll_seconds=NEVER_SECONDS)
    yield doorbell
    await doorbell.stop()


class TestDoorbell:
    async def test_looks_once_at_its_start(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer()

        await doorbell.start(claimer.run_next)

        await claimer.until_called(1)

    async def test_calls_at_once_when_it_rings(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer()
        await doorbell.start(claimer.run_next)
        await claimer.until_called(1)
        await claimer.rest()

        doorbell.ring()

        await claimer.until_called(2)

    async def test_hears_a_ring_that_comes_while_it_looks(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer()
        claimer.gate.clear()
        await doorbell.start(claimer.run_next)
        await claimer.until_called(1)

        doorbell.ring()
        claimer.gate.set()

        await claimer.until_called(2)

    async def test_makes_few_calls_of_many_rings(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer()
        await doorbell.start(claimer.run_next)
        await claimer.until_called(1)

        for _ in range(100):
            doorbell.ring()
        await claimer.rest()

        assert claimer.calls <= 3

    async def test_goes_on_until_nothing_is_left(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer(work=5)

        await doorbell.start(claimer.run_next)

        await claimer.until_called(6)
        assert claimer.work == 0

    async def test_calls_one_at_a_time(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer(work=3)
        await doorbell.start(claimer.run_next)

        for _ in range(5):
            doorbell.ring()
            await asyncio.sleep(0)
        await claimer.rest()

        assert claimer.most_running == 1

    async def test_goes_on_when_the_database_was_away(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer(ConnectionRefusedError("away"))
        await doorbell.start(claimer.run_next)
        await claimer.until_called(1)
        await claimer.rest()

        doorbell.ring()

        await claimer.until_called(2)

    async def test_may_be_rung_before_its_start(self, doorbell: EmbeddedDoorbell) -> None:
        doorbell.ring()
        claimer = Claimer()

        await doorbell.start(claimer.run_next)

        await claimer.until_called(1)


class TestStop:
    async def test_waits_for_the_claim_under_way(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer()
        claimer.gate.clear()
        await doorbell.start(claimer.run_next)
        await claimer.until_called(1)

        stopping = asyncio.create_task(doorbell.stop())
        await claimer.rest()
        assert not stopping.done()
        claimer.gate.set()

        await asyncio.wait_for(stopping, SOON_SECONDS)
        assert claimer.running == 0

    async def test_calls_no_more_even_when_there_is_work(self, doorbell: EmbeddedDoorbell) -> None:
        claimer = Claimer()
        await doorbell.start(claimer.run_next)
        await claimer.until_called(1)
        claimer.gate.clear()
        doorbell.ring()
        await claimer.until_called(2)
        stopping = asyncio.create_task(doorbell.stop())
        claimer.work = 10

        claimer.gate.set()
        await asyncio.wait_for(stopping, SOON_SECONDS)
        doorbell.ring()
        await claimer.rest()

        assert claimer.calls == 2

    async def test_may_come_twice_and_before_the_start(self, doorbell: EmbeddedDoorbell) -> None:
        await doorbell.stop()
        await doorbell.stop()
