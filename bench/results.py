"""The suite's own arithmetic and paper: samples by round, ratios, what was asked, Markdown.

The modules of `tables` fill a `Table`; `suite.py` keeps it as JSON and writes `results.md` from all there
are. Nothing here measures.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench.figures import Spread

HEAD = """# Results

Written by `make bench`; what the figures mean stands in [README.md](README.md). Each table is one run of its own with
everything in it interleaved, round by round: compare figures of one table only. A figure is the median of the rounds,
with the lowest and highest in brackets. A ratio is taken within each round; shown is the median of the rounds' ratios.
"""


class Bound(StrEnum):
    """Whether the ratio that is asked for is the least or the most there may be."""

    AT_LEAST = "at least"
    AT_MOST = "at most"

    def holds(self, ratio: float, asked: float) -> bool:
        return ratio >= asked if self is Bound.AT_LEAST else ratio <= asked


@dataclass(frozen=True, slots=True)
class Series:
    """One figure of one contestant, a value for each round."""

    who: str
    figure: str
    values: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is asked: `figure` of `ours` divided by the same, or `other_figure`, of `other`."""

    label: str
    ours: str
    other: str
    figure: str
    other_figure: str | None = None
    bound: Bound = Bound.AT_LEAST
    asked: float | None
    aim: float | None = None


@dataclass(slots=True, kw_only=True)
class Table:
    """One table of the results: what was measured in one run, and what is asked of it."""

    key: str
    title: str
    about: str
    rounds: int = 0
    machine: dict[str, Any] = field(default_factory=dict)
    series: list[Series] = field(default_factory=list)
    demands: list[Demand] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    blocks: list[tuple[str, str]] = field(default_factory=list)  # title and text, shown as they are

    def add(self, who: str, figure: str, value: float) -> None:
        """Add the value of the present round."""
        found = self.find(who, figure)
        if found is None:
            found = Series(who, figure, [])
            self.series.append(found)
        found.values.append(value)

    def drop(self, who: str, reason: str) -> None:
        """Leave out everything of `who`, and say why: a round without it would break the ratios."""
        self.series = [series for series in self.series if series.who != who]
        self.notes.append(f"{who} IS LEFT OUT: {reason}")

    def find(self, who: str, figure: str) -> Series | None:
        return next((series for series in self.series if (series.who, series.figure) == (who, figure)), None)

    def ratio(self, demand: Demand) -> Spread | None:
        """Return the ratio of each round as a spread, or None where either side was not measured."""
        ours = self.find(demand.ours, demand.figure)
        other = self.find(demand.other, demand.other_figure or demand.figure)
        if ours is None or other is None:
            return None
        return Spread.of([a / b for a, b in zip(ours.values, other.values, strict=True)])


def write_json(table: Table, folder: Path) -> None:
    """Keep `table` with every round's values."""
    document = {name: getattr(table, name) for name in Table.__slots__}
    document["series"] = [[series.who, series.figure, _rounded(series.values)] for series in table.series]
    document["demands"] = [{name: getattr(demand, name) for name in Demand.__slots__} for demand in table.demands]
    (folder / f"{table.key}.json").write_text(json.dumps(document, indent=1) + "\n")


def read_json(path: Path) -> Table:
    """Return what `write_json` kept."""
    document = json.loads(path.read_text())
    document["series"] = [Series(*parts) for parts in document["series"]]
    document["demands"] = [Demand(**{**parts, "bound": Bound(parts["bound"])}) for parts in document["demands"]]
    document["blocks"] = [(title, text) for title, text in document["blocks"]]
    return Table(**document)


def write_markdown(tables: Sequence[Table], path: Path, *, plots: str) -> None:
    """Write all tables; `plots` is the folder of their pictures, seen from `path`."""
    parts = [HEAD, _summary(tables), *(_section(table, plots) for table in tables)]
    path.write_text("\n".join(parts))


def verdict(table: Table, demand: Demand) -> str:
    """Return what became of a demand: `aim reached`, `holds`, `FALLS SHORT`, `not measured`, or nothing to judge."""
    ratio = table.ratio(demand)
    if ratio is None:
        return "not measured"
    if demand.aim is not None and demand.bound.holds(ratio.median, demand.aim):
        return "aim reached"
    if demand.asked is None:
        return "aim not reached" if demand.aim is not None else ""
    return "holds" if demand.bound.holds(ratio.median, demand.asked) else "**FALLS SHORT**"


def demand_rows(table: Table) -> list[list[str]]:
    """Return a row of text for each demand: what, its ratio, what was asked, the aim, the verdict."""
    rows = []
    for demand in table.demands:
        ratio = table.ratio(demand)
        shown = "" if ratio is None else ratio.shown()
        asked = "" if demand.asked is None else f"{demand.bound} {demand.asked:g}"
        rows.append(
            [demand.label, shown, asked, "" if demand.aim is None else f"{demand.aim:g}", verdict(table, demand)]
        )
    return rows


def figure_rows(table: Table) -> tuple[list[str], list[list[str]]]:
    """Return the head and a row for each contestant, with a cell for each figure."""
    figures = list(dict.fromkeys(series.figure for series in table.series))
    rows = []
    for who in dict.fromkeys(series.who for series in table.series):
        found = [table.find(who, figure) for figure in figures]
        rows.append([who, *("" if series is None else Spread.of(series.values).shown() for series in found)])
    return ["", *figures], rows


def _summary(tables: Sequence[Table]) -> str:
    rows = [[table.title, *row] for table in tables for row in demand_rows(table)]
    return "## What was asked, and what there is\n\n" + _markdown_table(
        ["table", "ratio of", "median (lowest-highest)", "asked", "aim", ""], rows
    )


def _section(table: Table, plots: str) -> str:
    head, rows = figure_rows(table)
    parts = [f"## {table.title}\n", table.about + "\n", f"{_machine_line(table)}\n"]
    if rows:
        parts += [_markdown_table(head, rows), f"![{table.title}]({plots}/{table.key}.svg)\n"]
    if table.demands:
        parts.append(_markdown_table(["ratio of", "median (lowest-highest)", "asked", "aim", ""], demand_rows(table)))
    parts += [f"- {note}" for note in table.notes]
    if table.notes:
        parts.append("")
    for title, text in table.blocks:
        parts.append(f"<details><summary>{title}</summary>\n\n```text\n{text}\n```\n\n</details>\n")
    return "\n".join(parts)


def _machine_line(table: Table) -> str:
    machine = table.machine
    if not machine:
        return ""
    fsync = machine["fsync_ms"]
    versions = {"python": machine["python"], "sqlite": machine["sqlite"], **machine["libraries"]}
    versions |= {name: machine[name] for name in ("postgresql", "redis") if name in machine}
    rounds = "1 round" if table.rounds == 1 else f"{table.rounds} interleaved rounds"
    return (
        f"{rounds}; {machine['cores']} cores, load {machine['load_1_minute']} just before, "
        f"fsync p50 {fsync['p50']} ms p95 {fsync['p95']} ms; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
    )


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def median_of(series: Series) -> float:
    """Return what a plot shows."""
    return statistics.median(series.values)
