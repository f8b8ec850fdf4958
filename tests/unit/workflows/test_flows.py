"""`workflows.flows`: a run is idle exactly when every flow has stood aside."""

import asyncio

from callboard.workflows.flows import Flows


class Idle:
    """Counts how often it was told."""

    def __init__(self) -> None:
        self.times = 0
        self.flows = Flows(self.tell)

    def tell(self) -> None:
        self.times += 1


async def _turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class TestFlows:
    async def test_tells_when_the_only_flow_stands_aside(self) -> None:
        idle = Idle()

        with idle.flows.aside():
            await _turns()

        assert idle.times == 1

    async def test_tells_nothing_while_another_flow_goes_on(self) -> None:
        idle = Idle()
        idle.flows.begin()

        with idle.flows.aside():
            await _turns()

        assert idle.times == 0

    async def test_tells_when_the_last_of_several_has_stood_aside(self) -> None:
        idle = Idle()
        idle.flows.begin()

        with idle.flows.aside():
            await _turns()
            with idle.flows.aside():
                await _turns()

        assert idle.times == 1

    async def test_a_container_that_goes_on_in_the_same_turn_is_not_idle(self) -> None:
        idle = Idle()

        with idle.flows.aside():
            idle.flows.begin()
            idle.flows.end()
        await _turns()

        assert idle.times == 0
