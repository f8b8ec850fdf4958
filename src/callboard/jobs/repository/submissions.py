"""Writing accepted jobs: their bundles, their idempotency keys and the jobs themselves, many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.database import Database
from callboard.core.idempotency import IdempotencyKey
from callboard.core.json_values import dumps
from callboard.jobs.models import Job, JobEvent
from callboard.workflows.models import WorkflowBundle

WORK_CHANNEL = "callboard_work"  # PostgreSQL NOTIFY: there is work, or a run is to be stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """The Idempotency-Key that came with a request, and the answer to give again.

    Keys older than `valid_since` count as unused.
    """

    tenant_id: str
    route: str
    key: str
    body_hash: str
    answer: str
    valid_since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to write. `values` are columns of `Job`; `bundle` those of its `WorkflowBundle`."""

    values: dict[str, Any]
    bundle: dict[str, Any] | None
    idempotency: Idempotency | None = None

    @property
    def job_id(self) -> UUID:
        job_id: UUID = self.values["id"]
        return job_id


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of a submission: the new job, or the one that the same key made before."""

    job_id: UUID
    is_new: bool
    body_hash: str | None = None
    answer: str | None = None


async def insert_jobs(database: Database, jobs: Sequence[NewJob]) -> list[Accepted]:
    """Write `jobs` in one transaction and return, in order, what became of each.

    A job that stands there already is one whose commit was not heard of: writing it again is success.
    """
    async with database.transaction() as connection:
        await _keep_bundles(database, connection, jobs)
        earlier = await _take_keys(database, connection, [job for job in jobs if job.idempotency is not None])
        new = [job for job in jobs if job.job_id not in earlier]
        if new:
            jobs_once = database.insert(Job).on_conflict_do_nothing(index_elements=["id"])
            events_once = database.insert(JobEvent).on_conflict_do_nothing(index_elements=["job_id", "event_id"])
            await connection.execute(jobs_once, [job.values for job in new])
            await connection.execute(events_once, [_queued_event(job.values) for job in new])
            await notify(database, connection)
    return [earlier.get(job.job_id) or Accepted(job.job_id, is_new=True) for job in jobs]


async def find_accepted(
    database: Database, tenant_id: str, route: str, key: str, *, valid_since: datetime
) -> Accepted | None:
    """Return what was accepted under this Idempotency-Key since `valid_since`, or None."""
    query = sa.select(IdempotencyKey.created_id, IdempotencyKey.body_hash, IdempotencyKey.answer).where(
        IdempotencyKey.tenant_id == tenant_id,
        IdempotencyKey.route == route,
        IdempotencyKey.key == key,
        IdempotencyKey.created_at >= valid_since,
    )
    async with database.reads() as session:
        row = (await session.execute(query)).one_or_none()
    return None if row is None else Accepted(row.created_id, is_new=False, body_hash=row.body_hash, answer=row.answer)


async def notify(database: Database, connection: AsyncConnection, payload: str = "") -> None:
    """Ring every worker that listens, when this transaction commits. One process on SQLite rings itself."""
    if database.is_postgresql:
        await connection.execute(
            sa.text("SELECT pg_notify(:channel, :payload)"),
            {"channel": f"{WORK_CHANNEL}_{database.schema}", "payload": payload},
        )


async def _keep_bundles(database: Database, connection: AsyncConnection, jobs: Sequence[NewJob]) -> None:
    """Have the bundles of `jobs` there until this transaction ends, and after it since its jobs name them.

    `retention.py` deletes bundles that no job names. Both lock a bundle's row first, as a foreign key would:
    one that is about to be named is not deleted, and one that was deleted a moment ago is written anew.
    """
    bundles = {job.bundle["hash"]: job.bundle for job in jobs if job.bundle is not None}
    missing = await _lock_bundles(connection, sorted(bundles))
    while missing:  # once more, where another process wrote the same one first
        statement = database.insert(WorkflowBundle).on_conflict_do_nothing()
        await connection.execute(statement, [bundles[key] for key in missing])
        missing = await _lock_bundles(connection, missing)


async def _lock_bundles(connection: AsyncConnection, hashes: Sequence[str]) -> list[str]:
    """Keep others from deleting the bundles of `hashes` and return those that are not there."""
    if not hashes:
        return []
    query = (
        sa.select(WorkflowBundle.hash)
        .where(WorkflowBundle.hash.in_(hashes))
        .order_by(WorkflowBundle.hash)
        .with_for_update(read=True, key_share=True)
    )
    there = set(await connection.scalars(query))
    return [each for each in hashes if each not in there]


async def _take_keys(database: Database, connection: AsyncConnection, jobs: Sequence[NewJob]) -> dict[UUID, Accepted]:
    """Write the keys of `jobs`; return, by new job's id, the earlier job of each key that was taken."""
    earlier: dict[UUID, Accepted] = {}
    for job in sorted(jobs, key=_key_order):
        found = await _take_key(database, connection, job)
        if found is not None:
            earlier[job.job_id] = found
    return earlier


async def _take_key(database: Database, connection: AsyncConnection, job: NewJob) -> Accepted | None:
    given = job.idempotency
    assert given is not None
    same_key = sa.and_(
        IdempotencyKey.tenant_id == given.tenant_id,
        IdempotencyKey.route == given.route,
        IdempotencyKey.key == given.key,
    )
    await connection.execute(sa.delete(IdempotencyKey).where(same_key, IdempotencyKey.created_at < given.valid_since))
    statement = database.insert(IdempotencyKey).values(
        tenant_id=given.tenant_id,
        route=given.route,
        key=given.key,
        body_hash=given.body_hash,
        created_id=job.job_id,
        answer=given.answer,
        created_at=job.values["created_at"],
    )
    taken = await connection.execute(statement.on_conflict_do_nothing().returning(IdempotencyKey.created_id))
    if taken.first() is not None:
        return None
    earlier = sa.select(IdempotencyKey.created_id, IdempotencyKey.body_hash, IdempotencyKey.answer).where(same_key)
    row = (await connection.execute(earlier)).one()
    return Accepted(row.created_id, is_new=False, body_hash=row.body_hash, answer=row.answer)


def _key_order(job: NewJob) -> tuple[str, str, str]:
    """Keys are taken in one order, so that two processes with the same keys cannot wait for each other."""
    assert job.idempotency is not None
    return (job.idempotency.tenant_id, job.idempotency.route, job.idempotency.key)


def _queued_event(values: dict[str, Any]) -> dict[str, Any]:
    data = dumps({"workflow_name": values["workflow_name"], "priority": values["priority"]})
    return {
        "job_id": values["id"],
        "event_id": values["last_event_id"],
        "event": "job.queued",
        "data": data,
        "created_at": values["created_at"],
    }
