"""Ending runs together: each end, with its outbox row, is durable before its worker forgets the run.

`jobs/runner.py` hands over how a run ended; `jobs/endings.py` tells whoever waits for it.
"""

from callboard.core.batch_writer import BatchWriter
from callboard.core.database import Database
from callboard.core.telemetry import Telemetry
from callboard.jobs.leases import WorkerLease
from callboard.jobs.repository.finishes import Finish, Finished, write_finishes


class Finishes:
    """The ends of a process's runs, committed together."""

    def __init__(self, database: Database, *, telemetry: Telemetry, lease: WorkerLease) -> None:
        self._writer: BatchWriter[Finish, Finished] = BatchWriter(
            lambda finishes: write_finishes(database, finishes),
            name="finishes",
            keep_trying=lease.keeps_trying,
            on_flush=telemetry.flushed,
        )
        telemetry.watch_writer("finishes", lambda: self._writer.waiting)

    async def write(self, finish: Finish) -> Finished:
        """Return what became of `finish`, once that is durable."""
        return await self._writer.write(finish, size_bytes=len(finish.outputs_json))

    async def close(self) -> None:
        """Return when everything queued is written."""
        await self._writer.close()
