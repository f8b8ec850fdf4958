"""Worker rows: registering, renewing, and marking dead. `takeovers.py` takes what a dead worker held."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from callboard.core.database import Database, utc_now
from callboard.core.ids import WorkerId
from callboard.jobs.models import Worker
from callboard.jobs.process_identity import ProcessIdentity


@dataclass(frozen=True, slots=True)
class LivingWorker:
    """A worker that nobody has marked dead, and whether its lease has run out by the database's clock."""

    id: WorkerId
    identity: ProcessIdentity
    is_expired: bool


async def insert_worker(
    connection: AsyncConnection, worker_id: WorkerId, identity: ProcessIdentity, *, lease_seconds: float, slots: int
) -> None:
    """Write the row by which others see that this process lives."""
    await connection.execute(
        sa.insert(Worker).values(
            id=worker_id,
            host=identity.host,
            boot_id=identity.boot_id,
            pid_namespace=identity.pid_namespace,
            pid=identity.pid,
            process_started_at=identity.started_at,
            slots=slots,
            lease_until=utc_now(lease_seconds),
            started_at=utc_now(),
        )
    )


async def renew_worker(connection: AsyncConnection, worker_id: WorkerId, *, lease_seconds: float) -> bool:
    """Renew the lease and return True, or False when this worker was marked dead."""
    renewed = await connection.execute(
        sa.update(Worker)
        .where(Worker.id == worker_id, Worker.dead_at.is_(None))
        .values(lease_until=utc_now(lease_seconds))
        .returning(Worker.id)
    )
    return renewed.first() is not None


async def mark_stopped(database: Database, worker_id: WorkerId) -> None:
    """Write that this worker left in good order."""
    async with database.transaction() as connection:
        await connection.execute(sa.update(Worker).where(Worker.id == worker_id).values(stopped_at=utc_now()))


async def list_living_workers(database: Database) -> list[LivingWorker]:
    """Return every worker that is neither stopped nor marked dead."""
    query = sa.select(Worker, (Worker.lease_until < utc_now()).label("is_expired")).where(
        Worker.dead_at.is_(None), Worker.stopped_at.is_(None)
    )
    async with database.reads() as session:
        rows = (await session.execute(query)).all()
    return [LivingWorker(WorkerId(row.Worker.id), _identity_of(row.Worker), bool(row.is_expired)) for row in rows]


async def list_dead(database: Database, worker_ids: Sequence[WorkerId]) -> list[WorkerId]:
    """Return those of `worker_ids` that somebody marked dead."""
    if not worker_ids:
        return []
    query = sa.select(Worker.id).where(Worker.id.in_(worker_ids), Worker.dead_at.is_not(None))
    async with database.reads() as session:
        return [WorkerId(worker_id) for worker_id in await session.scalars(query)]


async def mark_dead(database: Database, worker_id: WorkerId, *, only_if_expired: bool) -> bool:
    """Mark a worker dead, for good, and return whether this call did it.

    `only_if_expired` judges its lease once more under the row's lock: it may have been renewed meanwhile.
    """
    statement = sa.update(Worker).where(Worker.id == worker_id, Worker.dead_at.is_(None), Worker.stopped_at.is_(None))
    if only_if_expired:
        statement = statement.where(Worker.lease_until < utc_now())
    async with database.transaction() as connection:
        marked = await connection.execute(statement.values(dead_at=utc_now()).returning(Worker.id))
        return marked.first() is not None


def _identity_of(row: Worker) -> ProcessIdentity:
    return ProcessIdentity(row.host, row.boot_id, row.pid_namespace, row.pid, row.process_started_at)
