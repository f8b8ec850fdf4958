"""Group commit: what many runs want written at this moment goes to the database in one transaction.

`jobs/checkpoints.py`, `jobs/finishes.py` and `jobs/service.py` each own one. The next flush starts when the
last one returned; whoever wrote goes on only when their row is durable. Generic: knows no table.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from callboard.core.database import is_connection_error

MAX_ROWS = 500  # a flush; 50 was too few, 500 enough (measured on both databases)
MAX_BYTES = 4 * 1024 * 1024
MAX_WAITING_FLUSHES = 8  # of each of the two; a database that takes what is given to it leaves one or two waiting
RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)  # while the database is away; the last one repeats

Item = TypeVar("Item")
Result = TypeVar("Result")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Entry(Generic[Item, Result]):
    item: Item
    size_bytes: int
    queued_at: float
    done: "asyncio.Future[Result]"


class BatchWriter(Generic[Item, Result]):
    """Writes items together. `flush` gets the items of one batch and returns a result for each, in order.

    Connection errors are repeated while `keep_trying(seconds since the item was queued)` says so; then
    the item fails with that error. What is refused for any other reason is found by halving the batch: it
    alone fails, and the others are written.

    It takes whatever it is given: what it would refuse was worked for. It says that it `is_full` when more than
    `MAX_WAITING_FLUSHES` wait, and its callers are to begin nothing new, or to do without, until there is room.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        name: str,
        keep_trying: Callable[[float], bool],
        on_flush: Callable[[str, int, float], None] | None = None,
    ) -> None:
        self._flush = flush
        self._name = name
        self._keep_trying = keep_trying
        self._on_flush = on_flush
        self._queue: deque[_Entry[Item, Result]] = deque()
        self._drainer: asyncio.Task[None] | None = None
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def waiting(self) -> tuple[int, int]:
        """How much is neither written nor has failed: rows, bytes."""
        return self._waiting_rows, self._waiting_bytes

    @property
    def is_full(self) -> bool:
        """Whether more waits to be written than should."""
        return not self._has_room.is_set()

    async def wait_for_room(self) -> None:
        """Return when it is not full."""
        await self._has_room.wait()

    def submit(self, item: Item, *, size_bytes: int = 0) -> "asyncio.Future[Result]":
        """Queue `item` for the next flush and return the future of its result. Never blocks."""
        loop = asyncio.get_running_loop()
        entry: _Entry[Item, Result] = _Entry(item, size_bytes, loop.time(), loop.create_future())
        self._queue.append(entry)
        self._note_waiting(1, size_bytes)
        if self._drainer is None or self._drainer.done():
            self._drainer = loop.create_task(self._drain(), name=f"batch-writer-{self._name}")
        return entry.done

    async def write(self, item: Item, *, size_bytes: int = 0) -> Result:
        """Return the result of `item` once it is durable.

        A caller that is cancelled while waiting leaves the item queued: it is written all the same.
        """
        return await asyncio.shield(self.submit(item, size_bytes=size_bytes))

    async def close(self) -> None:
        """Return when everything queued so far is written or has failed."""
        while self._drainer is not None and not self._drainer.done():
            await asyncio.wait([self._drainer])

    def _note_waiting(self, rows: int, size_bytes: int) -> None:
        """Count what has come (or, with a minus, gone), and tell those who wait for room."""
        self._waiting_rows += rows
        self._waiting_bytes += size_bytes
        flushes = max(self._waiting_rows / MAX_ROWS, self._waiting_bytes / MAX_BYTES)
        if flushes <= MAX_WAITING_FLUSHES:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _drain(self) -> None:
        while self._queue:
            await self._settle(self._take_batch())

    def _take_batch(self) -> list[_Entry[Item, Result]]:
        batch = [self._queue.popleft()]
        total = batch[0].size_bytes
        while self._queue and len(batch) < MAX_ROWS and total + self._queue[0].size_bytes <= MAX_BYTES:
            batch.append(self._queue.popleft())
            total += batch[-1].size_bytes
        return batch

    async def _settle(self, batch: list[_Entry[Item, Result]]) -> None:
        tries = 0
        while batch:
            error = await self._try_once(batch)
            if error is None:
                return
            if is_connection_error(error):
                batch = self._give_up_on_the_late(batch, error)
                await asyncio.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
                tries += 1
                continue
            if len(batch) > 1:
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                batch = batch[middle:]
                continue
            self._fail(batch, error)
            return

    async def _try_once(self, batch: list[_Entry[Item, Result]]) -> BaseException | None:
        """Flush `batch` and hand out its results; return the error instead when the flush raised one."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        flush = asyncio.ensure_future(self._flush([entry.item for entry in batch]))
        await asyncio.wait([flush])
        error = flush.exception()
        if error is not None:
            log.warning("batch.flush_failed", writer=self._name, rows=len(batch), error=repr(error)[:500])
            return error
        for entry, result in zip(batch, flush.result(), strict=True):
            if not entry.done.done():
                entry.done.set_result(result)
        self._forget(batch)
        if self._on_flush is not None:
            self._on_flush(self._name, len(batch), loop.time() - started)
        return None

    def _give_up_on_the_late(
        self, batch: list[_Entry[Item, Result]], error: BaseException
    ) -> list[_Entry[Item, Result]]:
        now = asyncio.get_running_loop().time()
        late = {id(entry) for entry in batch if not self._keep_trying(now - entry.queued_at)}
        self._fail([entry for entry in batch if id(entry) in late], error)
        return [entry for entry in batch if id(entry) not in late]

    def _fail(self, entries: Sequence[_Entry[Item, Result]], error: BaseException) -> None:
        for entry in entries:
            if not entry.done.done():
                entry.done.set_exception(error)
        self._forget(entries)

    def _forget(self, entries: Sequence[_Entry[Item, Result]]) -> None:
        self._note_waiting(-len(entries), -sum(entry.size_bytes for entry in entries))
