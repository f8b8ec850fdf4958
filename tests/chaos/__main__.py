"""Play scenarios and show what was kept: `make chaos`.

    python -m tests.chaos                                     all of them, on every adapter
    python -m tests.chaos --only kill-workers --adapter celery-redis --jobs 100 --seed 7
    python -m tests.chaos --report docs/chaos-report.md       and write the table there

Ends with 1 when a promise was broken.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from tests.chaos.catalogue import SCENARIOS, Outcome, play
from tests.chaos.report import table_of, write_report
from tests.fixtures.queue_rigs import ADAPTERS

DEFAULT_SEED = 20261128


def main() -> None:
    """Play what was asked for."""
    given = _options()
    console = Console(stderr=given.json)
    outcomes: list[Outcome] = []
    for name in given.only or SCENARIOS:
        scenario = SCENARIOS[name]
        for adapter in scenario.adapters:
            if given.adapter and adapter not in given.adapter:
                continue
            console.print(f"{name} on {adapter} ...")
            jobs = scenario.jobs if given.jobs is None else given.jobs
            seconds = scenario.seconds if given.seconds is None else given.seconds
            outcome = play(name, adapter, jobs=jobs, seconds=seconds, seed=given.seed)
            outcomes.append(outcome)
            for broken in outcome.broken:
                console.print(f"  BROKEN: {broken}", markup=False)
            if given.json:
                sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
                sys.stdout.flush()
            if given.report is not None:
                write_report(given.report, outcomes, seed=given.seed)
    console.print(table_of(outcomes))
    sys.exit(any(outcome.broken for outcome in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Inject faults, see what holds")
    parser.add_argument("--only", action="append", choices=tuple(SCENARIOS), help="this scenario; more than once")
    parser.add_argument("--adapter", action="append", choices=ADAPTERS, help="on this adapter; more than once")
    parser.add_argument("--jobs", type=int, help="jobs of each scenario")
    parser.add_argument("--seconds", type=float, help="for which faults are injected at least")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of the random moments and victims")
    parser.add_argument("--json", action="store_true", help="one JSON line for each on stdout, the rest on stderr")
    parser.add_argument("--report", type=Path, help="the Markdown file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
