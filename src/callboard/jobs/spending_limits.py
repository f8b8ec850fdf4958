"""The limits of users and tenants as this process knows them: those of the settings, and the rows over them.

`budgets.py` asks before every call, so it is a look into memory. `sweeper.py` has them read again every few
seconds, and `spending.py` at once when they change here: a limit set today acts today, everywhere.
"""

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from callboard.core.config import Settings
from callboard.core.database import Database
from callboard.jobs.budget_scopes import BudgetScope, Limit
from callboard.jobs.repository.spending import LimitRow, LimitsMark, load_limits, read_mark


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultLimits:
    """What every user and every tenant may spend where no row says else, in US dollars; None: anything."""

    user_day: Decimal | None = None
    user_month: Decimal | None = None
    tenant_day: Decimal | None = None
    tenant_month: Decimal | None = None

    @classmethod
    def of(cls, settings: Settings) -> "DefaultLimits":
        return cls(
            user_day=settings.daily_budget_usd_per_user,
            user_month=settings.monthly_budget_usd_per_user,
            tenant_day=settings.daily_budget_usd_per_tenant,
            tenant_month=settings.monthly_budget_usd_per_tenant,
        )

    def of_scope(self, scope: BudgetScope) -> Decimal | None:
        """Return the limit of `scope`, which is not a job's."""
        limit: Decimal | None = getattr(self, scope.value)
        return limit


class SpendingLimits:
    """The limits of one process. Nothing is known before the first `refresh`."""

    def __init__(self, database: Database, defaults: DefaultLimits) -> None:
        self._database = database
        self._defaults = defaults
        self._rows: dict[tuple[BudgetScope, str, str], Decimal | None] = {}
        self._mark: LimitsMark | None = None
        self._known = asyncio.Event()

    @property
    def is_known(self) -> bool:
        return self._known.is_set()

    async def known(self) -> None:
        """Return when the limits have been read: before that, no call may pass for one that nothing limits."""
        await self._known.wait()

    async def refresh(self) -> None:
        """Read the limits again if they have changed. Raises: what the database raises; the old ones stay then."""
        mark = await read_mark(self._database)
        if mark == self._mark:
            return
        rows = await load_limits(self._database)
        self._rows = {_key_of(row): row.limit_usd for row in rows}
        self._mark = mark
        self._known.set()

    def of(self, tenant_id: str, user_id: str | None) -> tuple[Limit, ...]:
        """Return what limits the calls of a user's jobs (None: of nobody's) in a tenant."""
        found = []
        for scope in BudgetScope:
            if scope is BudgetScope.JOB or (scope.is_of_user and not user_id):
                continue
            subject = (user_id or "") if scope.is_of_user else ""
            limit_usd = self._rows.get((scope, tenant_id, subject), self._defaults.of_scope(scope))
            if limit_usd is not None:
                found.append(Limit(scope=scope, tenant_id=tenant_id, subject=subject, limit_usd=limit_usd))
        return tuple(found)


def _key_of(row: LimitRow) -> tuple[BudgetScope, str, str]:
    return row.scope, row.tenant_id, row.user_id
