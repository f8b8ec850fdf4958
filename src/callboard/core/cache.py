"""Answers of outside calls that are kept for a while: in memory, and below it in a table that processes share.

The step kinds `external_api` and `llm` ask here before they call (`cache_ttl`). `workbench.py` builds one
`AnswerCache` per process; `cache_table.py` is the level below, which runs without a database have not.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from weakref import WeakValueDictionary

from cachetools import TLRUCache

from callboard.core import clock
from callboard.core.json_values import JsonValue, UnstorableValueError, dumps, loads

MAX_MEMORY_BYTES = 64 * 1024 * 1024  # of answers, per process
MAX_TTL_SECONDS = 366 * 24 * 3600
_ENTRY_BYTES = 500  # what an entry takes beside its text, roughly


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer as JSON text, whose it is, and how long it lives."""

    tenant_id: str
    key: str
    value_json: str
    created_at: datetime
    expires_at: datetime

    def serves(self, moment: datetime, ttl_seconds: int) -> bool:
        """Return whether it may be given to someone who wants none older than `ttl_seconds`."""
        return moment < min(self.expires_at, self.created_at + timedelta(seconds=ttl_seconds))


class AnswerStore(Protocol):
    """The level below the memory. A store that is away finds nothing and keeps nothing; it never raises for it."""

    async def find(self, tenant_id: str, key: str) -> KeptAnswer | None:
        """Return the answer that is kept, however old, or None."""
        ...

    def keep_soon(self, answer: KeptAnswer) -> None:
        """Have `answer` kept in place of an older one. Never waits."""
        ...

    async def close(self) -> None:
        """Return when everything given to `keep_soon` is kept, or lost for good."""
        ...


class AnswerCache:
    """The kept answers of one process. A tenant never sees another's."""

    def __init__(
        self,
        store: AnswerStore | None = None,
        *,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        max_answer_bytes: int | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        self._store = store
        self._now = now
        self._max_memory_bytes = max_memory_bytes
        self._max_answer_bytes = max_answer_bytes
        self._memory: TLRUCache[tuple[str, str], KeptAnswer] = TLRUCache(
            max_memory_bytes,
            ttu=lambda _key, answer, _time: answer.expires_at.timestamp(),
            timer=lambda: now().timestamp(),
            getsizeof=_size_of,
        )
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(
        self, tenant_id: str, key: str, *, ttl_seconds: int, wait_seconds: float
    ) -> AsyncIterator[JsonValue | None]:
        """Give the kept answer, at most `ttl_seconds` old, or None: then the block makes the call and says `keep`.

        Equal calls of this process wait for the one under way and take its answer. When it fails, the next one
        tries. Who has waited `wait_seconds` goes ahead alone, so that calls which hang do not queue up.
        """
        found = self._find_in_memory(tenant_id, key, ttl_seconds)
        if found is not None:
            yield loads(found.value_json)
            return
        async with self._alone(tenant_id, key, wait_seconds):
            found = await self._find(tenant_id, key, ttl_seconds)
            yield None if found is None else loads(found.value_json)

    def keep(self, tenant_id: str, key: str, value: JsonValue, *, ttl_seconds: int) -> None:
        """Keep `value` for `ttl_seconds` from now. What cannot be stored as JSON, or is too large, is not kept."""
        try:
            text = dumps(value, max_bytes=self._max_answer_bytes)
        except UnstorableValueError:
            return  # the step that goes on with it fails, and says why
        moment = self._now()
        answer = KeptAnswer(
            tenant_id=tenant_id,
            key=key,
            value_json=text,
            created_at=moment,
            expires_at=moment + timedelta(seconds=ttl_seconds),
        )
        self._remember(answer)
        if self._store is not None:
            self._store.keep_soon(answer)

    async def close(self) -> None:
        """Return when the store has what it was given."""
        if self._store is not None:
            await self._store.close()

    @asynccontextmanager
    async def _alone(self, tenant_id: str, key: str, wait_seconds: float) -> AsyncIterator[None]:
        """Hold the lock of this key while the block lasts, if it can be had in time."""
        lock = self._locks.setdefault((tenant_id, key), asyncio.Lock())
        try:
            async with asyncio.timeout(wait_seconds):
                await lock.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            lock.release()

    async def _find(self, tenant_id: str, key: str, ttl_seconds: int) -> KeptAnswer | None:
        found = self._find_in_memory(tenant_id, key, ttl_seconds)
        if found is not None or self._store is None:
            return found
        found = await self._store.find(tenant_id, key)
        if found is None or not found.serves(self._now(), ttl_seconds):
            return None
        self._remember(found)
        return found

    def _find_in_memory(self, tenant_id: str, key: str, ttl_seconds: int) -> KeptAnswer | None:
        found = self._memory.get((tenant_id, key))
        return found if found is not None and found.serves(self._now(), ttl_seconds) else None

    def _remember(self, answer: KeptAnswer) -> None:
        if _size_of(answer) <= self._max_memory_bytes:
            self._memory[answer.tenant_id, answer.key] = answer


def cache_key(*parts: JsonValue) -> str:
    """Return the name under which the answer to a call is kept: SHA-256 of everything that shapes the answer.

    The order of keys in objects does not matter. Secrets go in as they are: two tokens never share an
    answer, and nothing can be read out of the hash.

    >>> cache_key("places", {"a": 1, "b": None}) == cache_key("places", {"b": None, "a": 1})
    True
    >>> cache_key("places", {"a": 1}) == cache_key("places", {"a": "1"})
    False
    """
    # Not orjson: it refuses lone surrogates and big integers, which a call may well have among its parameters.
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _size_of(answer: KeptAnswer) -> int:
    return _ENTRY_BYTES + len(answer.value_json)
