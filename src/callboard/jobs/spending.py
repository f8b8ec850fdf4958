"""The rules of limits and spending: who may set what, and what callers are told. Called by `spending_router.py`."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from callboard.accounts.caller import Caller
from callboard.accounts.errors import OtherTenantError
from callboard.core.database import Database, ReadSession
from callboard.core.errors import ForbiddenError
from callboard.core.repository import TenantScope
from callboard.jobs.budget_scopes import Account, BudgetScope, Period, Spending
from callboard.jobs.errors import LimitNotFoundError
from callboard.jobs.repository.budgets import sum_spent
from callboard.jobs.repository.spending import (
    LimitRow,
    delete_limit,
    list_accounts,
    list_limits,
    put_limit,
    read_account,
    read_moment,
)
from callboard.jobs.spending_limits import SpendingLimits


class SpendingService:
    """What users and tenants may spend, within the caller's tenant."""

    def __init__(self, database: Database, *, limits: SpendingLimits) -> None:
        self._database = database
        self._limits = limits

    async def list_limits(self, caller: Caller, *, tenant_id: str | None, user_id: str | None) -> Sequence[LimitRow]:
        """Return the limits that were set, of one tenant or user where one is named. Raises: OtherTenantError."""
        _refuse_bound_key(caller)
        async with self._database.reads() as session:
            return await list_limits(session, _scope_of(caller, tenant_id), user_id=user_id)

    async def put_limit(
        self, caller: Caller, *, tenant_id: str | None, user_id: str | None, period: Period, limit_usd: Decimal | None
    ) -> LimitRow:
        """Set a limit and return it; it applies to the next call of everybody whom it limits.

        Raises: OtherTenantError; ForbiddenError, when a tenant's own admin would set the limit of the tenant.
        """
        limit = LimitRow(
            tenant_id=_tenant_to_change(caller, tenant_id, user_id),
            user_id=user_id or "",
            period=period,
            limit_usd=limit_usd,
        )
        await put_limit(self._database, limit)
        await self._limits.refresh()
        return limit

    async def delete_limit(self, caller: Caller, *, tenant_id: str | None, user_id: str | None, period: Period) -> None:
        """Take a limit away, so that the settings' one applies. Raises: as `put_limit`; LimitNotFoundError."""
        tenant_id = _tenant_to_change(caller, tenant_id, user_id)
        if not await delete_limit(self._database, tenant_id, user_id or "", period):
            whose = f'user "{user_id}" of tenant "{tenant_id}"' if user_id else f'tenant "{tenant_id}"'
            raise LimitNotFoundError(f"Nobody has set a limit for a {period} for {whose}.")
        await self._limits.refresh()

    async def list_spending(
        self, caller: Caller, *, period: Period, tenant_id: str | None, user_id: str | None, limit: int
    ) -> list[Spending]:
        """Return what those whose spending is limited have spent in this day or month, the dearest first."""
        _refuse_bound_key(caller)
        await self._limits.refresh()
        async with self._database.reads() as session:
            moment = await read_moment(session)
            rows = await list_accounts(
                session,
                _scope_of(caller, tenant_id),
                period=period,
                moment=moment,
                user_id=user_id,
                limit=limit,
            )
        return [
            Spending(
                account=Account(
                    scope=BudgetScope(row.scope), tenant_id=row.tenant_id, subject=row.subject, period=row.period
                ),
                limit_usd=self._limit_of(BudgetScope(row.scope), row.tenant_id, row.subject),
                spent_usd=row.spent_usd,
                reserved_usd=row.reserved_usd,
                unconfirmed_usd=row.unconfirmed_usd,
                resets_at=period.end_at(moment),
            )
            for row in rows
        ]

    async def read_own(self, caller: Caller, user_id: str | None) -> list[Spending]:
        """Return what a user (without one: the caller's tenant) has spent today and this month, and may spend.

        Raises: ForbiddenError, when a key that is bound to a user names another.
        """
        user_id = caller.acting_for(user_id)
        await self._limits.refresh()
        async with self._database.reads() as session:
            moment = await read_moment(session)
            return [
                await self._read(session, scope, caller.tenant_id, user_id or "", moment)
                for scope in BudgetScope
                if scope.period is not None and scope.is_of_user == bool(user_id)
            ]

    async def _read(
        self, session: ReadSession, scope: BudgetScope, tenant_id: str, subject: str, moment: datetime
    ) -> Spending:
        period = scope.period
        assert period is not None
        account = Account(scope=scope, tenant_id=tenant_id, subject=subject, period=period.name_at(moment))
        limit_usd = self._limit_of(scope, tenant_id, subject)
        if limit_usd is None:  # an account counts only while a limit applies
            spent, reserved, unconfirmed = await sum_spent(await session.connection(), account), Decimal(0), Decimal(0)
        else:
            spent, reserved, unconfirmed = await read_account(session, account)
        return Spending(
            account=account,
            limit_usd=limit_usd,
            spent_usd=spent,
            reserved_usd=reserved,
            unconfirmed_usd=unconfirmed,
            resets_at=period.end_at(moment),
        )

    def _limit_of(self, scope: BudgetScope, tenant_id: str, subject: str) -> Decimal | None:
        limits = self._limits.of(tenant_id, subject or None)
        return next((limit.limit_usd for limit in limits if limit.scope is scope), None)


def _scope_of(caller: Caller, tenant_id: str | None) -> TenantScope:
    if caller.tenant.tenant_id not in {None, tenant_id or caller.tenant.tenant_id}:
        raise OtherTenantError
    return caller.tenant if tenant_id is None else TenantScope(tenant_id)


def _tenant_to_change(caller: Caller, tenant_id: str | None, user_id: str | None) -> str:
    """Return whose limit is changed, when the caller may: a tenant does not raise its own."""
    _refuse_bound_key(caller)
    wanted = tenant_id or caller.tenant_id
    if caller.tenant.tenant_id not in {None, wanted}:
        raise OtherTenantError
    if user_id is None and caller.tenant.tenant_id is not None:
        raise ForbiddenError("The limit of a tenant is set with the operator's key; this one may limit its users.")
    return wanted


def _refuse_bound_key(caller: Caller) -> None:
    if caller.user_id is not None:
        raise ForbiddenError(f"This key is bound to the user {caller.user_id}; limits are set with a key that is not.")
