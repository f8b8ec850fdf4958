"""Money before and after a call: reserving what it can cost at most, and settling what it did cost.

`jobs/budgets.py` reserves; the journal, finishes and take-overs settle in their own transactions. Everybody locks
the rows of jobs first, then accounts in the order of their keys. A reservation is changed under its job's lock
alone, so that it is settled once, whoever says so how often.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum, auto
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.clock import to_iso
from callboard.core.database import Database, utc_now
from callboard.core.ids import JobId
from callboard.core.json_values import dumps, loads
from callboard.jobs.budget_scopes import Account, BudgetScope, Limit
from callboard.jobs.models import BudgetAccount, BudgetReservation, Job
from callboard.jobs.repository.fences import is_owned, lock_jobs, one_of
from callboard.llm.models import ProviderUsage
from callboard.workflows.call_budgets import BudgetState

NOTHING = Decimal(0)


class ReservationState(StrEnum):
    """Where a reservation stands. One that is settled otherwise is deleted."""

    OPEN = "open"
    UNCONFIRMED = "unconfirmed"  # the call may have been paid


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveAsk:
    """A run asks for what one call can cost at most, within every one of `limits`."""

    reservation_id: UUID
    job_id: JobId
    fence: int
    path: str
    call: int
    amount_usd: Decimal
    limits: tuple[Limit, ...]


class ReserveOutcome(Enum):
    """What became of an ask."""

    GRANTED = auto()
    REFUSED = auto()
    BUSY = auto()  # what other calls have reserved stands in the way; they may need less
    LOST = auto()  # the job is no longer the run's that asked


@dataclass(frozen=True, slots=True)
class ReserveReply:
    """What became of an ask, and the budget that stood in its way."""

    outcome: ReserveOutcome
    state: BudgetState | None = None


class SettlementKind(Enum):
    """How a call ended, as its budget sees it."""

    PAID = auto()  # its usage row tells the cost
    RELEASED = auto()  # nothing can be charged for it
    UNCONFIRMED = auto()  # it may have been paid: the upper bound counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a reservation turned out to be. `cost_usd` is that of a PAID call."""

    reservation_id: UUID
    kind: SettlementKind
    cost_usd: Decimal = NOTHING


async def reserve_calls(database: Database, asks: Sequence[ReserveAsk]) -> list[ReserveReply]:
    """Reserve for many runs' calls in one transaction and return, in order, what became of each.

    An account that nobody has used is made first, in a transaction of its own: rows that are locked and rows that
    are inserted by one transaction have no common order.
    """
    while True:
        async with database.transaction() as connection:
            locked = await lock_jobs(connection, (ask.job_id for ask in asks), utc_now().label("moment"))
            owned = [ask for ask in asks if is_owned(locked.get(ask.job_id), ask.fence)]
            wanted = {
                ask.reservation_id: [(limit, limit.account_at(locked[ask.job_id].moment)) for limit in ask.limits]
                for ask in owned
            }
            books = await _Books.open(connection, (account.key for each in wanted.values() for _, account in each))
            missing = {
                account.key: account for each in wanted.values() for _, account in each if account.key not in books.rows
            }
            if not missing:
                replies = await _decide(connection, owned, wanted, books, locked)
                return [replies.get(ask.reservation_id, ReserveReply(ReserveOutcome.LOST)) for ask in asks]
        await _make_accounts(database, [missing[key] for key in sorted(missing)])


async def settle_calls(connection: AsyncConnection, settlements: Sequence[Settlement]) -> None:
    """Settle reservations of jobs that this transaction has locked. What is settled already stays as it is."""
    if not settlements:
        return
    ids = [settlement.reservation_id for settlement in settlements]
    rows = await _load_reservations(connection, one_of(connection, BudgetReservation.id, ids))
    await _settle(connection, rows, settlements)


async def confirm_nothing(connection: AsyncConnection, job_ids: Iterable[UUID]) -> dict[UUID, Decimal]:
    """Settle what is open of jobs that this transaction has locked: nobody will say what became of those calls.

    Their upper bound counts as `unconfirmed_usd`. Returns how much that is, by job.
    """
    wanted = sorted(set(job_ids))
    if not wanted:
        return {}
    is_open = sa.and_(
        one_of(connection, BudgetReservation.job_id, wanted), BudgetReservation.state == ReservationState.OPEN
    )
    rows = await _load_reservations(connection, is_open)
    return await _settle(
        connection, rows, [Settlement(reservation_id=key, kind=SettlementKind.UNCONFIRMED) for key in rows]
    )


