"""How a call to an outside service can fail. Raised by every adapter here; the engine retries by type."""

from callboard.core.errors import PermanentError, TemporaryError


class UnknownServiceError(PermanentError):
    """There is no outside service, or no method of it, by that name."""

    code = "unknown_service"
    category = "workflow"
    is_unpaid = True


class ServiceParametersError(PermanentError):
    """The parameters of the call are not what the service's method takes."""

    code = "service_parameters_invalid"
    category = "workflow"
    is_unpaid = True


class ServiceAuthError(PermanentError):
    """The service did not accept our credentials."""

    code = "service_auth_failed"
    category = "service"
    is_unpaid = True


class ServiceRejectedError(PermanentError):
    """The service understood the call and refused it."""

    code = "service_rejected"
    category = "service"
    is_unpaid = True


class ServiceQuotaError(PermanentError):
    """What the service gives in a month is used up."""

    code = "service_quota_used_up"
    category = "service"
    is_unpaid = True


class ServiceAnswerUnusableError(PermanentError):
    """The service answered something that a step cannot keep: too much, or no text."""

    code = "service_answer_unusable"
    category = "service"


class ServiceRateLimitedError(TemporaryError):
    """The service asks us to slow down."""

    code = "service_rate_limited"
    category = "service"
    is_unpaid = True


class ServiceUnavailableError(TemporaryError):
    """The service could not be reached, or failed by itself."""

    code = "service_unavailable"
    category = "service"


class ServiceTimeoutError(TemporaryError):
    """The service did not answer in time."""

    code = "service_timeout"
    category = "timeout"


class CallOutOfTimeError(ServiceTimeoutError):
    """The step's time was over before the service had answered."""

    code = "step_timeout"


class ServiceAnswerError(TemporaryError):
    """The service answered something that cannot be read."""

    code = "service_answer_unreadable"
    category = "service"


class ReplayMissError(PermanentError):
    """There is no recorded answer for this call."""

    code = "replay_miss"
    category = "service"
    is_unpaid = True
