"""`callboard db`: the database's tables, by the steps in `migrations/versions`. Works without a server."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from callboard.cli.confirming import make_sure
from callboard.cli.database_access import run_on_database
from callboard.cli.exits import ExitCode
from callboard.cli.failures import reporting
from callboard.cli.options import JsonOption, YesOption
from callboard.cli.output import Output, open_output
from callboard.core import migrations
from callboard.core.config import load_settings
from callboard.core.database import Database

Answer = TypeVar("Answer")

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Bring the database up to date, or back.")


@app.command(epilog="Examples:\n\ncallboard db upgrade\n\nDATABASE_URL=postgresql://... callboard db upgrade")
def upgrade(
    revision: Annotated[str, typer.Argument(help="Revision to stop at.")] = "head", is_json: JsonOption = False
) -> None:
    """Bring the database up to what this version of Callboard needs. Doing it again changes nothing."""
    output = open_output(is_json=is_json)

    async def work(database: Database) -> tuple[str | None, str | None]:
        before = await migrations.current(database)
        await migrations.upgrade(database, revision)
        return before, await migrations.current(database)

    before, after = run_on_database(output, _with_database(work))
    _show_move(output, before, after)


@app.command(epilog="Examples:\n\ncallboard db downgrade 0001\n\ncallboard db downgrade base --yes")
def downgrade(
    revision: Annotated[str, typer.Argument(help="Revision to go back to; base drops every table of ours.")],
    is_sure: YesOption = False,
    is_json: JsonOption = False,
) -> None:
    """Take the database back to an earlier revision. What later revisions kept is lost."""
    output = open_output(is_json=is_json)
    with reporting(output):
        make_sure(
            output,
            "This may drop tables with their rows",
            f"Go back to {revision}? What later revisions kept is lost.",
            is_sure=is_sure,
        )

    async def work(database: Database) -> tuple[str | None, str | None]:
        before = await migrations.current(database)
        await migrations.downgrade(database, revision)
        return before, await migrations.current(database)

    before, after = run_on_database(output, _with_database(work))
    _show_move(output, before, after)


@app.command(epilog="Examples:\n\ncallboard db current\n\ncallboard db current --json")
def current(is_json: JsonOption = False) -> None:
    """Show which revision the database is at and which one this version needs.

    The exit code is 1 when they differ.
    """
    output = open_output(is_json=is_json)
    revision = run_on_database(output, _with_database(migrations.current))
    needed = migrations.head()
    if is_json:
        output.document({"current": revision, "needed": needed, "is_current": revision == needed})
    elif revision == needed:
        output.say(f"The database is at {revision}, as needed.")
    else:
        output.say(f"The database is at {revision or 'no revision'}; {needed} is needed: callboard db upgrade")
    raise typer.Exit(ExitCode.OK if revision == needed else ExitCode.FAILED)


async def _with_database(work: Callable[[Database], Awaitable[Answer]]) -> Answer:
    settings = load_settings()
    database = Database(
        settings.resolved_database_url,
        schema=settings.database_schema,
        pool_size=settings.database_pool_size,
        is_behind_pooler=settings.is_behind_pooler,
    )
    try:
        return await work(database)
    finally:
        await database.close()


def _show_move(output: Output, before: str | None, after: str | None) -> None:
    if output.is_json:
        output.document({"before": before, "current": after, "needed": migrations.head()})
    elif before == after:
        output.say(f"The database is at {after or 'no revision'}; nothing to do.")
    else:
        output.say(f"The database went from {before or 'no revision'} to {after or 'no revision'}.")
