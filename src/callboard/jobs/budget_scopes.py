"""Whose money a call takes: the budgets that may apply to it, and the accounts that they are counted in.

Days and months are UTC, by the database's clock. Pure; used by `budgets.py`, `spending.py` and the repository.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from callboard.core.json_values import dumps


class Period(StrEnum):
    """For how long a limit counts before it begins anew."""

    DAY = "day"
    MONTH = "month"

    def name_at(self, moment: datetime) -> str:
        """Return the period that `moment` lies in: a day as 2026-11-28, a month as 2026-11."""
        return moment.astimezone(UTC).strftime("%Y-%m-%d" if self is Period.DAY else "%Y-%m")

    def begin_of(self, name: str) -> datetime:
        """Return when the period of that name begins.

        >>> Period.MONTH.begin_of("2026-11").isoformat()
        '2026-11-01T00:00:00+00:00'
        """
        return datetime.strptime(name, "%Y-%m-%d" if self is Period.DAY else "%Y-%m").replace(tzinfo=UTC)

    def end_at(self, moment: datetime) -> datetime:
        """Return when the next period begins.

        >>> Period.MONTH.end_at(datetime(2026, 12, 31, 23, 59, tzinfo=UTC)).isoformat()
        '2027-01-01T00:00:00+00:00'
        """
        begin = self.begin_of(self.name_at(moment))
        if self is Period.DAY:
            return begin + timedelta(days=1)
        return begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)


class BudgetScope(StrEnum):
    """What a budget counts together."""

    JOB = "job"
    USER_DAY = "user_day"
    USER_MONTH = "user_month"
    TENANT_DAY = "tenant_day"
    TENANT_MONTH = "tenant_month"

    @property
    def period(self) -> Period | None:
        """The period of a limit; None for the budget of a job."""
        return None if self is BudgetScope.JOB else Period(self.value.partition("_")[2])

    @property
    def is_of_user(self) -> bool:
        return self in {BudgetScope.USER_DAY, BudgetScope.USER_MONTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What one limit counts in. `subject` is a job's id or a user's, "" for a tenant; `period` is "" for a job."""

    scope: BudgetScope
    tenant_id: str
    subject: str
    period: str

    @property
    def key(self) -> str:
        """The account's name in the database. JSON, since users' ids are anything."""
        return dumps([self.scope, self.tenant_id, self.subject, self.period])


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A budget that applies to a call."""

    scope: BudgetScope
    tenant_id: str
    subject: str
    limit_usd: Decimal

    @classmethod
    def of_job(cls, job_id: UUID, tenant_id: str, limit_usd: Decimal) -> "Limit":
        return cls(scope=BudgetScope.JOB, tenant_id=tenant_id, subject=str(job_id), limit_usd=limit_usd)

    def account_at(self, moment: datetime) -> Account:
        """Return the account that a call made at `moment` counts in."""
        period = self.scope.period
        return Account(
            scope=self.scope,
            tenant_id=self.tenant_id,
            subject=self.subject,
            period="" if period is None else period.name_at(moment),
        )

    @property
    def owner(self) -> str:
        """Whose budget it is, for messages."""
        match self.scope:
            case BudgetScope.JOB:
                return "the budget of this run"
            case BudgetScope.USER_DAY | BudgetScope.USER_MONTH:
                return f'the limit of user "{self.subject}" for a {self.scope.period}'
            case _:
                return f'the limit of tenant "{self.tenant_id}" for a {self.scope.period}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a user or a tenant has spent in a day or a month, and may spend (None: anything).

    `reserved_usd` is what calls under way can cost at most; `unconfirmed_usd` that of calls of which nobody knows
    whether they were paid, and counts as spent.
    """

    account: Account
    limit_usd: Decimal | None
    spent_usd: Decimal
    reserved_usd: Decimal
    unconfirmed_usd: Decimal
    resets_at: datetime

    @property
    def left_usd(self) -> Decimal | None:
        """What a call may cost now; None: anything."""
        if self.limit_usd is None:
            return None
        return max(Decimal(0), self.limit_usd - self.spent_usd - self.reserved_usd - self.unconfirmed_usd)
