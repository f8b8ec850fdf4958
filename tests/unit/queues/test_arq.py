"""ARQ's side: tasks are JSON under ids of their own, and its connection outlives Redis."""

import asyncio
import contextlib

import pytest
import redis.asyncio

from callboard.core.config import Settings
from callboard.queues.arq import ArqOutlet, ArqPool, NotConnectedError, from_json, moments_of, to_json
from callboard.queues.publisher import OutletError
from tests.fixtures.processes import free_port
from tests.fixtures.redis_server import private_redis

QUEUE = "tokens"


class TestArqPool:
    async def test_puts_tasks_as_json_under_ids_of_their_own(self) -> None:
        with private_redis() as server:
            pool = ArqPool()
            pool.configure(server.url, queue_name=QUEUE)
            await pool.connect()
            ids = [await pool.enqueue("run_next", 1, "two") for _ in range(2)]
            await pool.close()

            async with redis.asyncio.Redis.from_url(server.url) as client:
                names = {key.decode() for key in await client.zrange(QUEUE, 0, -1)}
                task = from_json(await client.get(f"arq:job:{ids[0]}"))

        assert len(names) == 2
        assert names == set(ids)
        assert (task["f"], task["a"]) == ("run_next", [1, "two"])

    async def test_puts_a_task_once_under_one_id(self) -> None:
        with private_redis() as server:
            pool = ArqPool()
            pool.configure(server.url, queue_name=QUEUE)
            await pool.connect()
            for _ in range(2):
                await pool.enqueue("run_next", task_id="mine")
            await pool.close()

            async with redis.asyncio.Redis.from_url(server.url) as client:
                assert await client.zcard(QUEUE) == 1

    async def test_says_when_it_is_not_connected(self) -> None:
        with pytest.raises(NotConnectedError, match="connect"):
            await ArqPool().enqueue("run_next")


class TestArqOutlet:
    async def test_says_when_redis_is_away(self) -> None:
        outlet = ArqOutlet(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))

        def send() -> None:
            with contextlib.closing(_Closing(outlet)), pytest.raises(OutletError):
                outlet.send(0)

        await asyncio.to_thread(send)


class _Closing:
    """Lets go of an outlet's connection at the end of a block."""

    def __init__(self, outlet: ArqOutlet) -> None:
        self.close = outlet.disconnect


class TestJson:
    def test_stores_an_error_as_its_words(self) -> None:
        assert from_json(to_json({"r": ValueError("no")})) == {"r": "ValueError('no')"}

    @pytest.mark.parametrize("text", [b"{", b"[1]", b"\x80\x04N."], ids=["broken", "no object", "a pickle"])
    def test_refuses_what_is_no_object(self, text: bytes) -> None:
        with pytest.raises(ValueError, match=r".+"):
            from_json(text)


class TestMomentsOf:
    @pytest.mark.parametrize(
        ("seconds", "a_day"),
        [(30, 2880), (60, 1440), (300, 288), (3600, 24), (21_600, 4), (86_400, 1)],
        ids=["30 s", "a minute", "5 minutes", "an hour", "6 hours", "a day"],
    )
    def test_come_as_often_as_asked(self, seconds: float, a_day: int) -> None:
        moments = moments_of(seconds)

        seconds_of_minute, minutes, hours = (
            moments[part] if isinstance(moments.get(part), set) else {0} if part in moments else set(range(whole))
            for part, whole in (("second", 60), ("minute", 60), ("hour", 24))
        )
        assert len(seconds_of_minute) * len(minutes) * len(hours) == a_day
