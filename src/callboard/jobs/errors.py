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


class ApprovalNotFoundError(NotFoundError):
    """This job asks nobody by that name."""

    code = "approval_not_found"


class ApprovalAmbiguousError(ConflictError):
    """Several open approvals of this job have that step id; answer by the id of one of them."""

    code = "approval_ambiguous"


class ApprovalEndedError(ConflictError):
    """The approval was answered, or nobody waits for it any more."""

    code = "approval_ended"


class ApprovalLateError(ConflictError):
    """The time of the approval is up."""

    code = "approval_timed_out"


class AnsweredTwiceError(ConflictError):
    """This person has answered the approval already; others still have to."""

    code = "answered_already"


class InvalidAnswerError(UnprocessableError):
    """The answer does not fit the approval's form."""

    code = "invalid_answer"


class SignalRefusedError(ConflictError):
    """The job takes no signals: it has ended, or has too many that no step has taken."""

    code = "signal_refused"


class ForkRefusedError(UnprocessableError):
    """The job cannot be forked there."""

    code = "fork_refused"


class RunTimeoutError(PermanentError):
    """The run took longer than the workflow's timeout_seconds."""

    code = "run_timeout"
    category = "timeout"


class WorkerLostError(PermanentError):
    """The worker of this job died each time it ran, at last when it ran alone, without a step more in the journal.

    Look at the end of the workers' logs: memory, a crash of a library, a call of exit. Repair it, then submit again.
    """

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


class StaleJobError(PermanentError):
    """The job made no progress for too long."""

    code = "stale"
    category = "internal"
    retryable = True  # nothing is wrong with it: nobody worked on it


class RetentionOffError(UnprocessableError):
    """Jobs are kept for ever here (RETENTION_DAYS=0); say older_than_days to delete those that are older."""

    code = "retention_off"
