"""`callboard schema`: the JSON Schema of workflow files, for editors that complete and check them."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.formats import clean
from callboard.cli.options import JsonOption
from callboard.cli.output import open_output
from callboard.core.config import Settings, load_settings
from callboard.workbench import open_workbench

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:\n\ncallboard schema -o workflows/workflow.schema.json\n\n"
    'Then a workflow file that begins with {"$schema": "../workflow.schema.json", ...} is completed by editors.'
)
def schema(
    target: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write it to. Without it: stdout.", show_default=False)
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """Print the JSON Schema of the workflow format, for editors.

    It is of the dialect 2020-12, and has what installed plugins add.
    """
    output = open_output(is_json=is_json or target is None)
    with reporting(output):
        document = asyncio.run(_build(load_settings()))
        if target is None:
            output.document(document)
            return
        try:
            target.write_text(schema_text(document), encoding="utf-8")
        except OSError as error:
            message = f"{clean(target)} cannot be written: {error.strerror or error}."
            raise CommandError(message, exit_code=ExitCode.USAGE) from error
        output.say(f"Wrote {clean(target)}.")
        if is_json:
            output.document({"file": str(target)})


def schema_text(document: dict[str, Any]) -> str:
    """Return the schema as the text of a file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


async def _build(settings: Settings) -> dict[str, Any]:
    async with open_workbench(settings) as workbench:
        return workbench.file_schema()
