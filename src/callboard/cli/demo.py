"""`callboard demo`: a real workflow over HTTP, from a server of its own to a table of results and their price.

Everything a newcomer needs to judge the product is on one screen; nothing keeps running afterwards.
"""

import asyncio
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from callboard.cli.connection import find_key, url_of
from callboard.cli.demo_server import DemoServer, demo_server
from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.formats import clean
from callboard.cli.inputs import read_input
from callboard.cli.job_views import exit_code_of_job, show_ending, show_result, usage_table, with_title
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.cli.progress import follow
from callboard.cli.result_tables import result_tables
from callboard.cli.stopping import until_stopped
from callboard.client.client import CallboardClient
from callboard.client.errors import CallboardClientError
from callboard.client.models import LLM_SERVICE, Job, Json, UsagePage
from callboard.core.config import LLM_PROVIDERS_WITH_KEYS, Settings, load_settings
from callboard.core.replay import RecordedAnswers

DEFAULT_WORKFLOW = "emergency_contacts"
RECORDED, MADE_UP = "replay", "sandbox"  # providers that call nobody
UNPAID = {RECORDED, MADE_UP}
CANCEL_SECONDS = 2.0  # for a last request when the demo is interrupted

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class _Plan:
    workflow: str
    input_path: Path
    input_data: Json


@app.command(
    epilog="Examples:\n\ncallboard demo\n\ncallboard demo --input my-town.json\n\n"
    "OPENROUTER_API_KEY=... GOOGLE_PLACES_API_KEY=... callboard demo\n\ncallboard demo --keep"
)
def demo(
    input_path: Annotated[
        Path | None, typer.Option("--input", "-i", help="Input file. Default: the workflow's in workflows/inputs.")
    ] = None,
    workflow: Annotated[str, typer.Option(help="Workflow to run.")] = DEFAULT_WORKFLOW,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the server until Ctrl-C, to look around.")] = False,
    is_json: JsonOption = False,
) -> None:
    """Run a real workflow from start to end and show what happens.

    Starts a server of its own on a free port, submits the workflow over HTTP, shows its steps as they happen,
    its result and what each call cost, and stops the server. With no provider's key set, recorded answers serve.
    """
    output = open_output(is_json=is_json)
    with reporting(output):
        settings = load_settings()
        plan = _plan(settings, workflow, input_path)
        try:
            job = asyncio.run(until_stopped(_run(output, settings, plan, keep=keep)))
        except asyncio.CancelledError as error:
            raise typer.Exit(ExitCode.INTERRUPTED) from error
    raise typer.Exit(exit_code_of_job(job))


def _plan(settings: Settings, workflow: str, input_path: Path | None) -> _Plan:
    if input_path is None:
        folder = settings.workflows_dir.parent / "inputs"
        input_path = min(folder.glob(f"{workflow}.*json"), default=None)
        if input_path is None:
            raise CommandError(
                f"There is no input for {workflow} in {folder}. Name one with --input, or go to the folder "
                "that has workflows/ in it.",
                exit_code=ExitCode.USAGE,
                title="No input",
            )
    return _Plan(workflow, input_path, read_input(str(input_path)))


async def _run(output: Output, settings: Settings, plan: _Plan, *, keep: bool) -> Job:
    output.say(Text.assemble(("Callboard", "bold"), f" runs {plan.workflow} with {plan.input_path}"), soft_wrap=True)
    async with demo_server(settings) as server:
        found = find_key(settings, is_own_server=True)
        with reporting(output, key_source=found.source):
            async with CallboardClient(server.url, found.key) as client:
                output.say(f"A server of its own is up: {server.url}, data in {settings.callboard_home}/", style="dim")
                job = await _run_job(client, output, plan)
                usage = await _all_usage(client, job["job_id"])
        _show(output, settings, plan, job, usage)
        if not output.is_json:
            _show_next(output, settings, job, server if keep else None)
        if keep:
            await _wait_for_ctrl_c(output)
    return job


