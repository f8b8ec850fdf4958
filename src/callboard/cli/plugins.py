"""`callboard plugins`: what installed packages add to Callboard, and what of it cannot be used."""

import asyncio
from typing import Any

import typer
from rich.text import Text

from callboard.cli.exits import ExitCode
from callboard.cli.failures import reporting
from callboard.cli.formats import clean
from callboard.cli.job_views import new_table
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.core.config import Settings, load_settings
from callboard.core.http_client import HttpClient
from callboard.plugins import FoundPlugin
from callboard.workbench import find_installed_plugins

app = typer.Typer(add_completion=False)


@app.command(epilog="Examples:\n\ncallboard plugins\n\ncallboard plugins --json | jq '.items[] | select(.problem)'")
def plugins(is_json: JsonOption = False) -> None:
    """List what installed packages add: services, transforms and step types.

    Ends with 1 when one of them cannot be used; a server does not start with it either.
    """
    output = open_output(is_json=is_json)
    with reporting(output):
        found = asyncio.run(_find(load_settings()))
    if is_json:
        output.document({"items": [_as_json(plugin) for plugin in found]})
    else:
        _show(output, found)
    if any(plugin.problem is not None for plugin in found):
        raise typer.Exit(ExitCode.FAILED)


async def _find(settings: Settings) -> list[FoundPlugin]:
    http = HttpClient()
    try:
        return find_installed_plugins(settings, http)
    finally:
        await http.close()


def _as_json(plugin: FoundPlugin) -> dict[str, Any]:
    return {
        "package": plugin.package,
        "version": plugin.version,
        "group": plugin.group,
        "entry_point": plugin.entry_point,
        "target": plugin.target,
        "name": plugin.name or None,
        "problem": plugin.problem,
    }


def _show(output: Output, found: list[FoundPlugin]) -> None:
    if not found:
        output.say("No installed package adds anything.")
        return
    table = new_table("package", "version", "adds", "name", "from")
    for plugin in found:
        adds = plugin.group.removeprefix("callboard.").removesuffix("s")
        name = Text(clean(plugin.name)) if plugin.problem is None else Text("cannot be used", style="bold red")
        table.add_row(Text(clean(plugin.package)), clean(plugin.version), adds, name, Text(clean(plugin.target)))
    output.say(table)
    for plugin in found:
        if plugin.problem is not None:
            output.complain(clean(plugin.describe_problem()))
