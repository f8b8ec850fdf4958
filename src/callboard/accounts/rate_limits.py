"""How often somebody may call: by key, by user, and by address for those without a valid key.

`auth.py` asks at every request that needs a key; `main.py` opens one for the process. What is counted, and
what a caller is told, is a `RateDecision` of `core/limits.py`; `core/http_middleware.py` writes it into the answer.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

from callboard.accounts.caller import Caller
from callboard.accounts.errors import TooManyRequestsError
from callboard.core.config import Settings
from callboard.core.limits import RateDecision, RateLimit, RateLimiter

IPV6_NETWORK_BITS = 64  # who has one address of it has them all
WITHOUT_KEY = "This address, without a valid key,"
MAX_REMEMBERED = 10_000  # addresses that are refused, and keys that were valid, per process


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRates:
    """The limits; None is any number of requests."""

    per_key: RateLimit | None
    per_user: RateLimit | None
    anonymous: RateLimit | None


class RequestLimits:
    """Counts requests and refuses those that are too many. Raises: TooManyRequestsError."""

    def __init__(
        self, limiter: RateLimiter, rates: RequestRates, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._limiter = limiter
        self._rates = rates
        self._monotonic = monotonic
        self._refused_until: dict[str, tuple[float, RateDecision]] = {}
        self._valid: set[bytes] = set()

    async def count_caller(self, caller: Caller) -> RateDecision | None:
        """Count a request of a key, and of the user that it is bound to; return what they have left."""
        by_key = await self._count(f"key:{caller.key_id}", self._rates.per_key, "This key")
        by_user = await self.count_user(caller.tenant_id, caller.user_id)
        return tighter(by_key, by_user)

    async def count_user(self, tenant_id: str, user_id: str | None) -> RateDecision | None:
        """Count a request for a user, whatever key it came with; nothing for none."""
        if user_id is None:
            return None
        return await self._count(f"user:{tenant_id}:{user_id}", self._rates.per_user, "This user")

    async def count_refused(self, address: str) -> RateDecision | None:
        """Count a request from `address` that had no valid key."""
        try:
            return await self._count(
                f"anonymous:{address}", self._rates.anonymous, "This address, without a valid key,"
            )
        except TooManyRequestsError as error:
            if len(self._refused_until) >= MAX_REMEMBERED:
                self._refused_until.clear()
            self._refused_until[address] = (self._monotonic() + error.decision.reset_seconds, error.decision)
            raise

    def check_address(self, address: str, key: str | None) -> None:
        """Refuse a request from an address that sent too many without a valid key, before its key is looked at.

        A key that was valid from there before passes: a guesser behind the same proxy does not shut it out.
        """
        until, decision = self._refused_until.get(address, (0.0, None))
        if decision is None or (key is not None and _seen(address, key) in self._valid):
            return
        wait = until - self._monotonic()
        if wait <= 0:
            del self._refused_until[address]
            return
        raise TooManyRequestsError(WITHOUT_KEY, decision, wait_seconds=wait)

    def note_valid(self, address: str, key: str) -> None:
        """Remember that `key` was valid from `address`."""
        if self._rates.anonymous is None:
            return
        if len(self._valid) >= MAX_REMEMBERED:
            self._valid.clear()
        self._valid.add(_seen(address, key))

    async def _count(self, key: str, limit: RateLimit | None, who: str) -> RateDecision | None:
        if limit is None:
            return None
        decision = await self._limiter.hit(key, limit)
        if not decision.allowed:
            raise TooManyRequestsError(who, decision, wait_seconds=decision.reset_seconds)
        return decision


@asynccontextmanager
async def open_request_limits(settings: Settings) -> AsyncIterator[RequestLimits]:
    """Give the limits of this process, counted together with other processes where REDIS_URL is set."""
    limiter = RateLimiter(settings.redis_url)
    rates = RequestRates(
        per_key=settings.rate_limit("per_key"),
        per_user=settings.rate_limit("per_user"),
        anonymous=settings.rate_limit("anonymous"),
    )
    try:
        yield RequestLimits(limiter, rates)
    finally:
        await limiter.close()


def tighter(one: RateDecision | None, other: RateDecision | None) -> RateDecision | None:
    """Return the decision that leaves fewer requests."""
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda decision: decision.remaining)


def limited_address(host: str | None) -> str:
    """Return what stands for all addresses that one caller has: the address, or its network for IPv6.

    >>> limited_address("192.0.2.7"), limited_address("::ffff:192.0.2.7"), limited_address("2001:db8::1:2")
    ('192.0.2.7', '192.0.2.7', '2001:db8::/64')
    >>> limited_address(None)
    'local'
    """
    if host is None:
        return "local"  # a Unix socket
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    network = IPv6Address(int(address) >> IPV6_NETWORK_BITS << IPV6_NETWORK_BITS)
    return f"{network}/{IPV6_NETWORK_BITS}"


def _seen(address: str, key: str) -> bytes:
    return sha256(f"{address} {key}".encode("utf-8", errors="surrogatepass")).digest()
