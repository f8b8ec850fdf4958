"""Hearing PostgreSQL's NOTIFY: one connection per process that calls back, and comes back after a loss.

`wiring` connects it to the doorbell and to the runner's cancellations. On SQLite there is none: polling.
"""

import asyncio
from collections.abc import Callable

import asyncpg
import structlog
from sqlalchemy.engine import make_url

RECONNECT_SECONDS = 1.0

log = structlog.get_logger(__name__)


class NotificationListener:
    """Calls `on_notify(payload)` on this loop for each NOTIFY on `channel`, and once after a reconnect."""

    def __init__(self, url: str, *, channel: str, on_notify: Callable[[str], None]) -> None:
        self._dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._channel = channel
        self._on_notify = on_notify
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen(), name="notification-listener")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_until_lost()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("notifications.lost", error=repr(error)[:300])
            await asyncio.sleep(RECONNECT_SECONDS)
            self._on_notify("")  # what rang while nobody listened

    async def _listen_until_lost(self) -> None:
        lost = asyncio.Event()
        connection = await asyncpg.connect(self._dsn)
        try:
            connection.add_termination_listener(lambda _connection: lost.set())
            await connection.add_listener(self._channel, self._heard)
            await lost.wait()
        finally:
            connection.terminate()

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        self._on_notify(payload)