@dataclass(slots=True)
class _Books:
    """Accounts that one transaction has locked, with what it adds to each."""

    rows: dict[str, dict[str, Any]]
    changed: set[str] = field(default_factory=set)

    @classmethod
    async def open(cls, connection: AsyncConnection, keys: Iterable[str]) -> "_Books":
        wanted = sorted(set(keys))
        if not wanted:
            return cls({})
        query = (
            sa.select(
                BudgetAccount.key, BudgetAccount.spent_usd, BudgetAccount.reserved_usd, BudgetAccount.unconfirmed_usd
            )
            .where(BudgetAccount.key.in_(wanted))
            .order_by(BudgetAccount.key)
            .with_for_update()
        )
        return cls({row.key: dict(row._mapping) for row in await connection.execute(query)})  # noqa: SLF001 - Row's documented mapping

    def add(self, keys: Iterable[str], **amounts: Decimal) -> None:
        """Add to the sums of accounts. One that is gone (its job was deleted) is passed over."""
        for key in keys:
            if key in self.rows:
                self.changed.add(key)
                for name, amount in amounts.items():
                    self.rows[key][name] += amount

    async def write(self, connection: AsyncConnection) -> None:
        if not self.changed:
            return
        accounts = BudgetAccount.__table__
        assert isinstance(accounts, sa.Table)  # a mapped class may stand for less, says its type
        statement = sa.update(accounts).where(accounts.c.key == sa.bindparam("account"))
        await connection.execute(
            statement,
            [
                {"account": key, **{name: value for name, value in self.rows[key].items() if name != "key"}}
                for key in sorted(self.changed)
            ],
        )


async def _decide(
    connection: AsyncConnection,
    asks: Sequence[ReserveAsk],
    wanted: Mapping[UUID, Sequence[tuple[Limit, Account]]],
    books: _Books,
    locked: Mapping[UUID, Any],
) -> dict[UUID, ReserveReply]:
    """Grant each ask, in order, that fits into every budget, and write what was granted."""
    ids = [ask.reservation_id for ask in asks]
    granted_before = await _load_reservations(connection, one_of(connection, BudgetReservation.id, ids)) if ids else {}
    replies: dict[UUID, ReserveReply] = {}
    rows = []
    for ask in asks:
        if ask.reservation_id in granted_before:  # the commit was not heard of
            replies[ask.reservation_id] = ReserveReply(ReserveOutcome.GRANTED)
            continue
        moment = locked[ask.job_id].moment
        reply = replies[ask.reservation_id] = _judge(ask, wanted[ask.reservation_id], books, moment)
        if reply.outcome is ReserveOutcome.GRANTED:
            keys = [account.key for _, account in wanted[ask.reservation_id]]
            books.add(keys, reserved_usd=ask.amount_usd)
            rows.append(_reservation_values(ask, keys, moment))
    if rows:
        await connection.execute(sa.insert(BudgetReservation), rows)
    await books.write(connection)
    return replies


def _judge(ask: ReserveAsk, wanted: Sequence[tuple[Limit, Account]], books: _Books, moment: datetime) -> ReserveReply:
    """Return whether the ask fits; else the budget that refuses it, before one that may do so only for now."""
    standing = [_state_of(limit, books.rows[account.key], ask.amount_usd, moment) for limit, account in wanted]
    in_the_way = [state for state in standing if not state.fits]
    refusing = next((state for state in in_the_way if not state.may_fit_later), None)
    if refusing is not None:
        return ReserveReply(ReserveOutcome.REFUSED, refusing)
    if in_the_way:
        return ReserveReply(ReserveOutcome.BUSY, in_the_way[0])
    return ReserveReply(ReserveOutcome.GRANTED)


def _state_of(limit: Limit, row: Mapping[str, Any], asked_usd: Decimal, moment: datetime) -> BudgetState:
    period = limit.scope.period
    return BudgetState(
        scope=limit.scope,
        owner=limit.owner,
        limit_usd=limit.limit_usd,
        spent_usd=row["spent_usd"],
        reserved_usd=row["reserved_usd"],
        unconfirmed_usd=row["unconfirmed_usd"],
        asked_usd=asked_usd,
        resets_at=None if period is None else to_iso(period.end_at(moment)),
    )


def _reservation_values(ask: ReserveAsk, keys: Sequence[str], moment: datetime) -> dict[str, Any]:
    return {
        "id": ask.reservation_id,
        "job_id": ask.job_id,
        "path": ask.path,
        "call": ask.call,
        "fence": ask.fence,
        "state": ReservationState.OPEN,
        "amount_usd": ask.amount_usd,
        "accounts": dumps(list(keys)),
        "created_at": moment,
    }


