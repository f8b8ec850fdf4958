"""Telling whoever has to go on with a job that there is news for it, after that is committed.

`approvals.py`, `signals.py` and `reruns.py` call it; other processes hear it from the database.
"""

from collections.abc import Callable
from uuid import UUID

from callboard.jobs.status import JobStatus
from callboard.queues.port import Doorbell


class Rousing:
    """Rings for a job that went back to the queue, and wakes the run of one that this process holds."""

    def __init__(self, doorbell: Doorbell, *, wake_run: Callable[[UUID], None]) -> None:
        self._doorbell = doorbell
        self._wake_run = wake_run

    def rouse(self, job_id: UUID, *, was: JobStatus | None) -> None:
        """Rouse the job, which `was` in that state when the news came."""
        if was is JobStatus.PROCESSING:
            self._wake_run(job_id)
        elif was is not None and not was.is_final:
            self._doorbell.ring()

    def ring(self) -> None:
        """Tell workers that a job is ready."""
        self._doorbell.ring()
