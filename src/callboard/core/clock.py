"""The time, as aware UTC. What decides who owns a job asks the database instead (`core.database.utc_now`)."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def milliseconds_between(start: datetime, end: datetime) -> int:
    """Return the whole milliseconds from `start` to `end`, never below 0."""
    return max(0, round((end - start).total_seconds() * 1000))


def as_utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; one without an offset is taken as UTC.

    Raises: ValueError, when it lies outside what a database stores once its offset is taken off.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies outside the years 1 to 9999") from error


def to_iso(moment: datetime) -> str:
    """Return `moment` as ISO 8601 with `Z`, the form of every time that leaves the API.

    >>> to_iso(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2026-01-02T03:04:05Z'
    """
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")
