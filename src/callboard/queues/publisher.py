"""Sends tokens to a broker from a thread of its own, so that whoever rings never waits for a broker.

`celery.py` and `arq.py` give it an `Outlet`. What is rung meanwhile is counted, not queued: the buffer is a
few numbers, however long the broker is away. Beyond `MAX_WAITING_TOKENS` rings are dropped; the sweeper of
`jobs/sweeper.py` rings again for jobs that nobody came for.
"""

import asyncio
import threading
import time
from typing import Protocol

import structlog

from callboard.queues.port import MAX_PRIORITY

MAX_WAITING_TOKENS = 10_000  # ten thousand runs in flight are what a large fleet holds
FIRST_PAUSE_SECONDS = 0.1
MAX_PAUSE_SECONDS = 2.0  # how late a broker that is back is noticed
CLOSE_SECONDS = 3.0  # for what was rung last; a broker that is away gets no more

log = structlog.get_logger(__name__)


class OutletError(Exception):
    """The broker did not take a token."""


class Outlet(Protocol):
    """A connection to a broker, used by one thread alone."""

    def send(self, priority: int) -> None:
        """Send one token, over a new connection if there is none. Raises: OutletError."""
        ...

    def disconnect(self) -> None:
        """Drop the connection; never raises."""
        ...


class TokenPublisher:
    """A `Doorbell` whose every ring becomes a token. The thread starts with the first ring."""

    def __init__(
        self, outlet: Outlet, *, max_waiting: int = MAX_WAITING_TOKENS, close_seconds: float = CLOSE_SECONDS
    ) -> None:
        self._outlet = outlet
        self._max_waiting = max_waiting
        self._close_seconds = close_seconds
        self._changed = threading.Condition()
        self._waiting = [0] * (MAX_PRIORITY + 1)  # tokens to send, by priority
        self._give_up_at: float | None = None
        self._is_away = False
        self._is_full = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """How many tokens have not been sent yet."""
        return sum(self._waiting)

    def ring(self, count: int = 1, *, priority: int = 0) -> None:
        """Have `count` tokens sent. Those that the buffer has no room for are dropped."""
        with self._changed:
            if self._give_up_at is not None or count <= 0:
                return
            room = max(0, self._max_waiting - sum(self._waiting))
            self._note_room(is_full=count > room)
            self._waiting[priority] += min(count, room)
            if self._thread is None:
                self._thread = threading.Thread(target=self._publish_until_closed, name="token-publisher", daemon=True)
                self._thread.start()
            self._changed.notify()

    def slot_freed(self) -> None:
        """Do nothing: it is tokens that claim, and one that waits for room hears of it in its own process."""

    async def close(self) -> None:
        """Send what waits for at most `close_seconds`, then let go of the connection."""
        with self._changed:
            self._give_up_at = time.monotonic() + self._close_seconds
            self._changed.notify()
            thread = self._thread
        if thread is None:
            return
        await asyncio.to_thread(thread.join, self._close_seconds + MAX_PAUSE_SECONDS)
        if self.waiting:
            log.warning("queue.tokens_dropped", count=self.waiting, why="the broker did not take them before the end")

    def _note_room(self, *, is_full: bool) -> None:
        """Say once that rings are dropped, and once that they are not any more."""
        if is_full and not self._is_full:
            log.warning("queue.tokens_dropped", why="the buffer is full", limit=self._max_waiting)
        self._is_full = is_full

    def _publish_until_closed(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        try:
            while (priority := self._next_priority()) is not None:
                try:
                    self._outlet.send(priority)
                except OutletError as error:
                    self._note_away(error)
                    self._outlet.disconnect()
                    self._pause(pause_seconds)
                    pause_seconds = min(pause_seconds * 2, MAX_PAUSE_SECONDS)
                    continue
                pause_seconds = FIRST_PAUSE_SECONDS
                self._note_sent(priority)
        finally:
            self._outlet.disconnect()

    def _next_priority(self) -> int | None:
        """Return the most urgent priority that has tokens, when there are some; None at the end."""
        with self._changed:
            while True:
                if self._give_up_at is not None and (not any(self._waiting) or time.monotonic() > self._give_up_at):
                    return None
                for priority in range(MAX_PRIORITY, -1, -1):
                    if self._waiting[priority]:
                        return priority
                self._changed.wait()

    def _note_sent(self, priority: int) -> None:
        with self._changed:
            self._waiting[priority] -= 1
        if self._is_away:
            self._is_away = False
            log.info("queue.broker_back", waiting=self.waiting)

    def _note_away(self, error: OutletError) -> None:
        """Say once that the broker is away: it is tried again and again, and each try would say the same."""
        if not self._is_away:
            self._is_away = True
            log.warning("queue.broker_away", error=str(error)[:300])

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if self._give_up_at is None:
                self._changed.wait_for(lambda: self._give_up_at is not None, timeout=seconds)
                return
        time.sleep(min(seconds, FIRST_PAUSE_SECONDS))
