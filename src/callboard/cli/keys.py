"""`callboard keys`: API keys, directly in the database, so that the first one needs no server and no key."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import ValidationError
from rich.text import Text

from callboard.accounts.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyPage, ApiKeyRead
from callboard.accounts.scopes import KeyScope
from callboard.accounts.service import ApiKeyService
from callboard.cli.database_access import run_on_database
from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.formats import clean, format_time
from callboard.cli.job_views import new_table
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.core.config import load_settings
from callboard.core.ids import DEFAULT_TENANT
from callboard.core.logging import configure_service_logging
from callboard.core.pagination import MAX_LIMIT, PageRequest, decode_cursor
from callboard.core.repository import TenantScope
from callboard.wiring import build_services

Answer = TypeVar("Answer")

TenantFilter = Annotated[str | None, typer.Option("--tenant", help="Only keys of this tenant.")]

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Make, list and revoke API keys, directly in the database."
)


@app.command(
    epilog="Examples:\n\ncallboard keys create 'shop backend'\n\n"
    "callboard keys create ops --scope admin\n\n"
    "callboard keys create 'Ada only' --scope jobs:read --user-id ada --json"
)
def create(
    name: Annotated[str, typer.Argument(help="What the key is for, for people.", show_default=False)],
    scopes: Annotated[
        list[KeyScope], typer.Option("--scope", help="What the key may do; give it more than once for several.")
    ] = [KeyScope.JOBS_READ, KeyScope.JOBS_WRITE],  # noqa: B006 - typer reads it, nothing changes it
    tenant: Annotated[str, typer.Option(help="Tenant whose data the key reaches.")] = DEFAULT_TENANT,
    user_id: Annotated[str | None, typer.Option(help="Bind the key to this user's jobs alone.")] = None,
    is_json: JsonOption = False,
) -> None:
    """Make an API key and show it, this once: only its hash is stored."""
    output = open_output(is_json=is_json)
    with reporting(output):
        wanted = _checked(name, scopes, tenant, user_id)

    async def work(keys: ApiKeyService) -> ApiKeyCreated:
        new = await keys.create(wanted.name, wanted.scopes, tenant_id=tenant, user_id=wanted.user_id)
        return ApiKeyCreated.of_new(new.row, new.key)

    created = run_on_database(output, _with_keys(work))
    if is_json:
        output.document(created.model_dump(mode="json"))
        return
    output.say(created.key)
    output.complain(f"Key {created.id} ({' '.join(created.scopes)}). It is shown this once; keep it safe.")


@app.command("list", epilog="Examples:\n\ncallboard keys list\n\ncallboard keys list --tenant acme --json")
def list_keys(
    tenant: TenantFilter = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="Keys to list.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the next page begins, from the page before.")] = None,
    is_json: JsonOption = False,
) -> None:
    """List the API keys, newest first, revoked ones too. The keys themselves cannot be shown."""
    output = open_output(is_json=is_json)

    async def work(keys: ApiKeyService) -> ApiKeyPage:
        after = decode_cursor(cursor) if cursor else None
        page = await keys.list_page(_scope(tenant), PageRequest(limit=limit, after=after))
        return ApiKeyPage(items=[ApiKeyRead.of(row) for row in page.items], next_cursor=page.next_cursor)

    page = run_on_database(output, _with_keys(work))
    if is_json:
        output.document(page.model_dump(mode="json"))
        return
    _show_keys(output, page)


@app.command(epilog="Examples:\n\ncallboard keys revoke KEY_ID")
def revoke(
    key_id: Annotated[UUID, typer.Argument(help="Id of the key, from `callboard keys list`.", show_default=False)],
    tenant: TenantFilter = None,
    is_json: JsonOption = False,
) -> None:
    """Make a key useless, for good. Running servers refuse it within two seconds."""
    output = open_output(is_json=is_json)

    async def work(keys: ApiKeyService) -> None:
        await keys.revoke(key_id, _scope(tenant))

    run_on_database(output, _with_keys(work))
    if is_json:
        output.document({"id": str(key_id), "revoked": True})
        return
    output.say(f"Key {key_id} is revoked.")


async def _with_keys(work: Callable[[ApiKeyService], Awaitable[Answer]]) -> Answer:
    settings = load_settings()
    configure_service_logging("cli", settings, level="WARNING")  # stdout is for the answer alone
    async with build_services(settings) as services:
        return await work(services.api_keys)


def _scope(tenant: str | None) -> TenantScope:
    return TenantScope.every_tenant() if tenant is None else TenantScope(tenant)


def _checked(name: str, scopes: list[KeyScope], tenant: str, user_id: str | None) -> ApiKeyCreate:
    """Return what the API would take for this key, by the same rules. Raises: CommandError."""
    try:
        return ApiKeyCreate(name=name, scopes=scopes, tenant_id=tenant, user_id=user_id)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in problem['loc']) or 'key'}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_url=False)
        ]
        raise CommandError("\n".join(lines), exit_code=ExitCode.USAGE, title="No such key can be made") from error


def _show_keys(output: Output, page: ApiKeyPage) -> None:
    table = new_table("id", "name", "begins", "scopes", "tenant", "user", "last used", "state", whole=("id",))
    for key in page.items:
        table.add_row(
            str(key.id),
            Text(clean(key.name)),
            Text(clean(key.prefix)),
            Text(" ".join(key.scopes)),
            Text(clean(key.tenant_id)),
            Text(clean(key.user_id or "")),
            format_time(key.last_used_at.isoformat() if key.last_used_at else None),
            Text("revoked", style="red") if key.revoked_at else Text("valid", style="green"),
        )
    output.say(table if page.items else "No keys in the database.")
    if page.next_cursor:
        output.say(f"More: --cursor {page.next_cursor}", style="dim")
