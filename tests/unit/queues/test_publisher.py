"""The publisher of tokens: whoever rings never waits, rings are counted, and a broker that is back gets them."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from callboard.queues.publisher import OutletError, TokenPublisher

SOON_SECONDS = 5.0


class ScriptedOutlet:
    """A broker's connection that is away until `is_there` is set, and keeps what was sent."""

    def __init__(self, *, is_there: bool = True) -> None:
        self.sent: list[int] = []
        self.tries = 0
        self.disconnects = 0
        self.is_there = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        if is_there:
            self.is_there.set()

    def send(self, priority: int) -> None:
        self.gate.wait()
        self.tries += 1
        if not self.is_there.is_set():
            raise OutletError("away")
        self.sent.append(priority)

    def disconnect(self) -> None:
        self.disconnects += 1


@pytest.fixture
async def outlet() -> AsyncIterator[ScriptedOutlet]:
    outlet = ScriptedOutlet()
    yield outlet
    outlet.gate.set()


class TestRing:
    async def test_sends_one_token_for_each_job(self, outlet: ScriptedOutlet) -> None:
        publisher = TokenPublisher(outlet)

        publisher.ring()
        publisher.ring(4, priority=3)
        await publisher.close()

        assert sorted(outlet.sent) == [0, 3, 3, 3, 3]

    async def test_sends_the_most_urgent_first(self, outlet: ScriptedOutlet) -> None:
        publisher = TokenPublisher(outlet)
        outlet.gate.clear()
        publisher.ring(priority=0)
        await until(lambda: publisher.waiting == 1)

        publisher.ring(2, priority=5)
        publisher.ring(priority=10)
        outlet.gate.set()
        await publisher.close()

        assert outlet.sent[1:] == [10, 5, 5] or outlet.sent == [10, 5, 5, 0]

    async def test_does_not_wait_for_a_broker_that_hangs(self, outlet: ScriptedOutlet) -> None:
        publisher = TokenPublisher(outlet, close_seconds=0.1)
        outlet.gate.clear()

        before = time.monotonic()
        for _ in range(1000):
            publisher.ring()
        seconds = time.monotonic() - before

        assert seconds < 1
        assert publisher.waiting == 1000

    async def test_drops_what_the_buffer_has_no_room_for(self) -> None:
        outlet = ScriptedOutlet(is_there=False)
        publisher = TokenPublisher(outlet, max_waiting=10)

        publisher.ring(8)
        publisher.ring(8)
        outlet.is_there.set()
        await publisher.close()

        assert len(outlet.sent) == 10

    @pytest.mark.parametrize("count", [0, -1])
    async def test_takes_no_work_for_no_ring(self, outlet: ScriptedOutlet, count: int) -> None:
        publisher = TokenPublisher(outlet)

        publisher.ring(count)
        await publisher.close()

        assert outlet.tries == 0


class TestABrokerThatIsAway:
    async def test_gets_everything_over_a_new_connection_when_it_is_back(self) -> None:
        outlet = ScriptedOutlet(is_there=False)
        publisher = TokenPublisher(outlet)
        publisher.ring(3)
        await until(lambda: outlet.disconnects >= 2)

        outlet.is_there.set()
        await until(lambda: publisher.waiting == 0)
        await publisher.close()

        assert outlet.sent == [0, 0, 0]

    async def test_is_not_asked_again_at_once(self) -> None:
        outlet = ScriptedOutlet(is_there=False)
        publisher = TokenPublisher(outlet, close_seconds=0)
        publisher.ring(100)

        await asyncio.sleep(0.5)  # tries after 0, 0.1, 0.3 s
        tries = outlet.tries
        await publisher.close()

        assert 1 <= tries <= 5


class TestClose:
    async def test_sends_what_was_rung_before(self, outlet: ScriptedOutlet) -> None:
        publisher = TokenPublisher(outlet)
        publisher.ring(50)

        await publisher.close()

        assert len(outlet.sent) == 50
        assert outlet.disconnects == 1

    async def test_does_not_wait_long_for_a_broker_that_is_away(self) -> None:
        publisher = TokenPublisher(ScriptedOutlet(is_there=False), close_seconds=0.2)
        publisher.ring(5)

        before = time.monotonic()
        await publisher.close()

        assert time.monotonic() - before < SOON_SECONDS
        assert publisher.waiting == 5

    async def test_may_come_without_a_ring(self, outlet: ScriptedOutlet) -> None:
        await TokenPublisher(outlet).close()

        assert outlet.tries == 0

    async def test_makes_later_rings_nothing(self, outlet: ScriptedOutlet) -> None:
        publisher = TokenPublisher(outlet)
        await publisher.close()

        publisher.ring()

        assert publisher.waiting == 0


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_SECONDS):
        while not is_so():  # noqa: ASYNC110 - another thread changes it
            await asyncio.sleep(0.01)
