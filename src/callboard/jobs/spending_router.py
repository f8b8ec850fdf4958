"""`/admin/limits`, `/admin/spending` and `/budget`. Every operation calls one method of `spending.py`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, status

from callboard.accounts.auth import require
from callboard.accounts.caller import Caller
from callboard.core.pagination import DEFAULT_LIMIT, MAX_LIMIT
from callboard.core.problems import BODY_PROBLEMS, problem_responses
from callboard.core.storable_text import StorableText
from callboard.jobs.budget_scopes import Period
from callboard.jobs.dependencies import Spending
from callboard.jobs.spending_schemas import (
    TENANT_PATTERN,
    BudgetRead,
    LimitList,
    LimitPut,
    LimitRead,
    PeriodName,
    SpendingList,
    SpendingRead,
)

router = APIRouter(prefix="/api/v1", tags=["money"])

Admin = Annotated[Caller, Depends(require("admin"))]
Reader = Annotated[Caller, Depends(require("jobs:read"))]
TenantId = Annotated[
    str | None, Query(pattern=TENANT_PATTERN, description="Others than your own need the operator's key.")
]
UserId = Annotated[StorableText | None, Query(min_length=1, max_length=255, description="Only this user.")]


@router.get("/admin/limits", summary="List spending limits", responses=problem_responses(401, 403, 422, 503))
async def list_limits(
    caller: Admin, spending: Spending, tenant_id: TenantId = None, user_id: UserId = None
) -> LimitList:
    """List the limits that were set. What the settings say applies to all others."""
    limits = await spending.list_limits(caller, tenant_id=tenant_id, user_id=user_id)
    return LimitList(items=[LimitRead.of(limit) for limit in limits])


@router.put("/admin/limits", summary="Set a spending limit", responses=problem_responses(401, 403, 503, *BODY_PROBLEMS))
async def put_limit(body: LimitPut, caller: Admin, spending: Spending) -> LimitRead:
    """Set what a user, or a whole tenant, may spend in a day or a month. It counts what was spent in it before.

    Every worker knows it within 10 s.
    """
    limit = await spending.put_limit(
        caller,
        tenant_id=body.tenant_id,
        user_id=body.user_id,
        period=Period(body.period),
        limit_usd=body.limit_usd,
    )
    return LimitRead.of(limit)


@router.delete(
    "/admin/limits",
    status_code=status.HTTP_204_NO_CONTENT,
    summary="Take a spending limit away",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def delete_limit(
    caller: Admin,
    spending: Spending,
    period: Annotated[PeriodName, Query(description="Of a day or of a month.")],
    tenant_id: TenantId = None,
    user_id: UserId = None,
) -> None:
    """Take a limit away, so that what the settings say applies. Without `user_id` it is that of the tenant."""
    await spending.delete_limit(caller, tenant_id=tenant_id, user_id=user_id, period=Period(period))


@router.get("/admin/spending", summary="List what was spent", responses=problem_responses(401, 403, 422, 503))
async def list_spending(
    caller: Admin,
    spending: Spending,
    period: Annotated[PeriodName, Query(description="Today, or this month (UTC).")] = "day",
    tenant_id: TenantId = None,
    user_id: UserId = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Entries, the dearest first.")] = DEFAULT_LIMIT,
) -> SpendingList:
    """List what users and tenants have spent today or this month, who have called something under a limit."""
    found = await spending.list_spending(
        caller, period=Period(period), tenant_id=tenant_id, user_id=user_id, limit=limit
    )
    return SpendingList(items=[SpendingRead.of(each) for each in found])


@router.get("/budget", summary="Ask what is left", responses=problem_responses(401, 403, 422, 503))
async def read_budget(caller: Reader, spending: Spending, user_id: UserId = None) -> BudgetRead:
    """Return what a user may spend and has spent, today and this month (UTC); without `user_id`, your tenant."""
    day, month = await spending.read_own(caller, user_id)
    return BudgetRead(day=SpendingRead.of(day), month=SpendingRead.of(month))
