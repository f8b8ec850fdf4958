"""`callboard admin`: what operators do at night. Speaks HTTP with a key that has the scope admin.

A server works on one request for a while only; the commands send it again until all is done.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from callboard.cli.admin_views import describe_erasure, describe_stale, show_queue, workers_table
from callboard.cli.confirming import make_sure
from callboard.cli.connection import OPERATOR_KEYS, ask
from callboard.cli.exits import ExitCode
from callboard.cli.failures import reporting
from callboard.cli.options import JsonOption, KeyOption, UrlOption, YesOption
from callboard.cli.output import Output, open_output
from callboard.client.client import CallboardClient
from callboard.client.models import Erasure, Queue, RetentionCleanUp, StaleCleanUp, WorkerList

ASK_AGAIN_SECONDS = 1.0  # a run is stopped within a second

Answer = TypeVar("Answer")

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Clean up, erase a user, see workers and queue.")


@app.command(epilog="Examples:\n\ncallboard admin stale --dry-run\n\ncallboard admin stale --older-than-hours 24 --yes")
def stale(
    older_than_hours: Annotated[int, typer.Option(min=1, help="Hours without progress.")] = 72,
    is_dry_run: DryRunOption = False,
    is_sure: YesOption = False,
    url: UrlOption = None,
    api_key: KeyOption = None,
    is_json: JsonOption = False,
) -> None:
    """Fail jobs that are pending, queued or processing and made no progress; waiting ones never."""
    output = open_output(is_json=is_json)
    if not is_dry_run:
        _make_sure(
            output,
            "This fails jobs",
            f"Fail every job without progress for {older_than_hours} hours? Workers that hold one lose it.",
            is_sure=is_sure,
        )

    async def work(client: CallboardClient) -> StaleCleanUp:
        done = await client.clean_up_stale(older_than_hours=older_than_hours, dry_run=is_dry_run)
        while not done["is_complete"]:
            more = await client.clean_up_stale(older_than_hours=older_than_hours)
            by_status = Counter(done["by_status"]) + Counter(more["by_status"])
            done["by_status"] = {status: by_status[status] for status in done["by_status"]}
            done["total"] += more["total"]
            done["is_complete"] = more["is_complete"]
        return done

    done = _ask(output, url, api_key, work)
    if is_json:
        output.document(done)
        return
    output.say(describe_stale(done))
    if is_dry_run:
        for job_id in done["job_ids"]:
            output.say(job_id, style="dim")


@app.command(
    epilog="Examples:\n\ncallboard admin retention --older-than-days 90 --dry-run\n\ncallboard admin retention --yes"
)
def retention(
    older_than_days: Annotated[
        int | None,
        typer.Option(min=1, help="Days since the end. Without it: the server's RETENTION_DAYS.", show_default=False),
    ] = None,
    is_dry_run: DryRunOption = False,
    is_sure: YesOption = False,
    url: UrlOption = None,
    api_key: KeyOption = None,
    is_json: JsonOption = False,
) -> None:
    """Delete jobs that ended long ago, with steps, events and results. What was paid for stays in the usage."""
    output = open_output(is_json=is_json)
    if not is_dry_run:
        age = "longer ago than RETENTION_DAYS" if older_than_days is None else f"over {older_than_days} days ago"
        _make_sure(
            output, "This deletes jobs with their results", f"Delete every job that ended {age}?", is_sure=is_sure
        )

    async def work(client: CallboardClient) -> RetentionCleanUp:
        done = await client.clean_up_retention(older_than_days=older_than_days, dry_run=is_dry_run)
        while not done["is_complete"]:
            more = await client.clean_up_retention(older_than_days=older_than_days)
            done["jobs"] += more["jobs"]
            done["bundles"] += more["bundles"]
            done["outbox_rows"] += more["outbox_rows"]
            done["is_complete"] = more["is_complete"]
        return done

    done = _ask(output, url, api_key, work)
    if is_json:
        output.document(done)
        return
    verb = "would be deleted" if is_dry_run else "deleted"
    output.say(
        f"Older than {done['older_than_days']} days, {verb}: jobs {done['jobs']}, "
        f"bundles {done['bundles']}, outbox rows {done['outbox_rows']}."
    )


@app.command(
    "erase-user",
    epilog="Examples:\n\ncallboard admin erase-user user-17 --dry-run\n\n"
    "callboard admin erase-user user-17 --tenant acme --yes",
)
def erase_user(
    user_id: Annotated[str, typer.Argument(help="The user's id, as your application names them.", show_default=False)],
    tenant: Annotated[
        str | None, typer.Option(help="For the operator's key: the user's tenant. Without it: the key's own.")
    ] = None,
    wait_seconds: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for jobs that run to stop.")
    ] = 30.0,
    is_dry_run: DryRunOption = False,
    is_sure: YesOption = False,
    url: UrlOption = None,
    api_key: KeyOption = None,
    is_json: JsonOption = False,
) -> None:
    """Delete a user's jobs with inputs and results, and revoke their keys. Numbers of what was paid for stay.

    Jobs that run are cancelled and deleted when they have stopped. The exit code is 1 while some are left.
    """
    output = open_output(is_json=is_json)
    if not is_dry_run:
        _make_sure(
            output,
            "This deletes a user's jobs and revokes their keys",
            f"Delete everything of the user {user_id}, and revoke their keys?",
            is_sure=is_sure,
        )

    async def work(client: CallboardClient) -> Erasure:
        until = time.monotonic() + wait_seconds
        done = await client.erase_user(user_id, tenant_id=tenant, dry_run=is_dry_run)
        while done["left"] and not is_dry_run and time.monotonic() < until:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            done = _together(done, await client.erase_user(user_id, tenant_id=tenant))
        return done

    done = _ask(output, url, api_key, work)
    if is_json:
        output.document(done)
    else:
        output.say(describe_erasure(done))
        if done["left"] and not is_dry_run:
            output.say(f"Jobs left: {done['left']}. They are being stopped; run the command again in a while.")
    raise typer.Exit(ExitCode.FAILED if done["left"] and not is_dry_run else ExitCode.OK)


@app.command(epilog="Examples:\n\ncallboard admin workers\n\ncallboard admin workers --all --json")
def workers(
    is_all: Annotated[bool, typer.Option("--all", help="Also those that left or died, for 7 days.")] = False,
    url: UrlOption = None,
    api_key: KeyOption = None,
    is_json: JsonOption = False,
) -> None:
    """List the worker processes: where they run, how many jobs they hold, whether they live."""
    output = open_output(is_json=is_json)

    async def work(client: CallboardClient) -> WorkerList:
        return await client.list_workers(include_gone=is_all)

    listed = _ask(output, url, api_key, work)
    if is_json:
        output.document(listed)
        return
    output.say(workers_table(listed["items"]) if listed["items"] else "No workers: nobody runs jobs.")


@app.command(epilog="Examples:\n\ncallboard admin queue\n\ncallboard admin queue --json | jq .ready_by_priority")
def queue(url: UrlOption = None, api_key: KeyOption = None, is_json: JsonOption = False) -> None:
    """Show what is ready and for how long, and what runs, by priority, workflow and user."""
    output = open_output(is_json=is_json)

    async def work(client: CallboardClient) -> Queue:
        return await client.get_queue()

    found = _ask(output, url, api_key, work)
    if is_json:
        output.document(found)
        return
    show_queue(output, found)


def _ask(
    output: Output, url: str | None, api_key: str | None, work: Callable[[CallboardClient], Awaitable[Answer]]
) -> Answer:
    return ask(output, url, api_key, work, key_settings=OPERATOR_KEYS)


def _make_sure(output: Output, risk: str, question: str, *, is_sure: bool) -> None:
    with reporting(output):
        make_sure(output, risk, question, is_sure=is_sure)


def _together(first: Erasure, more: Erasure) -> Erasure:
    """Return what two requests did; what is left is what the second one says."""
    return {
        **more,
        "jobs": first["jobs"] + more["jobs"],
        "cancelling": first["cancelling"] + more["cancelling"],
        "usage_rows": first["usage_rows"] + more["usage_rows"],
        "api_keys": first["api_keys"] + more["api_keys"],
    }
