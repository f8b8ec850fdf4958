"""What the benches have in common about numbers: spreads, percentiles, the machine, tables.

`run_rate.py` and `submit_latency.py` call this. Nothing here knows Callboard's own code.
"""

import math
import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

FSYNC_PROBES = 50
FSYNC_BYTES = 8192  # a page of PostgreSQL's log
LIBRARIES = ("callboard", "sqlalchemy", "asyncpg", "aiosqlite", "fastapi", "uvicorn", "aiohttp", "orjson")


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of one figure over the rounds, and its extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def shown(self) -> str:
        """Return the figure as people read it.

        >>> Spread(1234.5, 1100.0, 1300.0).shown()
        '1,234 (1,100-1,300)'
        """
        return f"{_number(self.median)} ({_number(self.low)}-{_number(self.high)})"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed (nearest rank).

    >>> percentile([3.0, 1.0, 2.0, 4.0], 0.5)
    2.0
    """
    return sorted(values)[math.ceil(share * len(values)) - 1]


def describe_machine(folder: Path) -> dict[str, Any]:
    """Return cores, load, versions, and how long an fsync in `folder` takes now, in milliseconds."""
    probes = _probe_fsync(folder)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load_1_minute": round(os.getloadavg()[0], 2),
        "fsync_ms": {"p50": round(percentile(probes, 0.5), 3), "p95": round(percentile(probes, 0.95), 3)},
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def print_machine(machine: dict[str, Any]) -> None:
    """Print what `describe_machine` returned, with whatever was added to it."""
    fsync = machine["fsync_ms"]
    print(
        f"{machine['cores']} cores, load {machine['load_1_minute']}, fsync p50 {fsync['p50']} ms p95 {fsync['p95']} ms"
    )
    versions = {"python": machine["python"], "sqlite": machine["sqlite"], **machine["libraries"]}
    if "postgresql" in machine:
        versions["postgresql"] = machine["postgresql"]
    print(", ".join(f"{name} {number}" for name, number in versions.items()))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print `rows` under `head`, the first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  ".join(cells).rstrip())


def _probe_fsync(folder: Path) -> list[float]:
    page = os.urandom(FSYNC_BYTES)
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(FSYNC_PROBES):
            started = time.perf_counter()
            file.write(page)
            os.fsync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    return times


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
