"""A small SVG for each table: bars of the medians, a line from the lowest to the highest round.

`suite.py` calls this. Drawn by hand, so that the pictures are small, diff well, and need no library.
"""

import math
from collections.abc import Sequence
from html import escape

from bench.figures import Spread
from bench.results import Series, Table

WIDTH, LABEL_WIDTH, VALUE_WIDTH = 860, 270, 190
BAR_HEIGHT, GAP, HEAD_HEIGHT = 16, 6, 26
LOGARITHMIC_FROM = 50  # where the largest is so many times the smallest, a linear bar would be a hairline
OURS, OTHERS = "#2f6fde", "#9aa5b1"


def draw(table: Table) -> str:
    """Return the SVG of a table: a group of bars for each of its figures."""
    parts: list[str] = []
    top = 8
    for figure in dict.fromkeys(series.figure for series in table.series):
        group = [series for series in table.series if series.figure == figure]
        parts.append(_text(8, top + 14, f"{figure}{' (logarithmic)' if _is_logarithmic(group) else ''}", is_bold=True))
        top += HEAD_HEIGHT
        for series in group:
            parts += _bar(series, group, top)
            top += BAR_HEIGHT + GAP
        top += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bar(series: Series, group: Sequence[Series], top: int) -> list[str]:
    spread = Spread.of(series.values)
    left, middle = LABEL_WIDTH + 8, top + BAR_HEIGHT / 2
    length, low, high = (_length(value, group) for value in (spread.median, spread.low, spread.high))
    colour = OURS if series.who.startswith("Callboard") else OTHERS
    return [
        _text(8, top + 12, series.who),
        f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{BAR_HEIGHT}" fill="{colour}"/>',
        f'<line x1="{left + low:.1f}" x2="{left + high:.1f}" y1="{middle}" y2="{middle}" stroke="#1f2933"/>',
        _text(left + int(high) + 6, top + 12, spread.shown()),
    ]


def _length(value: float, group: Sequence[Series]) -> float:
    values = [value for series in group for value in series.values if value > 0]
    if not values or value <= 0:
        return 0.0
    room = WIDTH - LABEL_WIDTH - VALUE_WIDTH
    if not _is_logarithmic(group):
        return room * value / max(values)
    smallest = min(values) / 2
    return room * math.log(value / smallest) / math.log(max(values) / smallest)


def _is_logarithmic(group: Sequence[Series]) -> bool:
    values = [value for series in group for value in series.values if value > 0]
    return bool(values) and max(values) / min(values) > LOGARITHMIC_FROM


def _text(x: int, y: int, text: str, *, is_bold: bool = False) -> str:
    weight = ' font-weight="bold"' if is_bold else ""
    return f'<text x="{x}" y="{y}" fill="#1f2933"{weight}>{escape(text)}</text>'
