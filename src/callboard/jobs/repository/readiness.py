"""Which jobs of the queue anybody may claim, and which are suspects; as conditions that their indexes serve.

`claims.py`, `lanes.py` and `jobs.py` ask in these words. Constants are written out: an index with a condition
serves a query only where the planner sees that it holds.
"""

from typing import Any

import sqlalchemy as sa

from callboard.jobs.models import Job

READY_INDEX = "idx_workflow_jobs_ready"
LANES_INDEX = "idx_workflow_jobs_lanes"
SUSPECTS_INDEX = "idx_workflow_jobs_suspects"

# Take-overs without progress, one less than `max_retries` allows. A constant, for which the planner has statistics:
# compared with `max_retries` it expects a third of the queue, and sorts all of it in place of reading it in order.
SUSPECT_AFTER: sa.ColumnElement[int] = sa.literal_column("2")
_IS_QUEUED = "'queued'"


def is_ready(job: type[Job] = Job) -> sa.ColumnElement[bool]:
    """Return the condition that any worker may claim `job` (the table, or an alias of it)."""
    return sa.and_(job.status == sa.literal_column(_IS_QUEUED), job.retry_count < SUSPECT_AFTER)


def is_suspect(job: type[Job] = Job) -> sa.ColumnElement[bool]:
    """Return the condition that `job` waits to be run alone: one more death of its worker would be its last."""
    return sa.and_(job.status == sa.literal_column(_IS_QUEUED), job.retry_count >= SUSPECT_AFTER)


def in_claim_order(job: type[Job] = Job) -> tuple[sa.ColumnElement[Any], ...]:
    """Return what ready jobs are ordered by: the most urgent first, and of these the oldest."""
    return (job.priority.desc(), job.id.asc())


def by_index(job: type[Job], index: str, query: sa.Select[Any]) -> sa.Select[Any]:
    """Return `query` with `index` named for SQLite, which would take that of the status and sort the whole queue."""
    return query.with_hint(job, f"INDEXED BY {index}", "sqlite")
