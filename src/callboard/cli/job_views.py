"""How jobs, steps and what they cost look as tables. Called by `jobs`, `submit` and `demo`."""

import json
from collections.abc import Iterable, Sequence
from typing import Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from callboard.cli.exits import ExitCode
from callboard.cli.formats import clean, format_count, format_duration, format_time, format_usd, shorten_path
from callboard.cli.output import Output
from callboard.cli.progress import PATH_WIDTH, STATUS_STYLES, describe_usage
from callboard.client.models import LLM_SERVICE, CostData, Job, JobStep, JobSummary, UsageRow


def exit_code_of_job(job: JobSummary) -> ExitCode:
    """Return what a command that waited for `job` ends with."""
    return ExitCode.OK if job["status"] == "completed" else ExitCode.FAILED


def new_table(*columns: str, right: Iterable[str] = (), whole: Iterable[str] = ()) -> Table:
    """Return an empty table; columns in `right` hold numbers, those in `whole` are never broken."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in set(right) else "left"
        table.add_column(column, justify=justify, no_wrap=column in set(whole), overflow="fold")
    return table


def with_title(title: str, table: Table) -> Group:
    """Return the table below its title, which a narrow table would break if it were its own."""
    return Group(Text(title, style="bold"), table)


def jobs_table(jobs: Sequence[JobSummary]) -> Table:
    """Return one line per job."""
    table = new_table(
        "job",
        "status",
        "workflow",
        "created",
        "took",
        "steps",
        "cost",
        right=("took", "cost"),
        whole=("job", "status", "created"),
    )
    for job in jobs:
        table.add_row(
            Text(clean(job["job_id"])),
            status_text(job),
            Text(clean(job["workflow_name"])),
            format_time(job["created_at"]),
            format_duration(job["duration_ms"]),
            f"{job['steps_completed']}/{job['total_steps']}",
            format_usd(job["cost_usd"]),
        )
    return table


def steps_table(steps: Sequence[JobStep], usage: dict[str, list[UsageRow]]) -> Table:
    """Return one line per step, with what its calls used."""
    table = new_table("step", "type", "status", "took", "used", right=("took",))
    for step in steps:
        table.add_row(
            Text(clean(step["path"])),
            Text(clean(step["type"])),
            Text(clean(step["status"])),
            format_duration(step["duration_ms"]),
            Text(describe_usage(usage.get(step["path"], []))),
        )
    return table


def usage_table(rows: Sequence[UsageRow], totals: CostData) -> Table:
    """Return one line per paid call, and the totals below. Outside services have units instead of tokens."""
    numbers = ("tokens in", "out", "took", "USD")
    table = new_table("step", "call", *numbers, right=numbers, whole=("step", "took", "USD"))
    for row in rows:
        is_llm = row["service"] == LLM_SERVICE
        units = "" if is_llm else f", {format_count(row['input_tokens'])} unit{'s' if row['input_tokens'] != 1 else ''}"
        table.add_row(
            Text(shorten_path(clean(row["path"]), PATH_WIDTH)),
            Text(clean(f"{row['provider']} {row['model']}{units}")),
            format_count(row["input_tokens"]) if is_llm else "",
            format_count(row["output_tokens"]) if is_llm else "",
            format_duration(row["duration_ms"]),
            format_usd(row["cost_usd"]),
        )
    table.add_section()
    tokens = (format_count(totals["input_tokens"]), format_count(totals["output_tokens"]))
    table.add_row("total", "", *tokens, "", format_usd(totals["total_cost_usd"]), style="bold")
    return table


def show_job(output: Output, job: Job) -> None:
    """Print the facts of a job, its error and its result."""
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(job):
        if value:
            facts.add_row(Text(name, style="dim"), value)
    output.say(facts)
    show_error(output, job)


def show_error(output: Output, job: Job) -> None:
    """Print why a job failed; nothing when it did not."""
    error = job["error"]
    if error is None:
        if job["error_message"]:
            output.say(clean(job["error_message"]), style="red")
        return
    where = f" in step {clean(error['step_id'])}" if error.get("step_id") else ""
    output.say(Text(f"{clean(error['type'])}{where}: {clean(error['message'])}", style="red"))


def show_result(output: Output, job: Job) -> None:
    """Print what a job's workflow gave, without the costs that have a place of their own."""
    if job["result"] is None:
        return
    result = {name: value for name, value in job["result"].items() if name != "cost_data"}
    output.say(Text("Result", style="bold"))
    output.say(clean(json.dumps(result, indent=2, ensure_ascii=False)))


def show_ending(output: Output, job: Job) -> None:
    """Print the last line about a job: how it ended, how long it took, what it cost."""
    took = f" in {format_duration(job['duration_ms'])}" if job["duration_ms"] is not None else ""
    tokens = format_count(job["cost_data"]["total_tokens"])
    output.say(Text.assemble("Job ", status_text(job), f"{took}: {tokens} tokens, {format_usd(job['cost_usd'])}"))
    show_error(output, job)


def status_text(job: JobSummary) -> Text:
    """Return a job's status in its colour."""
    return Text(clean(job["status"]), style=STATUS_STYLES.get(job["status"], ""))


def _facts(job: Job) -> list[tuple[str, Text]]:
    return [
        ("job", Text(clean(job["job_id"]))),
        ("workflow", Text(clean(f"{job['workflow_name']} {job['workflow_version']}"))),
        ("run name", Text(clean(job["run_name"] or ""))),
        ("status", status_text(job)),
        ("user", Text(clean(job["user_id"] or ""))),
        ("priority", Text(str(job["priority"] or ""))),
        ("steps", Text(f"{job['steps_completed']} of {job['total_steps']}")),
        ("now at", Text(clean(job["current_step"] or ""))),
        ("created", Text(format_time(job["created_at"]))),
        ("started", Text(format_time(job["started_at"]))),
        ("ended", Text(format_time(job["completed_at"]))),
        ("took", Text(format_duration(job["duration_ms"]))),
        ("tokens", Text(format_count(job["cost_data"]["total_tokens"]))),
        ("cost", Text(format_usd(job["cost_usd"]))),
    ]
