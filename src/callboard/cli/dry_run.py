"""`callboard dry-run`: what a run would do, ask and cost, with nobody called."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from callboard.cli.connection import ask
from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.inputs import read_input_or_json
from callboard.cli.local_files import DEFINITION_SUFFIX, compile_loaded, find_workflow, telling_findings
from callboard.cli.options import JsonOption, KeyOption, UrlOption
from callboard.cli.output import open_output
from callboard.cli.plan_views import show_rehearsal
from callboard.client.client import CallboardClient
from callboard.core.config import Settings, load_settings
from callboard.core.json_values import JsonValue, find_unstorable
from callboard.core.logging import configure_service_logging
from callboard.workbench import open_workbench
from callboard.workflows.dry_runs.requests import Rehearsal
from callboard.workflows.dry_runs.schemas import ValidationRead
from callboard.workflows.dry_runs.walk import NO_INPUT, foresee
from callboard.workflows.errors import InvalidWorkflowError
from callboard.workflows.json_files import read_json_file

app = typer.Typer(add_completion=False)


@app.command(
    "dry-run",
    epilog="Examples:\n\n"
    'callboard dry-run hello --input \'{"name": "Ada"}\'\n\n'
    "callboard dry-run my/flow.json --input input.json --show-prompts\n\n"
    "callboard dry-run hello --input hello.json --server\n\n"
    "callboard dry-run hello --json | jq .cost_usd",
)
def dry_run(
    workflow: Annotated[
        str,
        typer.Argument(
            help="A workflow file, or the name of one in WORKFLOWS_DIR.", metavar="FILE|NAME", show_default=False
        ),
    ],
    given: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="FILE|-|JSON", help="The input: a file, - for stdin, or JSON itself."),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Folder of prompt files. Without it: beside the file, else PROMPTS_DIR.")
    ] = None,
    shows_prompts: Annotated[
        bool, typer.Option("--show-prompts", help="Show every prompt as it would be sent.")
    ] = False,
    on_server: Annotated[
        bool, typer.Option("--server", help="Ask the server, which knows earlier runs and estimates by them.")
    ] = False,
    url: UrlOption = None,
    api_key: KeyOption = None,
    is_json: JsonOption = False,
) -> None:
    """Tell what a run would do and cost; nobody is called.

    The plan has every step in order, with its tokens and cost. What a model or service would answer is marked as
    unknown wherever it is read, and sized by earlier runs (--server) or a guess. Without --input all of the
    input counts as unknown.
    """
    output = open_output(is_json=is_json)
    with reporting(output), telling_findings(output):
        input_data = NO_INPUT if given is None else _read_input(given)
        if on_server and prompts is not None:
            raise CommandError("--prompts goes with a run here; the server has its own.", exit_code=ExitCode.USAGE)
        body = _request_of(workflow, input_data) if on_server else None
    if body is not None:

        async def work(client: CallboardClient) -> dict[str, Any]:
            return await client.validate(body)

        found = ValidationRead.model_validate(ask(output, url, api_key, work))
    else:
        with reporting(output), telling_findings(output):
            settings = load_settings()
            configure_service_logging("cli", settings, level="ERROR")
            found = asyncio.run(_rehearse(settings, workflow, input_data, prompts))
    if is_json:
        output.document(found.model_dump(mode="json"))
    else:
        show_rehearsal(output, found, shows_prompts=shows_prompts, is_local=not on_server)
    raise typer.Exit(ExitCode.OK if found.valid else ExitCode.REFUSED)


def _read_input(given: str) -> JsonValue:
    """Return the input. Raises: CommandError, when it is none that a run could have."""
    value = read_input_or_json(given)
    reason = find_unstorable(value)
    if reason is not None:
        message = f"The input cannot be used: {reason}."
        raise CommandError(message, exit_code=ExitCode.USAGE, title="The input cannot be read")
    return value


def _request_of(workflow: str, input_data: JsonValue) -> dict[str, Any]:
    """Return what the server is asked: about its own workflow of that name, or about the definition in a file."""
    body: dict[str, Any] = {} if input_data is NO_INPUT else {"input_data": input_data}
    path = Path(workflow)
    if path.suffix != DEFINITION_SUFFIX and not path.is_file():
        return {**body, "workflow_name": workflow}
    source = read_json_file(path, "workflow file")
    if not source.is_usable:
        raise InvalidWorkflowError([finding.in_file(path.name) for finding in source.findings], name=path.stem)
    return {**body, "definition": source.value}


async def _rehearse(settings: Settings, wanted: str, input_data: JsonValue, prompts_dir: Path | None) -> ValidationRead:
    async with open_workbench(settings) as workbench:
        loaded = find_workflow(workbench, wanted, prompts_dir=prompts_dir)
        workflow = compile_loaded(workbench, loaded, workbench.defaults_for(loaded.name), workbench.defaults_for)
        found = await foresee(workflow, input_data, prices=workbench.call_prices)
    return ValidationRead.of(
        Rehearsal(workflow_name=loaded.name, findings=(*loaded.warnings, *found.warnings), dry_run=found)
    )
