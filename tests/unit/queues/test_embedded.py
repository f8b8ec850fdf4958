"""The embedded doorbell's own: polling as the net."""

import asyncio

from callboard.queues.embedded import EmbeddedDoorbell
from tests.contract.test_doorbells import Claimer


class TestPolling:
    async def test_calls_without_a_ring(self) -> None:
        claimer, doorbell = Claimer(), EmbeddedDoorbell(poll_seconds=0.01)

        await doorbell.start(claimer.run_next)

        await claimer.until_called(5)
        await doorbell.stop()

    async def test_goes_on_while_the_database_is_away(self) -> None:
        claimer, doorbell = Claimer(*[OSError("away")] * 3), EmbeddedDoorbell(poll_seconds=0.01)

        await doorbell.start(claimer.run_next)

        await claimer.until_called(5)
        await doorbell.stop()

    async def test_does_not_spin_while_nothing_is_there(self) -> None:
        claimer, doorbell = Claimer(), EmbeddedDoorbell(poll_seconds=0.05)

        await doorbell.start(claimer.run_next)
        await asyncio.sleep(0.12)

        assert claimer.calls <= 4
        await doorbell.stop()
