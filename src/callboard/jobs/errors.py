"""What can go wrong with a job, apart from its steps."""

from callboard.core.errors import (
    ConflictError,
    NotFoundError,
    PermanentError,
    ServiceUnavailableError,
    UnprocessableError,
)


class JobNotFoundError(NotFoundError):
    """There is no job with this id, or it belongs to somebody else."""

    code = "job_not_found"


class InvalidInputError(UnprocessableError):
    """The input does not fit the workflow's input_schema."""

    code = "invalid_input"


class BudgetTooHighError(UnprocessableError):
    """The file of the workflow allows a run less than this budget_usd; a submit can only lower it."""

    code = "budget_too_high"


class LimitNotFoundError(NotFoundError):
    """Nobody has set such a limit."""

    code = "limit_not_found"


class NotYetSupportedError(UnprocessableError):
    """This field belongs to a feature that is not built yet; leave it away."""

    code = "not_yet_supported"


class IdempotencyConflictError(ConflictError):
    """This Idempotency-Key was used with another body; send a new key, or the first body."""

    code = "idempotency_conflict"


class DatabaseAwayError(ServiceUnavailableError):
    """The database is away or full; the job was not accepted. Send it again."""

    code = "database_unavailable"


class RunTimeoutError(PermanentError):
    """The run took longer than the workflow's timeout_seconds."""

    code = "run_timeout"
    category = "timeout"


class WorkerLostError(PermanentError):
    """The workers that ran this job died, again and again, without getting a step further."""

    code = "worker_lost"
    category = "internal"


class JournalRefusedError(PermanentError):
    """The database refuses what is to be written of this step; the log of its worker says why."""

    code = "journal_refused"
    category = "internal"


class RunCrashedError(PermanentError):
    """Callboard itself failed on this job; the log of its worker has the details."""

    code = "internal_error"
    category = "internal"
