"""Limits of users and tenants as rows, and what their accounts hold. `spending_limits.py` and `spending.py` call it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.database import Database, ReadSession, utc_now
from callboard.core.repository import TenantScope
from callboard.jobs.budget_scopes import Account, BudgetScope, Period
from callboard.jobs.models import BudgetAccount, SpendingLimit
from callboard.jobs.repository.budgets import sum_spent

KEEP_ACCOUNTS = timedelta(days=400)  # of days and months: a year of them can be compared


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow:
    """A limit that somebody set. `user_id` is "" for the tenant itself; `limit_usd` None lifts the settings' limit."""

    tenant_id: str
    user_id: str
    period: Period
    limit_usd: Decimal | None

    @property
    def scope(self) -> BudgetScope:
        return BudgetScope(f"{'user' if self.user_id else 'tenant'}_{self.period}")


@dataclass(frozen=True, slots=True)
class LimitsMark:
    """What tells whether limits have changed since they were read."""

    count: int
    updated_at: datetime | None


async def read_mark(database: Database) -> LimitsMark:
    """Return the mark of the limits as they are now."""
    async with database.reads() as session:
        count, updated_at = (
            await session.execute(sa.select(sa.func.count(), sa.func.max(SpendingLimit.updated_at)))
        ).one()
    return LimitsMark(count, updated_at)


async def load_limits(database: Database) -> list[LimitRow]:
    """Return every limit that somebody set, over all tenants."""
    async with database.reads() as session:
        return await list_limits(session, TenantScope.every_tenant())


async def list_limits(session: ReadSession, scope: TenantScope, *, user_id: str | None = None) -> list[LimitRow]:
    """Return the limits of a tenant (of one user, if given), by tenant, user and period."""
    query = sa.select(SpendingLimit).order_by(SpendingLimit.tenant_id, SpendingLimit.user_id, SpendingLimit.period)
    if scope.tenant_id is not None:
        query = query.where(SpendingLimit.tenant_id == scope.tenant_id)
    if user_id is not None:
        query = query.where(SpendingLimit.user_id == user_id)
    return [
        LimitRow(tenant_id=row.tenant_id, user_id=row.user_id, period=Period(row.period), limit_usd=row.limit_usd)
        for row in await session.scalars(query)
    ]


async def put_limit(database: Database, limit: LimitRow) -> None:
    """Set a limit, or change it; from now on it counts what was spent since its period began.

    What was spent while no limit applied stands in usage rows alone. An account that was in use before is set right
    under its lock: whoever settles a call meanwhile waits, and adds to the sum.
    """
    async with database.transaction() as connection:
        moment = (await connection.execute(sa.select(utc_now()))).scalar_one()
        given = {"limit_usd": limit.limit_usd, "updated_at": moment}
        row = {"tenant_id": limit.tenant_id, "user_id": limit.user_id, "period": limit.period, **given}
        await connection.execute(
            database.insert(SpendingLimit)
            .values(row)
            .on_conflict_do_update(index_elements=["tenant_id", "user_id", "period"], set_=given)
        )
        await _count_anew(connection, limit, moment)


async def delete_limit(database: Database, tenant_id: str, user_id: str, period: Period) -> bool:
    """Take a limit away, so that the settings' one applies; return whether there was one."""
    statement = sa.delete(SpendingLimit).where(
        SpendingLimit.tenant_id == tenant_id, SpendingLimit.user_id == user_id, SpendingLimit.period == period
    )
    async with database.transaction() as connection:
        return (await connection.execute(statement)).rowcount > 0


async def list_accounts(
    session: ReadSession, scope: TenantScope, *, period: Period, moment: datetime, user_id: str | None, limit: int
) -> Sequence[BudgetAccount]:
    """Return the accounts of the day or month of `moment`, the dearest first: users' and tenants' own."""
    scopes = [each for each in BudgetScope if each.period is period]
    query = (
        sa.select(BudgetAccount)
        .where(BudgetAccount.scope.in_(scopes), BudgetAccount.period == period.name_at(moment))
        .order_by((BudgetAccount.spent_usd + BudgetAccount.unconfirmed_usd).desc(), BudgetAccount.key)
        .limit(limit)
    )
    if scope.tenant_id is not None:
        query = query.where(BudgetAccount.tenant_id == scope.tenant_id)
    if user_id is not None:
        query = query.where(BudgetAccount.subject == user_id)
    return (await session.scalars(query)).all()


async def read_account(session: ReadSession, account: Account) -> tuple[Decimal, Decimal, Decimal]:
    """Return what was spent, is reserved and is unconfirmed; by the usage rows where there is no account yet."""
    row = await session.get(BudgetAccount, account.key)
    if row is not None:
        return row.spent_usd, row.reserved_usd, row.unconfirmed_usd
    return await sum_spent(await session.connection(), account), Decimal(0), Decimal(0)


async def read_moment(session: ReadSession) -> datetime:
    """Return the database's time, by which days and months begin."""
    moment: datetime = (await session.execute(sa.select(utc_now()))).scalar_one()
    return moment


async def delete_old_accounts(connection: AsyncConnection, *, before: datetime) -> None:
    """Delete accounts of days and months that began before."""
    await connection.execute(
        sa.delete(BudgetAccount).where(BudgetAccount.job_id.is_(None), BudgetAccount.created_at < before)
    )


async def _count_anew(connection: AsyncConnection, limit: LimitRow, moment: datetime) -> None:
    account = Account(
        scope=limit.scope,
        tenant_id=limit.tenant_id,
        subject=limit.user_id,
        period=limit.period.name_at(moment),
    )
    held: Any = await connection.scalar(
        sa.select(BudgetAccount.key).where(BudgetAccount.key == account.key).with_for_update()
    )
    if held is not None:
        spent = await sum_spent(connection, account)
        await connection.execute(
            sa.update(BudgetAccount).where(BudgetAccount.key == account.key).values(spent_usd=spent)
        )
