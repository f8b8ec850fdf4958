"""The numbers of the queue for health and metrics (`core/telemetry.py` says what they are)."""

from callboard.core.database import Database
from callboard.core.telemetry import QueueNumbers
from callboard.jobs.repository.jobs import count_workers, read_queue_numbers


class DatabaseQueueStats:
    """Reads the numbers from the database, which is the queue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> QueueNumbers:
        """Return how much work there is now."""
        return await read_queue_numbers(self._database)

    async def count_workers(self) -> int:
        """Return how many workers live."""
        return await count_workers(self._database)
