"""Kept answers: how long, for whom, and that equal calls are made once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callboard.core.cache import AnswerCache, KeptAnswer, cache_key

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
KEY = cache_key("places", {"q": "police"})


class Clock:
    """The time, as the test sets it."""

    def __init__(self) -> None:
        self.moment = START

    def __call__(self) -> datetime:
        return self.moment

    def goes_on(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class DictStore:
    """The level below, in a dictionary."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], KeptAnswer] = {}
        self.looked = 0

    async def find(self, tenant_id: str, key: str) -> KeptAnswer | None:
        self.looked += 1
        return self.answers.get((tenant_id, key))

    def keep_soon(self, answer: KeptAnswer) -> None:
        self.answers[answer.tenant_id, answer.key] = answer

    async def close(self) -> None:
        """There is nothing to wait for."""


class Service:
    """Something outside that is asked through a cache. It counts the calls; `failures` of them fail."""

    def __init__(self, cache: AnswerCache, *, failures: int = 0) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._begun = asyncio.Semaphore(0)
        self._cache = cache
        self._failures = failures

    async def ask(self, *, tenant: str = "a", key: str = KEY, ttl: int = 60, wait: float = 60) -> Any:
        async with self._cache.turn(tenant, key, ttl_seconds=ttl, wait_seconds=wait) as kept:
            if kept is not None:
                return kept
            self.calls += 1
            number = self.calls
            self._begun.release()
            await self.gate.wait()
            if number <= self._failures:
                raise ConnectionError
            answer = {"call": number}
            self._cache.keep(tenant, key, answer, ttl_seconds=ttl)
            return answer

    async def has_begun(self, calls: int) -> None:
        """Return when so many more calls have begun."""
        for _ in range(calls):
            await self._begun.acquire()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> DictStore:
    return DictStore()


class TestKeep:
    @pytest.mark.parametrize(("seconds", "calls"), [(59.999, 1), (60, 2)], ids=["just before", "on the second"])
    async def test_lasts_to_the_second(self, clock: Clock, store: DictStore, seconds: float, calls: int) -> None:
        service = Service(AnswerCache(store, now=clock))
        await service.ask(ttl=60)

        clock.goes_on(seconds)
        await service.ask(ttl=60)

        assert service.calls == calls

    async def test_who_wants_a_younger_answer_gets_one(self, clock: Clock, store: DictStore) -> None:
        service = Service(AnswerCache(store, now=clock))
        await service.ask(ttl=3600)
        clock.goes_on(10)

        assert await service.ask(ttl=11) == {"call": 1}
        assert await service.ask(ttl=10) == {"call": 2}

    async def test_is_the_tenants_own(self, store: DictStore) -> None:
        service = Service(AnswerCache(store))

        answers = [await service.ask(tenant=tenant) for tenant in ("a", "b", "a")]

        assert [answer["call"] for answer in answers] == [1, 2, 1]

    async def test_serves_another_process_and_the_next_start(self, store: DictStore) -> None:
        await Service(AnswerCache(store)).ask()
        another = Service(AnswerCache(store))

        assert [await another.ask(), await another.ask()] == [{"call": 1}, {"call": 1}]
        assert (another.calls, store.looked) == (0, 2)  # one look of each process: then it is in memory

    async def test_cannot_be_changed_from_outside(self) -> None:
        service = Service(AnswerCache())
        first = await service.ask()

        first["call"] = "changed"

        assert await service.ask() == {"call": 1}

    async def test_forgets_what_was_not_used_for_longest_when_memory_is_full(self) -> None:
        service = Service(AnswerCache(max_memory_bytes=1100))  # room for two answers
        for key in ("a", "b", "a", "c", "a", "b"):
            await service.ask(key=key)

        assert service.calls == 4  # a, b, c, and b once more

    async def test_an_answer_larger_than_the_memory_is_below_it_alone(self, store: DictStore) -> None:
        cache = AnswerCache(store, max_memory_bytes=1000)

        cache.keep("a", KEY, "x" * 1000, ttl_seconds=60)

        async with cache.turn("a", KEY, ttl_seconds=60, wait_seconds=1) as kept:
            assert kept == "x" * 1000
        assert store.looked == 1

    async def test_leaves_out_what_no_database_stores(self, store: DictStore) -> None:
        AnswerCache(store).keep("a", KEY, "\x00", ttl_seconds=60)

        assert store.answers == {}

    async def test_leaves_out_what_no_step_may_give(self, store: DictStore) -> None:
        cache = AnswerCache(store, max_answer_bytes=10)

        cache.keep("a", "short", "x" * 8, ttl_seconds=60)
        cache.keep("a", "long", "x" * 9, ttl_seconds=60)

        assert list(store.answers) == [("a", "short")]


class TestTurn:
    async def test_equal_calls_at_once_are_one(self) -> None:
        service = Service(AnswerCache())

        answers = await asyncio.gather(*(service.ask() for _ in range(50)))

        assert answers == [{"call": 1}] * 50
        assert service.calls == 1

    async def test_different_calls_do_not_wait_for_each_other(self) -> None:
        service = Service(AnswerCache())
        service.gate.clear()

        asking = [asyncio.create_task(service.ask(key=key)) for key in ("a", "b")]
        await service.has_begun(2)
        service.gate.set()

        assert await asyncio.gather(*asking) == [{"call": 1}, {"call": 2}]

    async def test_when_a_call_fails_the_next_one_tries(self) -> None:
        service = Service(AnswerCache(), failures=1)

        answers = await asyncio.gather(*(service.ask() for _ in range(3)), return_exceptions=True)

        assert isinstance(answers[0], ConnectionError)
        assert answers[1:] == [{"call": 2}, {"call": 2}]

    async def test_when_a_caller_is_cancelled_the_next_one_tries(self) -> None:
        service = Service(AnswerCache())
        service.gate.clear()
        first, second = asyncio.create_task(service.ask()), asyncio.create_task(service.ask())
        await service.has_begun(1)

        first.cancel()
        service.gate.set()

        assert await second == {"call": 2}

    async def test_nobody_waits_for_longer_than_they_want(self) -> None:
        service = Service(AnswerCache())
        service.gate.clear()
        first = asyncio.create_task(service.ask())
        second = asyncio.create_task(service.ask(wait=0.01))

        await service.has_begun(2)
        service.gate.set()

        assert [await first, await second] == [{"call": 1}, {"call": 2}]


class TestCacheKey:
    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (("a", {"x": 1}), ("a", {"x": 2})),
            (("a", {"x": None}), ("a", {})),
            (("a", {"x": "1"}), ("a", {"x": 1})),
            (("a", {"x": True}), ("a", {"x": 1})),
            (("ab", "c"), ("a", "bc")),
            (("a", {"token": "s3cret-1"}), ("a", {"token": "s3cret-2"})),
            (("a", [1, 2]), ("a", [2, 1])),
        ],
        ids=["value", "null", "text", "boolean", "parts", "secret", "order of a list"],
    )
    def test_differs(self, left: tuple[Any, ...], right: tuple[Any, ...]) -> None:
        assert cache_key(*left) != cache_key(*right)

    def test_takes_what_cannot_be_stored(self) -> None:
        assert len(cache_key("a", {"x": "\ud800", "y": 2**70})) == 64
