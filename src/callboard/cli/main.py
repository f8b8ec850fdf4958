"""The entry of `callboard`: the table of commands, each loaded when it is the one that was called.

`[project.scripts]` in pyproject.toml and `python -m callboard.cli.main` start here. The table keeps
`callboard --help` and `callboard jobs` from loading the database and the engine, which only `serve`,
`worker`, `keys` and `db` need.
"""

import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from callboard import __version__
from callboard.cli.exits import EXIT_CODES_HELP
from callboard.core.garbage import loading_modules

# command -> the module of callboard.cli whose `app` it is, and the line that `callboard --help` shows
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "Run a real workflow from start to end and show what happens."),
    "serve": ("serve", "Start the API with a worker inside."),
    "worker": ("worker", "Run jobs in a process beside the API."),
    "validate": ("validate", "Tell everything that is wrong with workflow files, with line and column."),
    "schema": ("schema", "Print the JSON Schema of the workflow format, for editors."),
    "dry-run": ("dry_run", "Tell what a run would do and cost; nobody is called."),
    "diagram": ("diagram", "Draw a workflow as a Mermaid flowchart."),
    "run": ("run", "Run a workflow here, without a server, and watch its steps."),
    "new": ("new", "Make a workflow from a template, or a package of one's own steps."),
    "test": ("test", "Run the recorded tests of workflows; nobody is called."),
    "submit": ("submit", "Submit a workflow as a job."),
    "jobs": ("jobs", "List, show, watch and cancel jobs, and see what they cost."),
    "admin": ("admin", "Clean up, erase a user, see workers and queue."),
    "models": ("models", "List the language models that the server can use."),
    "plugins": ("plugins", "List what installed packages add: services, transforms and step types."),
    "keys": ("keys", "Make, list and revoke API keys, directly in the database."),
    "limits": ("limits", "Limit what users and tenants spend, and see what they have spent, directly in the database."),
    "settings": ("settings", "Show every setting, and which file or variable it comes from."),
    "db": ("db", "Bring the database up to date, or back."),
}


class CommandTable(TyperGroup):
    """A group that lists every command of the table and loads the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name=name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            with loading_modules():
                command = get_command(import_module(f"callboard.cli.{COMMANDS[name][0]}").app)
        return name, command, rest


app = typer.Typer(
    cls=CommandTable,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its panels show local variables, and a key may be one of them
    epilog=EXIT_CODES_HELP,
)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        sys.stdout.write(f"callboard {__version__}\n")
        raise typer.Exit


@app.callback()
def callboard(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Durable AI workflows over HTTP: submit a job, never pay twice, know every cent.

    Start with [bold]callboard demo[/bold]. For a server: [bold]callboard serve[/bold], then
    [bold]callboard submit hello --input - --watch[/bold].
    """


if __name__ == "__main__":
    app(prog_name="callboard")
