"""A job's steps on the screen as they happen. Called by `jobs watch`, `submit --watch` and `demo`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any

from rich.status import Status
from rich.text import Text

from callboard.cli.formats import clean, format_count, format_duration, format_usd, shorten_path
from callboard.cli.output import Output
from callboard.client.client import CallboardClient
from callboard.client.models import LLM_SERVICE, Job, UsageRow
from callboard.client.watching import JobSeen, ServerGone, Sight, StepSeen, watch

PATH_WIDTH, TYPE_WIDTH, DURATION_WIDTH = 24, 12, 9  # a line of a step fits 80 characters

MARKS = {  # status of a journaled step -> the sign before it, and its colour
    "succeeded": ("✓", "green"),
    "completed": ("✓", "green"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "continued": ("!", "yellow"),
    "defaulted": ("!", "yellow"),
}
STATUS_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "processing": "cyan", "waiting": "cyan"}


async def follow(client: CallboardClient, output: Output, job_id: str) -> Job:
    """Show a job's steps until it has ended, and return it as it then is. With --json, one line per sight."""
    last: Job | None = None
    spinner = output.console.status("") if output.console.is_terminal and not output.is_json else None
    with _shown(spinner):
        async for sight in watch(client, job_id):
            if isinstance(sight, JobSeen):
                last = sight.job
            _show(output, sight, spinner)
    if last is None:
        raise RuntimeError(f"watching job {job_id} ended before the job was seen")
    return last


def describe_usage(usage: Sequence[UsageRow]) -> str:
    """Return what a step's paid calls used and cost, or nothing when it made none."""
    if not usage:
        return ""
    tokens = sum(row["total_tokens"] for row in usage if row["service"] == LLM_SERVICE)
    used = f"{format_count(tokens)} tokens" if tokens else f"{len(usage)} call{'s' if len(usage) > 1 else ''}"
    return f"{used}  {format_usd(sum(Decimal(str(row['cost_usd'])) for row in usage))}"


def _shown(spinner: Status | None) -> AbstractContextManager[Any]:
    return nullcontext() if spinner is None else spinner


def _show(output: Output, sight: Sight, spinner: Status | None) -> None:
    if output.is_json:
        output.document(_as_line(sight))
    elif isinstance(sight, StepSeen):
        output.say(_step_line(sight), soft_wrap=True)
        if sight.step["error"]:
            output.say(f"    {clean(sight.step['error'].get('message', ''))}", style="red")
    elif isinstance(sight, ServerGone):
        output.complain(f"{clean(sight.reason)} The job is durable; asking again.", style="yellow")
    elif spinner is not None:
        spinner.update(_progress_text(sight.job))


def _as_line(sight: Sight) -> dict[str, Any]:
    if isinstance(sight, StepSeen):
        return {"event": "step", "step": sight.step, "usage": list(sight.usage)}
    if isinstance(sight, JobSeen):
        return {"event": "job", "job": sight.job}
    return {"event": "server_away", "reason": sight.reason}


def _step_line(sight: StepSeen) -> Text:
    step = sight.step
    mark, style = MARKS.get(step["status"], ("•", ""))
    line = Text.assemble((f"  {mark} ", style))
    line.append(f"{shorten_path(clean(step['path']), PATH_WIDTH):<{PATH_WIDTH}} ", style="bold")
    line.append(f"{clean(step['type']):<{TYPE_WIDTH}} ", style="dim")
    line.append(f"{format_duration(step['duration_ms']):>{DURATION_WIDTH}}  ")
    line.append(describe_usage(sight.usage) or ("" if mark == "✓" else clean(step["status"])))
    if step["attempts"] > 1:
        line.append(f"  ({step['attempts']} attempts)", style="yellow")
    line.rstrip()
    return line


def _progress_text(job: Job) -> Text:
    where = f" {job['current_step']}" if job["current_step"] else ""
    return Text(clean(f"{job['status']}{where} ({job['steps_completed']} of {job['total_steps']} steps)"))
