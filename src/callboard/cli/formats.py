"""How values look to people: money, tokens, durations, times, and text that came from outside."""

import unicodedata
from datetime import datetime
from decimal import Decimal


def format_usd(amount: float | Decimal | None) -> str:
    """Return dollars with the decimals that tell something: four at least, six at most.

    >>> format_usd(0.0321), format_usd(0.000018), format_usd(0), format_usd(None)
    ('$0.0321', '$0.000018', '$0.00', '')
    """
    if amount is None:
        return ""
    exact = Decimal(str(amount))
    if exact == 0:
        return "$0.00"
    text = f"{exact:,.6f}"
    return "$" + (text.removesuffix("00"))


def format_count(number: int | None) -> str:
    """Return a whole number with separators; nothing for none.

    >>> format_count(12345), format_count(None)
    ('12,345', '')
    """
    return "" if number is None else f"{number:,}"


def format_duration(milliseconds: float | None) -> str:
    """Return a duration in the unit that people would say.

    >>> [format_duration(ms) for ms in (12, 1234, 75_000, 7_260_000, None)]
    ['12 ms', '1.2 s', '1 min 15 s', '2 h 01 min', '']
    """
    if milliseconds is None:
        return ""
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_time(moment: str | None) -> str:
    """Return an ISO-8601 moment in the reader's own time zone, to the second; nothing for none."""
    if moment is None:
        return ""
    try:
        local = datetime.fromisoformat(moment).astimezone()
    except ValueError:
        return clean(moment)
    return local.strftime("%Y-%m-%d %H:%M:%S")


def shorten_path(path: str, width: int) -> str:
    """Return a step's path in at most `width` characters: its first and last parts tell most.

    >>> shorten_path("places/hospitals/find_hospitals", 26), shorten_path("places", 26)
    ('places/…/find_hospitals', 'places')
    """
    if len(path) <= width:
        return path
    parts = path.split("/")
    for short in (f"{parts[0]}/…/{parts[-1]}", f"…/{parts[-1]}"):
        if len(parts) > 2 and len(short) <= width:
            return short
    return "…" + path[1 - width :]


def clean(value: object) -> str:
    """Return text from outside without control characters, which could move the cursor or hide what follows.

    >>> clean("red \\x1b[31m alert")
    'red  [31m alert'
    """
    return "".join(
        " " if unicodedata.category(char) in {"Cc", "Cs"} and char not in "\n\t" else char for char in str(value)
    )