async def _make_accounts(database: Database, accounts: Sequence[Account]) -> None:
    """Make accounts that are not there, each with what was spent already: before anybody limited it, or by a fork."""
    async with database.transaction() as connection:
        moment = (await connection.execute(sa.select(utc_now()))).scalar_one()
        rows = [
            {
                "key": account.key,
                "scope": account.scope,
                "tenant_id": account.tenant_id,
                "subject": account.subject,
                "period": account.period,
                "job_id": UUID(account.subject) if account.scope is BudgetScope.JOB else None,
                "spent_usd": await sum_spent(connection, account),
                "reserved_usd": NOTHING,
                "unconfirmed_usd": NOTHING,
                "created_at": moment,
            }
            for account in accounts
        ]
        await connection.execute(database.insert(BudgetAccount).on_conflict_do_nothing(index_elements=["key"]), rows)


async def sum_spent(connection: AsyncConnection, account: Account) -> Decimal:
    """Return what the usage rows say was spent of an account."""
    query = sa.select(sa.func.sum(ProviderUsage.cost_usd))
    if account.scope is BudgetScope.JOB:
        query = query.where(ProviderUsage.job_id == UUID(account.subject))
    else:
        period = account.scope.period
        assert period is not None
        begin = period.begin_of(account.period)
        query = query.where(
            ProviderUsage.tenant_id == account.tenant_id,
            ProviderUsage.created_at >= begin,
            ProviderUsage.created_at < period.end_at(begin),
        )
        if account.scope.is_of_user:
            query = query.where(ProviderUsage.user_id == account.subject)
    return await connection.scalar(query) or NOTHING


async def _load_reservations(connection: AsyncConnection, condition: sa.ColumnElement[bool]) -> dict[UUID, Any]:
    columns = (
        BudgetReservation.id,
        BudgetReservation.job_id,
        BudgetReservation.state,
        BudgetReservation.amount_usd,
        BudgetReservation.accounts,
    )
    return {row.id: row for row in await connection.execute(sa.select(*columns).where(condition))}


@dataclass(slots=True)
class _Settled:
    """What settlements of one transaction change beside the accounts."""

    deleted: list[UUID] = field(default_factory=list)
    unconfirmed: list[UUID] = field(default_factory=list)
    unconfirmed_by_job: dict[UUID, Decimal] = field(default_factory=lambda: defaultdict(lambda: NOTHING))


async def _settle(
    connection: AsyncConnection, rows: dict[UUID, Any], settlements: Sequence[Settlement]
) -> dict[UUID, Decimal]:
    """Settle the reservations of `rows` and return what that added to the `unconfirmed_usd` of each job."""
    if not rows:
        return {}
    keys = {key: loads(row.accounts) for key, row in rows.items()}
    books = await _Books.open(connection, (account for each in keys.values() for account in each))
    settled = _Settled()
    for settlement in settlements:
        row = rows.pop(settlement.reservation_id, None)  # each is settled once
        if row is not None:
            _settle_one(settlement, row, keys[row.id], books, settled)
    await books.write(connection)
    await _write_settled(connection, settled)
    return dict(settled.unconfirmed_by_job)


def _settle_one(settlement: Settlement, row: Any, keys: Sequence[str], books: _Books, settled: _Settled) -> None:
    is_open = row.state == ReservationState.OPEN
    if settlement.kind is SettlementKind.UNCONFIRMED:
        if is_open:
            books.add(keys, reserved_usd=-row.amount_usd, unconfirmed_usd=row.amount_usd)
            settled.unconfirmed_by_job[row.job_id] += row.amount_usd
            settled.unconfirmed.append(row.id)
        return
    if is_open:
        books.add(keys, reserved_usd=-row.amount_usd, spent_usd=settlement.cost_usd)
    else:  # it was given up for lost, and whoever made the call tells now what became of it
        books.add(keys, unconfirmed_usd=-row.amount_usd, spent_usd=settlement.cost_usd)
        settled.unconfirmed_by_job[row.job_id] -= row.amount_usd
    settled.deleted.append(row.id)


async def _write_settled(connection: AsyncConnection, settled: _Settled) -> None:
    if settled.deleted:
        await connection.execute(
            sa.delete(BudgetReservation).where(one_of(connection, BudgetReservation.id, settled.deleted))
        )
    if settled.unconfirmed:
        await connection.execute(
            sa.update(BudgetReservation)
            .where(one_of(connection, BudgetReservation.id, settled.unconfirmed))
            .values(state=ReservationState.UNCONFIRMED)
        )
    jobs = Job.__table__
    assert isinstance(jobs, sa.Table)  # a mapped class may stand for less, says its type
    for job_id, amount in sorted(settled.unconfirmed_by_job.items()):
        if amount:
            await connection.execute(
                sa.update(jobs).where(jobs.c.id == job_id).values(unconfirmed_usd=jobs.c.unconfirmed_usd + amount)
            )
