"""`callboard limits`: what users and tenants may spend, and have spent, directly in the database.

A Typer application, so that it can also stand below another command.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError
from rich.text import Text

from callboard.accounts.caller import Caller
from callboard.accounts.scopes import ALL_SCOPES
from callboard.cli.database_access import run_on_database
from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.formats import clean
from callboard.cli.job_views import new_table
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.core.config import load_settings
from callboard.core.ids import DEFAULT_TENANT
from callboard.core.logging import configure_service_logging
from callboard.core.pagination import MAX_LIMIT
from callboard.core.repository import TenantScope
from callboard.jobs.budget_scopes import Period
from callboard.jobs.spending import SpendingService
from callboard.jobs.spending_schemas import LimitList, LimitPut, LimitRead, SpendingList, SpendingRead
from callboard.wiring import build_services
from callboard.workflows.call_budgets import show_usd

Answer = TypeVar("Answer")

OPERATOR = Caller(
    tenant=TenantScope.every_tenant(), tenant_id=DEFAULT_TENANT, user_id=None, scopes=ALL_SCOPES, key_id="cli"
)
NO_LIMIT = "none"


class PeriodOption(StrEnum):
    """For how long a limit counts."""

    DAY = "day"
    MONTH = "month"


TenantFilter = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")]
UserFilter = Annotated[str | None, typer.Option("--user-id", help="Only this user's.")]
WhoseTenant = Annotated[str, typer.Option("--tenant", help="Whose limit, or whose user's.")]
WhoseUser = Annotated[
    str | None, typer.Option("--user-id", help="The user; left out, all jobs of the tenant together.")
]
PeriodChoice = Annotated[PeriodOption, typer.Option("--period", help="A day or a month, UTC.")]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Limit what users and tenants spend, and see what they have spent, directly in the database.",
)


@app.command("list", epilog="Examples:\n\ncallboard limits list\n\ncallboard limits list --tenant acme --json")
def list_limits(tenant: TenantFilter = None, user_id: UserFilter = None, is_json: JsonOption = False) -> None:
    """List the limits that were set. What the settings say applies to all others."""
    output = open_output(is_json=is_json)

    async def work(spending: SpendingService) -> LimitList:
        rows = await spending.list_limits(OPERATOR, tenant_id=tenant, user_id=user_id)
        return LimitList(items=[LimitRead.of(row) for row in rows])

    limits = run_on_database(output, _with_spending(work))
    if is_json:
        output.document(limits.model_dump(mode="json"))
        return
    table = new_table("tenant", "user", "period", "limit")
    for each in limits.items:
        table.add_row(Text(clean(each.tenant_id)), Text(clean(each.user_id or "")), each.period, _usd(each.limit_usd))
    output.say(table if limits.items else "No limits in the database; those of the settings apply.")


@app.command(
    "set",
    epilog="Examples:\n\ncallboard limits set 0.50 --user-id ada\n\n"
    "callboard limits set 100 --tenant acme --period month\n\ncallboard limits set none --user-id ada",
)
def set_limit(
    amount: Annotated[
        str, typer.Argument(help="US dollars; none lifts the limit of the settings.", show_default=False)
    ],
    tenant: WhoseTenant = DEFAULT_TENANT,
    user_id: WhoseUser = None,
    period: PeriodChoice = PeriodOption.DAY,
    is_json: JsonOption = False,
) -> None:
    """Set what a user, or a whole tenant, may spend. Workers know it within 10 s."""
    output = open_output(is_json=is_json)
    with reporting(output):
        wanted = _checked(amount, tenant, user_id, period)

    async def work(spending: SpendingService) -> LimitRead:
        row = await spending.put_limit(
            OPERATOR, tenant_id=tenant, user_id=user_id, period=Period(period.value), limit_usd=wanted.limit_usd
        )
        return LimitRead.of(row)

    limit = run_on_database(output, _with_spending(work))
    if is_json:
        output.document(limit.model_dump(mode="json"))
        return
    output.say(f"{_whose(tenant, user_id)} may spend {_usd(limit.limit_usd)} a {limit.period}.")


@app.command(
    epilog="Examples:\n\ncallboard limits remove --user-id ada\n\ncallboard limits remove --tenant acme --period month"
)
def remove(
    tenant: WhoseTenant = DEFAULT_TENANT,
    user_id: WhoseUser = None,
    period: PeriodChoice = PeriodOption.DAY,
    is_json: JsonOption = False,
) -> None:
    """Take a limit away, so that what the settings say applies."""
    output = open_output(is_json=is_json)

    async def work(spending: SpendingService) -> None:
        await spending.delete_limit(OPERATOR, tenant_id=tenant, user_id=user_id, period=Period(period.value))

    run_on_database(output, _with_spending(work))
    if is_json:
        output.document({"tenant_id": tenant, "user_id": user_id, "period": period.value, "removed": True})
        return
    output.say(f"{_whose(tenant, user_id)} has no limit of its own for a {period.value} any more.")


@app.command(
    epilog="Examples:\n\ncallboard limits spending\n\ncallboard limits spending --period month --tenant acme --json"
)
def spending(
    tenant: TenantFilter = None,
    user_id: UserFilter = None,
    period: PeriodChoice = PeriodOption.DAY,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="Entries, the dearest first.")] = 50,
    is_json: JsonOption = False,
) -> None:
    """List what users and tenants have spent today or this month, who have called something under a limit."""
    output = open_output(is_json=is_json)

    async def work(service: SpendingService) -> SpendingList:
        found = await service.list_spending(
            OPERATOR, period=Period(period.value), tenant_id=tenant, user_id=user_id, limit=limit
        )
        return SpendingList(items=[SpendingRead.of(each) for each in found])

    found = run_on_database(output, _with_spending(work))
    if is_json:
        output.document(found.model_dump(mode="json"))
        return
    _show_spending(output, found)


async def _with_spending(work: Callable[[SpendingService], Awaitable[Answer]]) -> Answer:
    settings = load_settings()
    configure_service_logging("cli", settings, level="WARNING")  # stdout is for the answer alone
    async with build_services(settings) as services:
        return await work(services.spending)


def _checked(amount: str, tenant: str, user_id: str | None, period: PeriodOption) -> LimitPut:
    """Return what the API would take for this limit, by the same rules. Raises: CommandError."""
    try:
        limit_usd = None if amount == NO_LIMIT else float(Decimal(amount))
        return LimitPut.model_validate(
            {"tenant_id": tenant, "user_id": user_id, "period": period.value, "limit_usd": limit_usd}
        )
    except InvalidOperation as error:
        message = f"{amount!r} is no number of US dollars, such as 0.50, and not none."
        raise CommandError(message, exit_code=ExitCode.USAGE, title="No such limit can be set") from error
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False)
        ]
        raise CommandError("\n".join(lines), exit_code=ExitCode.USAGE, title="No such limit can be set") from error


def _show_spending(output: Output, found: SpendingList) -> None:
    table = new_table("tenant", "user", "period", "limit", "spent", "reserved", "unconfirmed", "left")
    for each in found.items:
        table.add_row(
            Text(clean(each.tenant_id)),
            Text(clean(each.user_id or "")),
            each.period,
            _usd(each.limit_usd),
            _usd(each.spent_usd),
            _usd(each.reserved_usd),
            _usd(each.unconfirmed_usd),
            _usd(each.left_usd),
        )
    output.say(table if found.items else "Nobody has called anything under a limit in this period.")


def _usd(amount: float | None) -> str:
    return "any amount" if amount is None else show_usd(Decimal(str(amount)))


def _whose(tenant: str, user_id: str | None) -> str:
    return f'User "{clean(user_id)}" of tenant "{clean(tenant)}"' if user_id else f'Tenant "{clean(tenant)}"'
