"""Reading what the references in the config of an approval or wait step led to."""

import math
from datetime import datetime

from callboard.core.clock import as_utc
from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.references import describe_type
from callboard.workflows.steps.wait_config import MAX_WAIT_SECONDS


class WaitConfigError(PermanentError):
    """What the references in the step's config led to is not what it takes."""

    code = "wait_config_invalid"
    category = "workflow"


def read_seconds(value: JsonValue, field: str) -> float | None:
    """Return the seconds that `value` says, None for null. Raises: WaitConfigError.

    >>> read_seconds(90, "seconds")
    90.0
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WaitConfigError(f"{field} is a number of seconds, not {describe_type(value)}.")
    if not 0 <= value <= MAX_WAIT_SECONDS:
        raise WaitConfigError(f"{field} is from 0 to {MAX_WAIT_SECONDS} (a year), not {value}.")
    return float(value)


def read_moment(value: JsonValue) -> datetime:
    """Return the moment that `value` says as ISO 8601, in UTC. Raises: WaitConfigError."""
    if not isinstance(value, str):
        raise WaitConfigError(f"until is an ISO 8601 time in text, not {describe_type(value)}.")
    try:
        return as_utc(datetime.fromisoformat(value))
    except ValueError as error:
        raise WaitConfigError(f'until is an ISO 8601 time such as 2026-11-20T10:00:00Z, not "{value[:60]}".') from error
