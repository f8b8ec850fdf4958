"""Choosing what to claim where running jobs are limited. `claims.py` calls it inside the claiming transaction.

A lane is what all limits treat alike (`jobs/running_limits.py`). Most claims find work near the front of the
queue. When all of that belongs to lanes that are full, the first job of each lane is looked up, by steps from lane
to lane, so that it does not matter how many jobs of a full one stand in front.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from callboard.jobs.models import Job
from callboard.jobs.repository.fences import one_of
from callboard.jobs.repository.readiness import LANES_INDEX, READY_INDEX, by_index, in_claim_order, is_ready
from callboard.jobs.running_limits import Allowances, Lane, RunningLimits

LOOK_AHEAD = 500  # jobs at the front of the queue: enough for five full claims, and read in 3 ms


async def choose_within_limits(connection: AsyncConnection, limit: int, limits: RunningLimits) -> list[UUID]:
    """Return up to `limit` ready jobs that `limits` let start now, by priority, then age.

    Fewer than could start may come back, but none only when none can: who got some asks again.
    """
    allowances = await read_allowances(connection, limits)
    front = await connection.execute(_ready_jobs().limit(LOOK_AHEAD))
    chosen = list(islice((row.id for row in front if allowances.take(lane_of(row))), limit))
    return chosen or await _choose_by_lanes(connection, limit, allowances)


async def read_allowances(connection: AsyncConnection, limits: RunningLimits) -> Allowances:
    """Return what `limits` leave beside the jobs that run now, whatever worker runs them."""
    rows = await connection.execute(count_running(*lane_columns())) if limits.are_set else ()
    return Allowances(limits, {lane_of(row): row.jobs for row in rows})


def count_running(*by: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Return the query of how many jobs run (`jobs`), by the columns of `by`."""
    is_running = sa.and_(Job.owner.is_not(None), Job.status == sa.literal_column("'processing'"))
    return sa.select(*by, sa.func.count().label("jobs")).where(is_running).group_by(*by)


def lane_columns(job: type[Job] = Job) -> tuple[sa.ColumnElement[Any], ...]:
    """Return the columns that make a lane, for `lane_of` to read."""
    no_user: sa.ColumnElement[str] = sa.literal_column("''")  # written out, as in the index
    return (
        job.tenant_id.label("tenant_id"),
        sa.func.coalesce(job.user_id, no_user).label("lane_user"),
        job.workflow_name.label("workflow_name"),
    )


def lane_of(row: sa.Row[Any]) -> Lane:
    """Return the lane of a row that has `lane_columns`."""
    return Lane(row.tenant_id, row.lane_user, row.workflow_name)


_COLUMNS_OF_TURN = sa.select(Job.id, Job.priority, *lane_columns())


async def _choose_by_lanes(connection: AsyncConnection, limit: int, allowances: Allowances) -> list[UUID]:
    """Return what all lanes together have first. No more lanes than jobs are wanted can have a part in it."""
    heads = [row for row in await connection.execute(_first_of_each_lane()) if allowances.left(lane_of(row)) != 0]
    first_lanes = [row.id for row in sorted(heads, key=_turn)[:limit]]
    rows = await connection.execute(_first_of_lanes(connection, first_lanes, limit))
    return list(islice((row.id for row in sorted(rows, key=_turn) if allowances.take(lane_of(row))), limit))


def _turn(row: sa.Row[Any]) -> tuple[int, UUID]:
    """Return what ready jobs are ordered by, as `in_claim_order` does in SQL."""
    return (-row.priority, row.id)


def _ready_jobs() -> sa.Select[Any]:
    return by_index(Job, READY_INDEX, _COLUMNS_OF_TURN.where(is_ready()).order_by(*in_claim_order()))


def _first_of_lanes(connection: AsyncConnection, heads: Sequence[UUID], limit: int) -> sa.Select[Any]:
    """Return the query of the first `limit` jobs of each lane that one of `heads` is in."""
    head, other = aliased(Job), aliased(Job)
    in_its_lane = sa.tuple_(*lane_columns(other)) == sa.tuple_(*lane_columns(head))
    first = sa.select(other.id).where(is_ready(other), in_its_lane).order_by(*in_claim_order(other)).limit(limit)
    first = by_index(other, LANES_INDEX, first).correlate(head)
    if connection.dialect.name == "postgresql":
        ids = first.lateral()
        return _COLUMNS_OF_TURN.select_from(sa.join(head, ids, sa.true()).join(Job, Job.id == ids.c.id)).where(
            one_of(connection, head.id, heads)
        )
    return _COLUMNS_OF_TURN.select_from(sa.join(head, Job, Job.id.in_(first))).where(head.id.in_(heads))


def _first_of_each_lane() -> sa.Select[Any]:
    """Return the query of every lane's first job: from one to the next, a look into the index for each.

    Source: PostgreSQL wiki, "Loose indexscan".
    """
    current, next_lane = aliased(Job), aliased(Job)
    in_lane_order = (*lane_columns(next_lane), *in_claim_order(next_lane))
    first = sa.select(next_lane.id).where(is_ready(next_lane)).order_by(*in_lane_order).limit(1)
    first = by_index(next_lane, LANES_INDEX, first)
    lanes = sa.select(first.scalar_subquery().label("id")).cte("lanes", recursive=True)
    here, there = lane_columns(current), lane_columns(next_lane)
    # another workflow, else another user, else another tenant: SQLite compares no rows by an index on an expression
    steps = [
        first.where(*(there[n] == here[n] for n in range(same)), there[same] > here[same]).correlate(current)
        for same in reversed(range(len(here)))
    ]
    following = sa.func.coalesce(*(step.scalar_subquery() for step in steps))
    lanes = lanes.union_all(sa.select(following).select_from(lanes.join(current, current.id == lanes.c.id)))
    return _COLUMNS_OF_TURN.join(lanes, lanes.c.id == Job.id)
