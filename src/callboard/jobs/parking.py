"""Waiting without a worker: what a run waits for is rows, and a run none of whose flows can go on is parked.

`checkpoints.py` gives each run a `RunWaits`, which steps and the engine's back-offs wait through; all runs of
a process ask together through one `WaitDesk`. `runner.py` parks a run that says `is_parked`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from callboard.core.batch_writer import BatchWriter
from callboard.core.clock import now
from callboard.core.database import DATABASE_ERRORS, Database, is_connection_error
from callboard.core.telemetry import Telemetry
from callboard.jobs.errors import JournalRefusedError
from callboard.jobs.leases import WorkerLease
from callboard.jobs.repository.claims import ClaimedJob
from callboard.jobs.repository.waits import WaitAsk, WaitReply, ask_waits
from callboard.workflows.flows import Flows
from callboard.workflows.steps.base import RunSuspended
from callboard.workflows.steps.waiting import Wait, WaitEnd, WaitKind

SHORT_WAIT_SECONDS = 2.0  # parking and waking costs more than to sit that out
SHORT_BACK_OFF_SECONDS = 30.0
MAX_SLEEP_SECONDS = 3600.0  # a timer of the event loop takes no infinity, and asking again does no harm


class WaitDesk:
    """Asks for all runs of a process how what they wait for stands, together."""

    def __init__(self, database: Database, *, telemetry: Telemetry, lease: WorkerLease) -> None:
        self._writer: BatchWriter[WaitAsk, WaitReply] = BatchWriter(
            lambda asks: ask_waits(database, asks),
            name="waits",
            keep_trying=lease.keeps_trying,
            on_flush=telemetry.flushed,
        )

    async def ask(self, ask: WaitAsk) -> WaitReply:
        """Return how a wait stands, once that is durable."""
        return await self._writer.write(ask)

    def drop(self, ask: WaitAsk) -> None:
        """Have a wait closed with the next flush: its branch was cancelled."""
        self._writer.submit(replace(ask, is_over=True)).add_done_callback(_heed_error)

    async def close(self) -> None:
        """Return when everything queued is written."""
        await self._writer.close()


class RunWaits:
    """What one run waits for. `suspend` is called when no flow of it can go on: it is to be parked then."""

    def __init__(
        self,
        job: ClaimedJob,
        desk: WaitDesk,
        *,
        tries: Mapping[str, int],
        suspended: asyncio.Event,
        suspend: Callable[[], None],
    ) -> None:
        self.flows = Flows(self._park)
        self.is_parked = False
        self.open: dict[str, WaitReply] = {}  # what was asked for and has not ended, by path
        self._job = job
        self._desk = desk
        self._tries = tries
        self._suspended = suspended
        self._suspend = suspend
        self._sleepers: set[asyncio.Event] = set()

    def tries_before(self, path: str) -> int:
        """Return how often the step at `path` was tried before the back-off that an earlier run was parked in."""
        return self._tries.get(path, 0)

    async def wait_for(self, path: str, wait: Wait) -> WaitEnd:
        """Return how `wait` of the step instance at `path` ended. Raises: RunSuspended, when the run is parked."""
        if wait.kind is WaitKind.TIMER and wait.seconds is not None and wait.seconds <= SHORT_WAIT_SECONDS:
            return await self._sit_out(wait)
        return await self._until_ended(path, wait, short_seconds=SHORT_WAIT_SECONDS)

    async def back_off(self, path: str, wait: Wait, *, tries: int) -> None:
        """Return when a step that was tried `tries` times may be tried again. Raises: as `wait_for`."""
        is_resumed = tries <= self.tries_before(path)
        if not is_resumed and wait.seconds is not None and wait.seconds <= SHORT_BACK_OFF_SECONDS:
            await self._sit_out(wait)
            return
        await self._until_ended(f"{path}!{tries}", wait, short_seconds=SHORT_BACK_OFF_SECONDS, tries=tries)

    def wake(self) -> None:
        """Have everybody who sleeps look again: there may be news, or the run is suspended."""
        for woken in self._sleepers:
            woken.set()

    async def _until_ended(self, path: str, wait: Wait, *, short_seconds: float, tries: int = 0) -> WaitEnd:
        ask = self._ask_of(path, wait, tries)
        woken = asyncio.Event()
        self._sleepers.add(woken)
        try:
            while True:
                woken.clear()  # before the question: news that comes while it is asked is not lost
                reply = await self._ask(ask)
                if reply.end is not None:
                    return reply.end
                self.open[path] = reply
                await self._sleep(woken, reply.seconds_left, short_seconds=short_seconds)
                self.open.pop(path)
        except asyncio.CancelledError:  # a sibling failed, or the run is stopped: nobody waits any more
            self.open.pop(path, None)
            self._desk.drop(ask)
            raise
        finally:
            self._sleepers.discard(woken)

    def _ask_of(self, path: str, wait: Wait, tries: int) -> WaitAsk:
        job = self._job
        return WaitAsk(
            job_id=job.id,
            fence=job.fence,
            attempt=job.attempt,
            tenant_id=job.tenant_id,
            path=path,
            wait=wait,
            tries=tries,
        )

    async def _ask(self, ask: WaitAsk) -> WaitReply:
        try:
            reply = await self._desk.ask(ask)
        except DATABASE_ERRORS as error:
            if not is_connection_error(error):
                raise JournalRefusedError from error
            self._suspend()
            raise RunSuspended from error
        if not reply.is_owned:
            self._suspend()
            raise RunSuspended
        return reply

    async def _sleep(self, woken: asyncio.Event, seconds: float, *, short_seconds: float) -> None:
        """Sleep until there may be news, or the time is up. Raises: RunSuspended."""
        if seconds <= short_seconds:
            await self._rest(woken, seconds)
            return
        with self.flows.aside():
            await self._rest(woken, min(seconds, MAX_SLEEP_SECONDS))

    async def _sit_out(self, wait: Wait) -> WaitEnd:
        """Return after the seconds of `wait`, of which no row tells."""
        woken = asyncio.Event()
        self._sleepers.add(woken)
        loop = asyncio.get_running_loop()
        until = loop.time() + (wait.seconds or 0.0)
        try:
            while loop.time() < until:
                woken.clear()
                await self._rest(woken, until - loop.time())
        finally:
            self._sleepers.discard(woken)
        return WaitEnd(ended_at=now(), is_timed_out=True)

    async def _rest(self, woken: asyncio.Event, seconds: float) -> None:
        if not self._suspended.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await woken.wait()
            except TimeoutError:
                pass
        if self._suspended.is_set():
            raise RunSuspended

    def _park(self) -> None:
        self.is_parked = True
        self._suspend()


def _heed_error(written: "asyncio.Future[WaitReply]") -> None:
    """Take the error of a wait that nobody waits for; the writer has logged it."""
    if not written.cancelled():
        written.exception()
