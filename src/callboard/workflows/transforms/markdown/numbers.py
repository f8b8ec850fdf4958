"""Numbers as people and models write them: `85/100`, `87,5 %`, `1,250`, `8.5 out of 10`.

Called by `markdown/values.py`.
"""

import math
import re

from callboard.workflows.transforms.markdown.warnings import shorten

_NUMBER = r"\d[\d.,]{0,30}"
_FIRST = re.compile(rf"(?P<sign>(?<!\w)[-−])?(?P<number>{_NUMBER})")
_SCALED = re.compile(rf"(?P<part>{_NUMBER})\s{{0,3}}(?:/|out of|of|von|de)\s{{0,3}}(?P<whole>{_NUMBER})", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*")

Number = tuple[float | None, str | None]


def read_integer(text: str, *, out_of: int | None = None) -> tuple[int | None, str | None]:
    """Return the first number in `text`, rounded, and what is doubtful about it.

    >>> read_integer("about 1,250 people"), read_integer("87.5")
    ((1250, None), (88, None))
    """
    number, problem = read_decimal(text, out_of=out_of)
    return (None if number is None else math.floor(number + 0.5)), problem


def read_decimal(text: str, *, out_of: int | None = None) -> Number:
    """Return the first number in `text`; with `out_of`, as a part of these full marks.

    >>> read_decimal("85/100 - close by", out_of=100), read_decimal("2,5 kg"), read_decimal("1.234,5")
    ((85.0, None), (2.5, None), (1234.5, None))
    >>> read_decimal("8.5/10", out_of=100)
    (85.0, "'8.5/10' was read as 85 out of 100")
    """
    scaled = _SCALED.search(text) if out_of is not None else None
    found = _FIRST.search(text)
    if found is None:
        return None, f"{shorten(text)!r} is no number"
    if out_of is None:
        return _value(found["number"]) * (-1 if found["sign"] else 1), None
    if scaled is None:
        return _checked(text, _value(found["number"]) * (-1 if found["sign"] else 1), out_of)
    whole = _value(scaled["whole"])
    if whole in {0, out_of}:
        return _checked(text, _value(scaled["part"]), out_of)
    return _rescaled(text, _value(scaled["part"]) * out_of / whole, out_of)


def _checked(text: str, number: float, out_of: int) -> Number:
    if 0 < number < 1:
        return _rescaled(text, number * out_of, out_of)
    return number, None if 0 <= number <= out_of else f"{shorten(text)!r} is not between 0 and {out_of}"


def _rescaled(text: str, number: float, out_of: int) -> Number:
    number = round(number, 6)
    return number, f"{shorten(text)!r} was read as {number:g} out of {out_of}"


def _value(written: str) -> float:
    """Return what digits with points and commas mean: the last sign parts the decimals, unless it groups thousands."""
    digits = written.rstrip(".,")
    grouped = _THOUSANDS.fullmatch(digits)
    if grouped is not None and (grouped[1] == "," or digits.count(".") > 1):
        return float(re.sub(r"[.,]", "", digits))
    whole, _, decimals = digits.replace(",", ".").rpartition(".")
    return float(f"{whole.replace('.', '')}.{decimals}") if whole else float(decimals)
