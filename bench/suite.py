"""Everything that is asked of Callboard's speed, beside its floors and its peers, in one command.

    make bench-setup                                     environments of the peers, once
    make bench                                           every table, 5 rounds; about half an hour
    .venv/bin/python -m bench.suite --only claims,steps_postgresql --rounds 1 --quick

Each table is kept as JSON in the output folder with its plot; `results.md` is written anew from all that are
there. `--quick` writes to a folder of its own, since its figures are for trying the bench, not for reading.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.contestants import BENCH, ContestantError, Place
from bench.databases import POSTGRESQL, postgres_version
from bench.figures import describe_machine, print_table
from bench.http_load import LoadError
from bench.measuring import Plan
from bench.options import add_common_options, databases_of
from bench.plots import draw
from bench.product import write_workflows
from bench.provider import ProviderError
from bench.results import Table, demand_rows, figure_rows, read_json, write_json, write_markdown
from bench.submit_latency import ServerError
from bench.tables import claims, idle_start, in_flight, pools, steps, submits, worker_processes
from callboard.core.event_loop import run_on_fast_loop
from callboard.core.logging import configure_logging

RESULTS, QUICK_RESULTS = BENCH / "results", BENCH / ".quick"
TABLES: dict[str, Callable[[Plan], Awaitable[Table]]] = {
    "steps_postgresql": steps.measure_postgresql,
    "steps_sqlite": steps.measure_sqlite,
    "group_commit": steps.measure_group_commit,
    "in_flight": in_flight.measure,
    "in_flight_10000": in_flight.measure_many,
    "idle_start": idle_start.measure,
    "submits": submits.measure_rate,
    "submits_under_load": submits.measure_under_load,
    "celery_pool": pools.measure,
    "claims": claims.measure,
    "worker_processes": worker_processes.measure,
}


def main() -> None:
    """Measure what the command line names, print it, and write the results."""
    parser = argparse.ArgumentParser(description="Callboard beside its floors and its peers.")
    add_common_options(parser)
    parser.add_argument(
        "--only", default=",".join(TABLES), help=f"which tables, separated by commas: {', '.join(TABLES)}"
    )
    parser.add_argument("--quick", action="store_true", help="a fraction of the work, to see that everything runs")
    parser.add_argument("--output", type=Path, help="folder of the results (default: bench/results, or bench/.quick)")
    given = parser.parse_args()
    unknown = [name for name in given.only.split(",") if name not in TABLES]
    if unknown:
        parser.error(f"there is no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    run_on_fast_loop(_run(given))


async def _run(given: argparse.Namespace) -> None:
    output = given.output or (QUICK_RESULTS if given.quick else RESULTS)
    output.mkdir(parents=True, exist_ok=True)
    configure_logging("WARNING", json=True)
    has_postgresql = POSTGRESQL in await databases_of(given)
    failed: list[str] = []
    for name in given.only.split(","):
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=given.folder, prefix="callboard-bench-") as folder:
            plan = Plan(
                place=Place(folder=Path(folder), postgres_url=given.postgres),
                rounds=given.rounds,
                is_quick=given.quick,
                has_postgresql=has_postgresql,
            )
            try:
                table = await _measure(name, plan)
            except (ContestantError, LoadError, ProviderError, ServerError, TimeoutError) as error:
                failed.append(name)
                print(f"{name} FAILED: {error!r}", file=sys.stderr)
                continue
        _print(table)
        print(f"{name} took {time.monotonic() - started:.0f} s\n", file=sys.stderr)
        write_json(table, output)
        write_results(output)
    if failed:
        raise SystemExit(f"Not measured: {', '.join(failed)}.")


async def _measure(name: str, plan: Plan) -> Table:
    write_workflows(plan.place.folder)
    machine = describe_machine(plan.place.folder)
    if plan.has_postgresql:
        machine["postgresql"] = await postgres_version(plan.place.postgres_url)
    table = await TABLES[name](plan)
    table.machine = machine
    return table


def write_results(folder: Path) -> None:
    """Write `results.md` beside the folder, and a plot for each table that was kept in it."""
    tables = [read_json(path) for path in sorted(folder.glob("*.json"))]
    for table in tables:
        (folder / f"{table.key}.svg").write_text(draw(table))
    write_markdown(tables, folder.parent / f"{folder.name}.md", plots=folder.name)


def _print(table: Table) -> None:
    print(f"\n{table.title}")
    head, rows = figure_rows(table)
    print_table(head, rows)
    if table.demands:
        print_table(["ratio of", "median (lowest-highest)", "asked", "aim", ""], demand_rows(table))
    for note in table.notes:
        if "LEFT OUT" in note or "SKIPPED" in note:
            print(note)


if __name__ == "__main__":
    main()
