"""How long a vendor asks us to wait, as the headers of its answer say. Called by `llm` and `integrations`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")


def read_retry_after(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return the seconds to wait, or None where the headers name none that can be read.

    `Retry-After` has seconds or an HTTP date; `Retry-After-Ms` (OpenAI) is finer and goes first.

    >>> read_retry_after({"Retry-After": "1.5"}, now=datetime.now(UTC))
    1.5
    >>> read_retry_after({"Retry-After": "soon"}, now=datetime.now(UTC)) is None
    True
    """
    values = {name.lower(): value.strip() for name, value in headers.items()}
    milliseconds = values.get("retry-after-ms", "")
    if _SECONDS.fullmatch(milliseconds):
        return float(milliseconds) / 1000
    text = values.get("retry-after", "")
    return float(text) if _SECONDS.fullmatch(text) else _seconds_until(text, now)


def _seconds_until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
