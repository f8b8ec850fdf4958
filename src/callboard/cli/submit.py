"""`callboard submit`: hand a workflow and its input to the server, and wait for it or watch it on demand."""

from typing import Annotated

import typer

from callboard.cli.connection import ask
from callboard.cli.failures import reporting
from callboard.cli.inputs import read_input
from callboard.cli.job_views import exit_code_of_job, show_ending, show_result
from callboard.cli.options import JsonOption, KeyOption, UrlOption
from callboard.cli.output import Output, open_output
from callboard.cli.progress import follow
from callboard.client.client import CallboardClient
from callboard.client.models import Job, SubmittedJob

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:\n\n"
    "callboard submit hello --input hello.json --wait\n\n"
    'echo \'{"name": "Ada"}\' | callboard submit hello --input - --watch\n\n'
    "callboard submit hello --input hello.json --json --idempotency-key order-17"
)
def submit(
    workflow: Annotated[str, typer.Argument(help="Name of the workflow.", show_default=False)],
    input_path: Annotated[
        str, typer.Option("--input", "-i", help="File with the input, as JSON; - reads stdin.", metavar="FILE")
    ],
    priority: Annotated[int, typer.Option(min=0, max=10, help="10 is the most urgent.")] = 0,
    user_id: Annotated[str | None, typer.Option(help="User that the job belongs to.")] = None,
    run_name: Annotated[str | None, typer.Option(help="Name that people see for this run.")] = None,
    budget_usd: Annotated[
        float | None, typer.Option("--budget-usd", help="The most that the run may cost; it can only lower the file's.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and input again give the same job, for 24 hours.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when the job has ended, with its result.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show the steps as they happen.")] = False,
    url: UrlOption = None,
    api_key: KeyOption = None,
    is_json: JsonOption = False,
) -> None:
    """Submit a workflow as a job.

    The job is durable when this returns: it ends even if the server is restarted. With --wait or --watch the
    exit code is 1 when the job failed or was cancelled.
    """
    output = open_output(is_json=is_json, is_stream=watch)
    with reporting(output):
        input_data = read_input(input_path)

    async def work(client: CallboardClient) -> tuple[SubmittedJob, Job | None]:
        submitted = await client.submit(
            workflow,
            input_data,
            idempotency_key=idempotency_key,
            priority=priority,
            user_id=user_id,
            run_name=run_name,
            budget_usd=budget_usd,
        )
        if watch:
            _show_submitted(output, submitted)
            return submitted, await follow(client, output, submitted["job_id"])
        return submitted, await client.wait(submitted["job_id"]) if wait else None

    submitted, job = ask(output, url, api_key, work)
    if job is None:
        _show_accepted(output, submitted)
        return
    _show_ended(output, job)
    raise typer.Exit(exit_code_of_job(job))


def _show_submitted(output: Output, submitted: SubmittedJob) -> None:
    if output.is_json:
        output.document({"event": "submitted", "job": submitted})
    else:
        output.say(f"Job {submitted['job_id']}")


def _show_accepted(output: Output, submitted: SubmittedJob) -> None:
    if output.is_json:
        output.document(submitted)
        return
    output.say(f"Job {submitted['job_id']} is {submitted['status']}.")
    output.say(f"Watch it: callboard jobs watch {submitted['job_id']}", style="dim")


def _show_ended(output: Output, job: Job) -> None:
    if output.is_stream:
        show_ending(output, job)
        show_result(output, job)
    elif output.is_json:
        output.document(job)
    else:
        show_result(output, job)
        show_ending(output, job)
