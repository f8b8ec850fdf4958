"""What is counted for whom, and who is refused before their key is looked at."""

from dataclasses import dataclass

import pytest

from callboard.accounts.caller import Caller
from callboard.accounts.errors import TooManyRequestsError
from callboard.accounts.rate_limits import RequestLimits, RequestRates, limited_address, tighter
from callboard.accounts.scopes import expand_scopes
from callboard.core.limits import RateDecision, RateLimit, RateLimiter
from callboard.core.repository import TenantScope

ONCE = RateLimit(1, 86_400)
TWICE = RateLimit(2, 86_400)
HOME = "192.0.2.7"


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(
    *,
    per_key: RateLimit | None = None,
    per_user: RateLimit | None = None,
    anonymous: RateLimit | None = None,
    monotonic: Clock | None = None,
) -> RequestLimits:
    rates = RequestRates(per_key=per_key, per_user=per_user, anonymous=anonymous)
    return RequestLimits(RateLimiter(), rates, monotonic=monotonic or Clock())


def caller(key_id: str, user_id: str | None = None, tenant_id: str = "default") -> Caller:
    return Caller(
        tenant=TenantScope(tenant_id),
        tenant_id=tenant_id,
        user_id=user_id,
        scopes=expand_scopes(["jobs:read"]),
        key_id=key_id,
    )


class TestCountCaller:
    async def test_counts_nothing_where_nothing_is_limited(self) -> None:
        assert await limits().count_caller(caller("k", "ada")) is None

    async def test_counts_each_key_by_itself(self) -> None:
        counted = limits(per_key=ONCE)

        await counted.count_caller(caller("one"))
        await counted.count_caller(caller("other"))

        with pytest.raises(TooManyRequestsError, match=r"This key has made as many requests as it may \(1\)"):
            await counted.count_caller(caller("one"))

    async def test_counts_a_user_over_all_keys(self) -> None:
        counted = limits(per_user=TWICE)

        await counted.count_caller(caller("one", "ada"))
        await counted.count_caller(caller("other", "ada"))
        await counted.count_caller(caller("other", "bob"))

        with pytest.raises(TooManyRequestsError, match="This user"):
            await counted.count_caller(caller("third", "ada"))

    async def test_users_of_two_tenants_are_two(self) -> None:
        counted = limits(per_user=ONCE)

        await counted.count_caller(caller("one", "ada", "acme"))

        assert await counted.count_caller(caller("other", "ada", "umbrella")) is not None

    async def test_tells_what_is_left_of_the_tighter_limit(self) -> None:
        counted = limits(per_key=RateLimit(10, 86_400), per_user=TWICE)

        decision = await counted.count_caller(caller("one", "ada"))

        assert decision is not None
        assert (decision.limit, decision.remaining) == (2, 1)

    async def test_counts_no_user_for_a_key_without_one(self) -> None:
        counted = limits(per_user=ONCE)

        await counted.count_caller(caller("one"))

        assert await counted.count_caller(caller("one")) is None


class TestAddresses:
    async def refuse(self, counted: RequestLimits, address: str = HOME) -> float:
        """Guess until the address is refused, which TWICE does the third time, and return for how long."""
        await counted.count_refused(address)
        await counted.count_refused(address)
        with pytest.raises(TooManyRequestsError) as caught:
            await counted.count_refused(address)
        return caught.value.decision.reset_seconds

    async def test_too_many_are_refused_before_the_key_is_looked_at(self) -> None:
        counted = limits(anonymous=TWICE)

        await self.refuse(counted)

        for key in ("guess", None):
            with pytest.raises(TooManyRequestsError, match="without a valid key"):
                counted.check_address(HOME, key)

    async def test_others_and_keys_that_were_valid_from_there_pass(self) -> None:
        counted = limits(anonymous=TWICE)
        counted.note_valid(HOME, "good")
        counted.note_valid("192.0.2.8", "good elsewhere")

        await self.refuse(counted)

        counted.check_address(HOME, "good")
        counted.check_address("192.0.2.8", "guess")
        with pytest.raises(TooManyRequestsError):
            counted.check_address(HOME, "good elsewhere")

    async def test_is_let_in_again_when_the_time_is_over(self) -> None:
        clock = Clock()
        counted = limits(anonymous=TWICE, monotonic=clock)
        seconds = await self.refuse(counted)

        clock.now += seconds - 0.5
        with pytest.raises(TooManyRequestsError) as caught:
            counted.check_address(HOME, "guess")
        clock.now += 1

        counted.check_address(HOME, "guess")
        assert caught.value.retry_after_seconds == 1

    async def test_nobody_is_refused_where_it_is_off(self) -> None:
        counted = limits()

        for _ in range(100):
            assert await counted.count_refused(HOME) is None

        counted.check_address(HOME, "guess")


class TestTooManyRequestsError:
    @pytest.mark.parametrize(
        ("wait", "seconds", "said"),
        [(0.0, 1, "in 1 second."), (0.2, 1, "in 1 second."), (1.1, 2, "in 2 seconds."), (30.0, 30, "in 30 seconds.")],
    )
    def test_says_when_to_come_back(self, wait: float, seconds: int, said: str) -> None:
        decision = RateDecision(allowed=False, limit=5, remaining=0, reset_seconds=wait)

        error = TooManyRequestsError("This key", decision, wait_seconds=wait)

        assert error.retry_after_seconds == seconds
        assert error.message.endswith(said)


class TestTighter:
    def test_is_the_one_that_leaves_fewer(self) -> None:
        few = RateDecision(allowed=True, limit=5, remaining=1, reset_seconds=1)
        many = RateDecision(allowed=True, limit=9, remaining=8, reset_seconds=1)

        assert [tighter(few, many), tighter(many, few), tighter(None, many), tighter(None, None)] == [
            few,
            few,
            many,
            None,
        ]


class TestLimitedAddress:
    @pytest.mark.parametrize(
        ("host", "limited"),
        [
            pytest.param("192.0.2.7", "192.0.2.7", id="IPv4"),
            pytest.param("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64", id="IPv6 by its network"),
            pytest.param("fe80::1%eth0", "fe80::/64", id="with a zone"),
            pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="IPv4 inside IPv6"),
            pytest.param("testclient", "testclient", id="a name"),
            pytest.param(None, "local", id="a Unix socket"),
        ],
    )
    def test_stands_for_all_that_one_caller_has(self, host: str | None, limited: str) -> None:
        assert limited_address(host) == limited