async def _run_job(client: CallboardClient, output: Output, plan: _Plan) -> Job:
    submitted = await client.submit(plan.workflow, plan.input_data, run_name="callboard demo")
    job_id = submitted["job_id"]
    output.say(f"Job {job_id} is stored and will run (202).")
    output.say()
    try:
        return await (client.wait(job_id) if output.is_json else follow(client, output, job_id))
    except asyncio.CancelledError:
        # The job is durable: left alone, the next server would go on with it, and pay.
        with suppress(CallboardClientError, TimeoutError):
            await asyncio.wait_for(client.cancel(job_id), CANCEL_SECONDS)
        output.complain("Stopped; the job was cancelled.")
        raise


async def _all_usage(client: CallboardClient, job_id: str) -> UsagePage:
    page = await client.list_usage(job_id)
    if page["next_cursor"] is not None:
        page["items"] = [row async for row in client.iterate_usage(job_id)]
    return page


def _show(output: Output, settings: Settings, plan: _Plan, job: Job, usage: UsagePage) -> None:
    if output.is_json:
        output.document({"job": job, "usage": usage["items"], "served_by": _who_served(settings, plan, usage)})
        return
    output.say()
    show_ending(output, job)
    tables = result_tables(job["result"] or {}, width=output.console.width)
    for table in tables:
        output.say(table)
    if not tables:
        show_result(output, job)
    if usage["items"]:
        models, services = _served_by(usage)
        title = "What each call cost" if UNPAID.isdisjoint(models | services) else "What each call would cost live"
        output.say(with_title(title, usage_table(usage["items"], usage["totals"])))
    for line in _who_served(settings, plan, usage):
        output.say(line)


def _who_served(settings: Settings, plan: _Plan, usage: UsagePage) -> list[str]:
    """Return in plain words whose answers these are, and how to get real ones."""
    models, services = _served_by(usage)
    lines = [
        f"{title}: {clean(', '.join(sorted(providers)))}"
        for title, providers in (("Language model answered by", models), ("Outside services answered by", services))
        if providers
    ]
    if RECORDED in models | services:
        lines.append("replay = answers KEPT IN FILES: nothing was called or paid; costs are those of such calls.")
        lines += [f"  Their origin: {clean(text)}" for text in _origins(settings, plan)]
    if MADE_UP in models | services:
        lines.append("sandbox = answers that were MADE UP to fit the schema: nothing was called or paid.")
    if not UNPAID.isdisjoint(models | services):
        lines.append("To go live, set in the environment or in .env, and run this again:")
    if not UNPAID.isdisjoint(models):
        lines.append("  " + " or ".join(f"{name.upper()}_API_KEY" for name in LLM_PROVIDERS_WITH_KEYS))
    if not UNPAID.isdisjoint(services):
        lines.append("  GOOGLE_PLACES_API_KEY")
    return lines


def _served_by(usage: UsagePage) -> tuple[set[str], set[str]]:
    """Return who answered for language models, and who for outside services."""
    models = {row["provider"] for row in usage["items"] if row["service"] == LLM_SERVICE}
    return models, {row["provider"] for row in usage["items"] if row["service"] != LLM_SERVICE}


def _origins(settings: Settings, plan: _Plan) -> tuple[str, ...]:
    return RecordedAnswers.load(settings.prompts_dir).origins(plan.workflow)


def _this_command() -> str:
    """Return what this program is called by from the shell that ran it."""
    return "callboard" if shutil.which("callboard") else sys.argv[0]


def _show_next(output: Output, settings: Settings, job: Job, server: DemoServer | None) -> None:
    url = server.url if server else url_of(settings.host, settings.port)
    output.say()
    first = "" if server else ", when `make serve` (or `callboard serve`) runs in another terminal"
    output.say(f"Look at next{first}:", style="bold")
    output.say(f"  docs    {url}/docs")
    output.say(f"  job     {_this_command()} jobs show {job['job_id']}" + (f" --url {url}" if server else ""))
    key = find_key(settings, is_own_server=True).in_shell
    output.say(f'  curl    curl -H "X-API-Key: {key}" {url}/api/v1/status/{job["job_id"]}', soft_wrap=True)


async def _wait_for_ctrl_c(output: Output) -> None:
    output.say()
    output.say("The server runs until Ctrl-C.")
    with suppress(asyncio.CancelledError):  # Ctrl-C is how this ends
        await asyncio.Event().wait()
