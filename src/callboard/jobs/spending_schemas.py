"""What requests and answers about limits and spending look like."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from callboard.core.database import MONEY_DECIMALS
from callboard.core.storable_text import StorableText
from callboard.jobs.budget_scopes import Spending
from callboard.jobs.costs import shown_usd
from callboard.jobs.repository.spending import LimitRow
from callboard.jobs.schemas import UsdAmount, UtcTime
from callboard.workflows.call_budgets import MAX_BUDGET_USD

_LIMIT_EXAMPLE: JsonDict = {"tenant_id": "default", "user_id": "user-17", "period": "day", "limit_usd": 0.5}
_DAY_EXAMPLE: JsonDict = {
    "tenant_id": "default",
    "user_id": "user-17",
    "period": "2026-11-28",
    "limit_usd": 0.5,
    "spent_usd": 0.41,
    "reserved_usd": 0.012,
    "unconfirmed_usd": 0,
    "left_usd": 0.078,
    "resets_at": "2026-11-29T00:00:00Z",
}
_MONTH_EXAMPLE: JsonDict = {
    **_DAY_EXAMPLE,
    "period": "2026-11",
    "limit_usd": None,
    "spent_usd": 6.4,
    "reserved_usd": 0,
    "left_usd": None,
    "resets_at": "2026-12-01T00:00:00Z",
}
PeriodName = Literal["day", "month"]
TENANT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


class LimitPut(BaseModel):
    """A limit to set."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"user_id": "user-17", "period": "day", "limit_usd": 0.5}]},
    )

    tenant_id: str | None = Field(
        None, pattern=TENANT_PATTERN, description="Default: your own. Others need the operator's key."
    )
    user_id: StorableText | None = Field(
        None, min_length=1, max_length=255, description="Whose jobs; left out, all jobs of the tenant together."
    )
    period: PeriodName = Field(description="A day or a month, UTC.")
    limit_usd: UsdAmount | None = Field(
        ge=0,
        le=MAX_BUDGET_USD,
        decimal_places=MONEY_DECIMALS,
        description="US dollars, to 12 decimals; 0 forbids every call that costs, null lifts the settings' limit.",
    )


class LimitRead(BaseModel):
    """A limit that was set."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LIMIT_EXAMPLE]})

    tenant_id: str
    user_id: str | None
    period: PeriodName
    limit_usd: float | None

    @classmethod
    def of(cls, limit: LimitRow) -> "LimitRead":
        return cls(
            tenant_id=limit.tenant_id,
            user_id=limit.user_id or None,
            period=limit.period.value,
            limit_usd=_shown(limit.limit_usd),
        )


class LimitList(BaseModel):
    """The limits that were set; what the settings say applies to all others."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_LIMIT_EXAMPLE]}]})

    items: list[LimitRead]


class SpendingRead(BaseModel):
    """What a user or a tenant has spent in a day or a month, and may spend."""

    tenant_id: str
    user_id: str | None = Field(description="null: all jobs of the tenant together.")
    period: str = Field(description="The day, such as 2026-11-28, or the month, such as 2026-11. UTC.")
    limit_usd: float | None = Field(description="null: no limit.")
    spent_usd: float
    reserved_usd: float = Field(description="What calls that are under way can cost at most.")
    unconfirmed_usd: float = Field(
        description="What calls could have cost of which nobody knows whether they were paid; counts as spent."
    )
    left_usd: float | None = Field(description="What the next call may cost at most; null: anything.")
    resets_at: UtcTime = Field(description="When the next day or month begins.")

    @classmethod
    def of(cls, spending: Spending) -> "SpendingRead":
        return cls(
            tenant_id=spending.account.tenant_id,
            user_id=spending.account.subject or None,
            period=spending.account.period,
            limit_usd=_shown(spending.limit_usd),
            spent_usd=shown_usd(spending.spent_usd),
            reserved_usd=shown_usd(spending.reserved_usd),
            unconfirmed_usd=shown_usd(spending.unconfirmed_usd),
            left_usd=_shown(spending.left_usd),
            resets_at=spending.resets_at,
        )


class SpendingList(BaseModel):
    """Spending of this day or month, the dearest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_DAY_EXAMPLE]}]})

    items: list[SpendingRead]


class BudgetRead(BaseModel):
    """What one user, or a tenant, has spent and may spend: today and this month."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day": _DAY_EXAMPLE, "month": _MONTH_EXAMPLE}]})

    day: SpendingRead
    month: SpendingRead


def _shown(amount: Decimal | None) -> float | None:
    return None if amount is None else shown_usd(amount)
