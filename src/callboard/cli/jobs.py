"""`callboard jobs`: what the server knows about jobs."""

from typing import Annotated

import typer

from callboard.cli.connection import ask
from callboard.cli.job_views import (
    exit_code_of_job,
    jobs_table,
    show_ending,
    show_job,
    show_result,
    steps_table,
    usage_table,
    with_title,
)
from callboard.cli.options import JobArgument, JsonOption, KeyOption, UrlOption
from callboard.cli.output import open_output
from callboard.cli.progress import follow
from callboard.client.client import CallboardClient
from callboard.client.models import CancelledJob, Job, JobPage, JobStep, UsagePage, UsageRow
from callboard.client.watching import in_order, usage_by_step

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="List, show, watch and cancel jobs, and see what they cost."
)


@app.command(
    "list",
    epilog="Examples:\n\ncallboard jobs list --status running\n\n"
    "callboard jobs list --workflow hello --limit 5 --json\n\ncallboard jobs list --cursor CURSOR",
)
def list_jobs(
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="pending, queued, processing (running), waiting, completed, failed or cancelled; may be repeated."
        ),
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only jobs of this workflow.")] = None,
    user_id: Annotated[str | None, typer.Option(help="Only jobs of this user.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Jobs to list.")] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the next page begins, from the page before.")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    is_json: JsonOption = False,
) -> None:
    """List jobs, the newest first."""
    output = open_output(is_json=is_json)

    async def work(client: CallboardClient) -> JobPage:
        return await client.list_jobs(
            limit=limit, cursor=cursor, status=status, workflow_name=workflow, user_id=user_id
        )

    page = ask(output, url, api_key, work)
    if is_json:
        output.document(page)
        return
    output.say(jobs_table(page["jobs"]) if page["jobs"] else "No jobs.")
    if page["next_cursor"]:
        output.say(f"More: --cursor {page['next_cursor']}", style="dim")


@app.command(epilog="Examples:\n\ncallboard jobs show JOB_ID\n\ncallboard jobs show JOB_ID --json | jq .result")
def show(job_id: JobArgument, url: UrlOption = None, api_key: KeyOption = None, is_json: JsonOption = False) -> None:
    """Show a job: where it stands, its steps, its result."""
    output = open_output(is_json=is_json)

    async def work(client: CallboardClient) -> tuple[Job, list[JobStep], dict[str, list[UsageRow]]]:
        job = await client.status(job_id)
        if is_json:
            return job, [], {}
        steps = [step async for step in client.iterate_steps(job_id)]
        return job, in_order(steps), await usage_by_step(client, job_id)

    job, steps, usage = ask(output, url, api_key, work)
    if is_json:
        output.document(job)
        return
    show_job(output, job)
    if steps:
        output.say()
        output.say(with_title("Steps", steps_table(steps, usage)))
    show_result(output, job)


@app.command(epilog="Examples:\n\ncallboard jobs watch JOB_ID\n\ncallboard jobs watch JOB_ID --json")
def watch(job_id: JobArgument, url: UrlOption = None, api_key: KeyOption = None, is_json: JsonOption = False) -> None:
    """Show a job's steps as they happen, with times, tokens and cost, until it ends.

    Ctrl-C stops the watching; the job runs on. The exit code is 1 when the job failed or was cancelled.
    """
    output = open_output(is_json=is_json, is_stream=True)

    async def work(client: CallboardClient) -> Job:
        return await follow(client, output, job_id)

    job = ask(output, url, api_key, work)
    show_ending(output, job)
    raise typer.Exit(exit_code_of_job(job))


@app.command(epilog="Examples:\n\ncallboard jobs cancel JOB_ID")
def cancel(job_id: JobArgument, url: UrlOption = None, api_key: KeyOption = None, is_json: JsonOption = False) -> None:
    """Stop a job. What was paid is kept; a job that has ended stays as it is."""
    output = open_output(is_json=is_json)

    async def work(client: CallboardClient) -> CancelledJob:
        return await client.cancel(job_id)

    cancelled = ask(output, url, api_key, work)
    if is_json:
        output.document(cancelled)
        return
    output.say(f"Job {cancelled['job_id']}: {cancelled['outcome'].replace('_', ' ')}, status {cancelled['status']}.")


@app.command(epilog="Examples:\n\ncallboard jobs usage JOB_ID\n\ncallboard jobs usage JOB_ID --json")
def usage(job_id: JobArgument, url: UrlOption = None, api_key: KeyOption = None, is_json: JsonOption = False) -> None:
    """Show every paid call of a job: tokens, time and USD."""
    output = open_output(is_json=is_json)

    async def work(client: CallboardClient) -> UsagePage:
        page = await client.list_usage(job_id)
        if page["next_cursor"] is not None:
            page["items"] = [row async for row in client.iterate_usage(job_id)]
            page["next_cursor"] = None
        return page

    page = ask(output, url, api_key, work)
    if is_json:
        output.document(page)
        return
    output.say(usage_table(page["items"], page["totals"]) if page["items"] else "No paid calls.")
