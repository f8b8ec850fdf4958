"""Writing accepted jobs: their bundles, their idempotency keys and the jobs themselves, many at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.bulk import insert_rows
from callboard.core.database import Database
from callboard.core.json_values import dumps
from callboard.jobs.models import Job, JobEvent
from callboard.jobs.repository.idempotency import Idempotency, take_key
from callboard.workflows.models import WorkflowBundle

WORK_CHANNEL = "callboard_work"  # PostgreSQL NOTIFY: there is work, or a run is to be stopped


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
        return await insert_jobs_in(database, connection, jobs)


async def insert_jobs_in(database: Database, connection: AsyncConnection, jobs: Sequence[NewJob]) -> list[Accepted]:
    """Write `jobs` in this transaction; as `insert_jobs` otherwise."""
    await _keep_bundles(database, connection, jobs)
    earlier = await _take_keys(database, connection, jobs)
    new = [job for job in jobs if job.job_id not in earlier]
    if new:
        await insert_rows(connection, Job, [job.values for job in new], refine=_once_by_id)
        await insert_rows(connection, JobEvent, [_queued_event(job.values) for job in new], refine=_once_by_number)
        await notify(database, connection)
    return [earlier.get(job.job_id) or Accepted(job.job_id, is_new=True) for job in jobs]


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
    keyed = [(job.idempotency, job) for job in jobs if job.idempotency is not None]
    for given, job in sorted(keyed, key=lambda pair: pair[0].order):
        used = await take_key(database, connection, given, created_id=job.job_id, created_at=job.values["created_at"])
        if used is not None:
            earlier[job.job_id] = Accepted(used.created_id, is_new=False, body_hash=used.body_hash, answer=used.answer)
    return earlier


def _once_by_id(statement: Any) -> Any:
    return statement.on_conflict_do_nothing(index_elements=["id"])


def _once_by_number(statement: Any) -> Any:
    return statement.on_conflict_do_nothing(index_elements=["job_id", "event_id"])


def _queued_event(values: dict[str, Any]) -> dict[str, Any]:
    data = dumps({"workflow_name": values["workflow_name"], "priority": values["priority"]})
    return {
        "job_id": values["id"],
        "event_id": values["last_event_id"],
        "event": "job.queued",
        "data": data,
        "created_at": values["created_at"],
    }
