"""The table of what was played, for the terminal and as docs/chaos-report.md. `__main__.py` calls it."""

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from rich.table import Table

from tests.chaos.catalogue import SCENARIOS, Outcome

COLUMNS = ("scenario", "adapter", "jobs", "faults", "seconds", "calls beyond", "in flight at faults", "verdict")
HEAD = """# Chaos report

What `make chaos` did to Callboard, and what held. It wrote this page; [durability](durability.md) says what is
promised.

Every fault is a real one: `kill -9`, `kill -STOP`, a server that crashes, a connection that is cut. Servers, workers,
PostgreSQL and broker are processes of the scenario's own. After each scenario
[the ledger](../tests/chaos/ledger.py) compares the database with the provider's counts:

- every accepted job is there once and has ended as it should, with the right result, and nobody owns it;
- no journaled call was journaled or paid again, and every call of a completed job is journaled;
- no more calls were paid beyond than were in flight at the faults;
- each job has one end event and one outbox row, its events have no gaps, and nothing is still asked for;
- each journaled call has its usage row, no usage row lacks its call, and where no process was killed each paid call
  has one;
- no reservation is open, no account has money reserved;
- fences never shrank.

*Calls beyond* were paid more than once. *In flight at faults* is the most that they may be: the jobs that killed and
frozen workers held, twice where a job has two calls in flight.
"""


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """Return the outcomes as a table for the terminal."""
    table = Table(*COLUMNS)
    for outcome in outcomes:
        table.add_row(*_cells(outcome))
    return table


def write_report(path: Path, outcomes: Sequence[Outcome], *, seed: int) -> None:
    """Write the outcomes as a page."""
    rows = [_row(COLUMNS), _row("---" for _ in COLUMNS), *(_row(_cells(outcome)) for outcome in outcomes)]
    promises = [f"- **{name}**: {scenario.promise}" for name, scenario in SCENARIOS.items()]
    machine = (
        f"Callboard {version('callboard')}, Python {platform.python_version()}, seed {seed}, {platform.system()} on"
        f" {platform.machine()}."
    )
    broken = [f"- {outcome.scenario} on {outcome.adapter}: {each}" for outcome in outcomes for each in outcome.broken]
    parts = [HEAD, "## What was played\n", *rows, "", machine, "", "## What each tries to break\n", *promises]
    if broken:
        parts += ["", "## What was broken\n", *broken]
    path.write_text("\n".join(parts) + "\n")


def _cells(outcome: Outcome) -> tuple[str, ...]:
    return (
        outcome.scenario,
        outcome.adapter,
        f"{outcome.jobs:,}",
        str(outcome.faults),
        f"{outcome.seconds:.0f}",
        str(outcome.calls_beyond),
        str(outcome.excused),
        f"{len(outcome.broken)} BROKEN" if outcome.broken else "kept",
    )


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
