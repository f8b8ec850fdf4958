"""How workers, the queue and clean-ups look to people. Called by `admin`."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from callboard.cli.formats import clean, format_count, format_duration, format_time
from callboard.cli.job_views import new_table, with_title
from callboard.cli.output import Output
from callboard.client.models import Erasure, Queue, QueueGroup, StaleCleanUp, Worker

STATE_STYLES = {"alive": "green", "expired": "yellow", "stopped": "dim", "dead": "red"}
NOBODY = "(nobody)"


def describe_stale(done: StaleCleanUp) -> str:
    """Return one line about a clean-up of stale jobs.

    >>> describe_stale({"dry_run": True, "older_than_hours": 72, "total": 2, "by_status": {"pending": 0, "queued": 2},
    ...                 "job_ids": [], "is_complete": True})
    'No progress for 72 hours: 2 jobs would fail (queued 2).'
    """
    jobs = "1 job" if done["total"] == 1 else f"{format_count(done['total'])} jobs"
    verb = "would fail" if done["dry_run"] else "failed"
    parts = ", ".join(f"{status} {count}" for status, count in done["by_status"].items() if count)
    return f"No progress for {done['older_than_hours']} hours: {jobs} {verb}{f' ({parts})' if parts else ''}."


def describe_erasure(done: Erasure) -> str:
    """Return one line about what was erased, or would be."""
    verb = "would be erased" if done["dry_run"] else "erased"
    return (
        f"User {clean(done['user_id'])} of tenant {clean(done['tenant_id'])}, {verb}: jobs {done['jobs']}, "
        f"jobs stopped {done['cancelling']}, names in usage rows {done['usage_rows']}, keys {done['api_keys']}."
    )


def workers_table(workers: Sequence[Worker]) -> Table:
    """Return one line per worker; `jobs` are those that it holds, of those that it can."""
    table = new_table(
        "worker",
        "state",
        "host",
        "pid",
        "jobs",
        "started",
        "lease until, or ended",
        right=("pid", "jobs"),
        whole=("worker", "state", "started"),
    )
    for worker in workers:
        table.add_row(
            Text(clean(worker["worker_id"])),
            Text(clean(worker["state"]), style=STATE_STYLES.get(worker["state"], "")),
            Text(clean(worker["host"])),
            str(worker["pid"]),
            f"{format_count(worker['running'])}/{format_count(worker['slots'])}",
            format_time(worker["started_at"]),
            format_time(worker["dead_at"] or worker["stopped_at"] or worker["lease_until"]),
        )
    return table


def show_queue(output: Output, queue: Queue) -> None:
    """Print the numbers of the queue, then its groups."""
    oldest = f", the oldest for {format_duration(queue['oldest_seconds'] * 1000)}" if queue["ready"] else ""
    output.say(
        f"Ready {format_count(queue['ready'])}{oldest}. "
        f"Running {format_count(queue['running'])}. Waiting {format_count(queue['waiting'])}."
    )
    groups: list[tuple[str, str, list[QueueGroup]]] = [
        ("Ready by priority", "priority", queue["ready_by_priority"]),
        ("Ready by workflow", "workflow", queue["ready_by_workflow"]),
        ("Running by workflow", "workflow", queue["running_by_workflow"]),
        ("Running by user", "user", queue["running_by_user"]),
    ]
    for title, column, found in groups:
        if found:
            output.say()
            output.say(with_title(title, _groups_table(column, found)))


def _groups_table(column: str, groups: Sequence[QueueGroup]) -> Table:
    table = new_table(column, "jobs", "oldest", right=("jobs", "oldest"))
    for group in groups:
        name = group.get("priority", group.get("workflow_name", group.get("user_id")))
        table.add_row(
            Text(NOBODY if name is None else clean(name)),
            format_count(group["jobs"]),
            format_duration(group["oldest_seconds"] * 1000),
        )
    return table
