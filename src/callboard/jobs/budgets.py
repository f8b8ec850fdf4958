"""Reserving what a call can cost before it is made: P8, a budget is never passed.

`checkpoints.py` gives each run a `RunBudget`; all runs of a process reserve together through one `BudgetDesk`.
What a call did cost is settled with its usage row, in the journal's transaction (`repository/journal.py`).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import structlog

from callboard.core.batch_writer import BatchWriter
from callboard.core.database import DATABASE_ERRORS, Database, is_connection_error
from callboard.core.ids import new_uuid
from callboard.core.telemetry import Telemetry
from callboard.jobs.budget_scopes import Limit
from callboard.jobs.errors import JournalRefusedError
from callboard.jobs.leases import WorkerLease
from callboard.jobs.repository.budgets import (
    ReserveAsk,
    ReserveOutcome,
    ReserveReply,
    Settlement,
    SettlementKind,
    reserve_calls,
)
from callboard.jobs.repository.claims import ClaimedJob
from callboard.jobs.spending_limits import SpendingLimits
from callboard.workflows.call_budgets import BoundOf, CallBound, may_have_been_paid, refuse_unknown_price
from callboard.workflows.steps.base import RunSuspended

LOOK_AGAIN_SECONDS = 0.5  # calls of other processes settle without a word to this one; then less and less often
MAX_LOOK_AGAIN_SECONDS = 10.0
WOKEN_AT_ONCE = 20  # by one settlement: it pays a call or two, and thousands may wait

log = structlog.get_logger(__name__)


class BudgetDesk:
    """Reserves for all runs of a process, together, and tells who waits when something was settled here."""

    def __init__(self, database: Database, *, limits: SpendingLimits, telemetry: Telemetry, lease: WorkerLease) -> None:
        self.limits = limits
        self._waiting: deque[asyncio.Event] = deque()
        self._writer: BatchWriter[ReserveAsk, ReserveReply] = BatchWriter(
            lambda asks: reserve_calls(database, asks),
            name="budgets",
            keep_trying=lease.keeps_trying,
            on_flush=telemetry.flushed,
        )

    def ask(self, ask: ReserveAsk) -> "asyncio.Future[ReserveReply]":
        """Return the future of what becomes of `ask`, once that is durable."""
        return self._writer.submit(ask)

    def note_settled(self) -> None:
        """Have those who have waited longest for money ask again."""
        for _ in range(min(WOKEN_AT_ONCE, len(self._waiting))):
            self._waiting.popleft().set()

    async def until_settled(self, seconds: float) -> None:
        """Return when something was settled in this process, or after `seconds`."""
        woken = asyncio.Event()
        self._waiting.append(woken)
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            if not woken.is_set():
                self._waiting.remove(woken)

    async def close(self) -> None:
        """Return when everything queued is written."""
        await self._writer.close()


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is reserved for a call that is under way."""

    id: UUID
    amount_usd: Decimal

    def paid(self, cost_usd: Decimal) -> Settlement:
        return Settlement(reservation_id=self.id, kind=SettlementKind.PAID, cost_usd=cost_usd)

    def failed(self, error: BaseException) -> Settlement:
        """Return the settlement of a call that ended with `error`."""
        kind = SettlementKind.UNCONFIRMED if may_have_been_paid(error) else SettlementKind.RELEASED
        return Settlement(reservation_id=self.id, kind=kind)


class RunBudget:
    """What one run may spend. `settle` has a settlement made durable; `ensure_running` raises when it is to stop."""

    def __init__(
        self,
        job: ClaimedJob,
        desk: BudgetDesk,
        *,
        settle: Callable[[Settlement], None],
        ensure_running: Callable[[], None],
        suspend: Callable[[], None],
    ) -> None:
        self._job = job
        self._desk = desk
        self._settle = settle
        self._ensure_running = ensure_running
        self._suspend = suspend
        self._own = () if job.budget_usd is None else (Limit.of_job(job.id, job.tenant_id, job.budget_usd),)
        self.has_reserved = False

    def limits(self) -> tuple[Limit, ...]:
        """Return every budget that applies to this run's calls now."""
        return self._own + self._desk.limits.of(self._job.tenant_id, self._job.user_id)

    async def reserve(self, path: str, call: int, bound: BoundOf | None) -> Reservation | None:
        """Return what is reserved for a call, or None where nothing limits it.

        While it is only for what other calls have reserved that there is too little, those are waited for: they may
        need less.

        Raises: BudgetExceededError, BudgetPriceUnknownError, RunSuspended, JournalRefusedError.
        """
        if not self._desk.limits.is_known:
            await self._desk.limits.known()
        limits = self.limits()
        if not limits:
            return None
        known = None if bound is None else bound()
        if known is None or known.upper_usd is None:
            raise refuse_unknown_price(path if known is None else known.name, limits[0].owner)
        return await self._until_granted(path, call, known, known.upper_usd)

    async def _until_granted(self, path: str, call: int, bound: CallBound, amount_usd: Decimal) -> Reservation:
        self.has_reserved = True
        give_up_at = asyncio.get_running_loop().time() + bound.patience_seconds
        pause = LOOK_AGAIN_SECONDS
        while True:
            reply = await self._ask(path, call, amount_usd)
            if isinstance(reply, Reservation):
                return reply
            seconds_left = give_up_at - asyncio.get_running_loop().time()
            assert reply.state is not None
            if reply.outcome is ReserveOutcome.REFUSED or seconds_left <= 0:
                log.warning("budget.refused", call=bound.name, **reply.state.to_json())
                raise reply.state.refuse(bound.name)
            await self._desk.until_settled(min(pause, seconds_left))
            pause = min(pause * 1.5, MAX_LOOK_AGAIN_SECONDS)
            self._ensure_running()

    async def _ask(self, path: str, call: int, amount_usd: Decimal) -> Reservation | ReserveReply:
        """Return the reservation, or what stands in its way. Raises: RunSuspended, JournalRefusedError."""
        job = self._job
        reservation = Reservation(new_uuid(), amount_usd)
        asked = self._desk.ask(
            ReserveAsk(
                reservation_id=reservation.id,
                job_id=job.id,
                fence=job.fence,
                path=path,
                call=call,
                amount_usd=amount_usd,
                limits=self.limits(),
            )
        )
        try:
            reply = await asyncio.shield(asked)
            if reply.outcome is ReserveOutcome.GRANTED:
                self._ensure_running()
                return reservation
        except DATABASE_ERRORS as error:
            if not is_connection_error(error):
                raise JournalRefusedError from error
            self._suspend()
            raise RunSuspended from error
        except BaseException:  # cancelled, or to be stopped: the call is not made
            asked.add_done_callback(lambda done: self._release(done, reservation))
            raise
        if reply.outcome is ReserveOutcome.LOST:
            self._suspend()
            raise RunSuspended
        return reply

    def _release(self, done: "asyncio.Future[ReserveReply]", reservation: Reservation) -> None:
        if not done.cancelled() and done.exception() is None and done.result().outcome is ReserveOutcome.GRANTED:
            self._settle(Settlement(reservation_id=reservation.id, kind=SettlementKind.RELEASED))
