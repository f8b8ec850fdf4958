"""Circuits: when they open, whom they let try, and what does not count."""

import asyncio

import pytest

from callboard.core.breaker import CircuitBreakers, CircuitOpenError
from callboard.core.errors import PermanentError, StepError, TemporaryError

OPEN_SECONDS = 0.05


class HealthError(TemporaryError):
    """Counts."""


class RefusedError(PermanentError):
    """Does not count."""


def _is_failure(error: StepError) -> bool:
    return isinstance(error, HealthError)


async def _run(breakers: CircuitBreakers, error: BaseException | None = None, name: str = "a") -> None:
    async with breakers.guard(name, is_failure=_is_failure):
        if error is not None:
            raise error


async def _fail(breakers: CircuitBreakers, times: int, name: str = "a") -> None:
    for _ in range(times):
        with pytest.raises(HealthError):
            await _run(breakers, HealthError(), name)


@pytest.fixture
def breakers() -> CircuitBreakers:
    return CircuitBreakers(threshold=3, open_seconds=OPEN_SECONDS)


class TestGuard:
    async def test_opens_after_as_many_failures_as_the_threshold(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 3)

        with pytest.raises(CircuitOpenError):
            await _run(breakers)

    async def test_stays_closed_below_the_threshold(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 2)

        await _run(breakers)

        assert breakers.open_circuits() == {}

    async def test_a_success_in_between_starts_the_count_again(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 2)
        await _run(breakers)
        await _fail(breakers, 2)

        await _run(breakers)

    async def test_tells_how_long_to_wait(self) -> None:
        breakers = CircuitBreakers(threshold=1, open_seconds=60)
        await _fail(breakers, 1)

        with pytest.raises(CircuitOpenError) as caught:
            await _run(breakers)

        assert caught.value.retry_after_seconds == pytest.approx(60, abs=1)

    async def test_each_refusal_is_an_error_of_its_own(self) -> None:
        breakers = CircuitBreakers(threshold=1, open_seconds=60)
        await _fail(breakers, 1)

        errors = []
        for _ in range(2):
            with pytest.raises(CircuitOpenError) as caught:
                await _run(breakers)
            errors.append(caught.value)

        assert errors[0] is not errors[1]

    async def test_circuits_do_not_know_each_other(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 3, "a")

        await _run(breakers, name="b")

        assert list(breakers.open_circuits()) == ["a"]

    async def test_an_error_that_is_no_failure_passes_and_does_not_count(self, breakers: CircuitBreakers) -> None:
        for _ in range(5):
            with pytest.raises(RefusedError):
                await _run(breakers, RefusedError())

        await _run(breakers)

    async def test_a_cancelled_call_counts_neither_way(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 2)
        for _ in range(3):
            with pytest.raises(asyncio.CancelledError):
                await _run(breakers, asyncio.CancelledError())
        assert breakers.open_circuits() == {}

        await _fail(breakers, 1)

        assert "a" in breakers.open_circuits()


class TestHalfOpen:
    async def test_a_success_after_the_time_closes_it(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 3)
        await asyncio.sleep(OPEN_SECONDS * 1.2)

        await _run(breakers)

        await _fail(breakers, 2)
        await _run(breakers)

    async def test_a_failure_after_the_time_opens_it_at_once(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 3)
        await asyncio.sleep(OPEN_SECONDS * 1.2)

        await _fail(breakers, 1)

        with pytest.raises(CircuitOpenError):
            await _run(breakers)

    async def test_only_one_call_tries_at_a_time(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 3)
        await asyncio.sleep(OPEN_SECONDS * 1.2)

        async with breakers.guard("a", is_failure=_is_failure):
            with pytest.raises(CircuitOpenError):
                await _run(breakers)

        await _run(breakers)

    async def test_a_cancelled_try_lets_the_next_one_try(self, breakers: CircuitBreakers) -> None:
        await _fail(breakers, 3)
        await asyncio.sleep(OPEN_SECONDS * 1.2)
        with pytest.raises(asyncio.CancelledError):
            await _run(breakers, asyncio.CancelledError())

        await _run(breakers)
