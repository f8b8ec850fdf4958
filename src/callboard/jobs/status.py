"""The states of a job and every legal move between them: the whole truth, in one table.

Every end and every hand-back in `jobs/repository` asks here first; docs/states.md draws it.
"""

from enum import StrEnum

from callboard.core.errors import ConflictError


class IllegalMoveError(ConflictError):
    """The job is in a state from which this is not possible."""

    code = "illegal_move"


class JobStatus(StrEnum):
    """Where a job stands."""

    PENDING = "pending"  # accepted, not due before its time
    QUEUED = "queued"  # ready for a worker; also when taken back from one
    PROCESSING = "processing"  # a worker holds it
    WAITING = "waiting"  # no branch can run before a person, a signal or a timer says so
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a run has ended in it. A retry that a user asks for begins the job anew."""
        return self in FINAL_STATUSES


LEGAL_MOVES: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.QUEUED: frozenset({JobStatus.PROCESSING, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.PROCESSING: frozenset(
        {JobStatus.QUEUED, JobStatus.WAITING, JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}
    ),
    JobStatus.WAITING: frozenset({JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset({JobStatus.QUEUED}),  # by a retry alone
    JobStatus.CANCELLED: frozenset({JobStatus.QUEUED}),  # by a retry alone
}
FINAL_STATUSES = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})
RETRYABLE_STATUSES = frozenset({JobStatus.FAILED, JobStatus.CANCELLED})


def ensure_legal(source: JobStatus, target: JobStatus) -> None:
    """Return when a job may move from `source` to `target`. Raises: IllegalMoveError."""
    if target not in LEGAL_MOVES[source]:
        allowed = ", ".join(sorted(LEGAL_MOVES[source])) or "nothing: it has ended"
        raise IllegalMoveError(f"A job that is {source} cannot become {target}; it may become {allowed}.")


def ensure_retryable(source: JobStatus) -> None:
    """Return when a user may have a job in `source` tried again. Raises: IllegalMoveError."""
    if source not in RETRYABLE_STATUSES:
        allowed = " or ".join(sorted(RETRYABLE_STATUSES))
        raise IllegalMoveError(f"The job is {source}; one that is {allowed} can be tried again.")
