"""What every bench takes on its command line. `run_rate.py` and `submit_latency.py` call this."""

import argparse
import getpass
import os
import sys
from pathlib import Path

from bench.databases import POSTGRESQL, SQLITE, postgres_version


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say on what, how often and for how long is measured."""
    default_url = f"postgresql://{getpass.getuser()}@127.0.0.1:5432/postgres"
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument(
        "--limit-seconds", type=float, default=180, help="begin no new round after this long (default: 180)"
    )
    parser.add_argument("--databases", default=f"{SQLITE},{POSTGRESQL}", help="which ones, separated by commas")
    parser.add_argument(
        "--postgres",
        default=os.environ.get("BENCH_POSTGRES_URL", default_url),
        help="a server on which databases may be made and dropped (default: BENCH_POSTGRES_URL, else port 5432 here)",
    )
    parser.add_argument(
        "--folder", type=Path, help="where SQLite files go, on the disk to be measured (default: the temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON, every round's sample too")


async def databases_of(given: argparse.Namespace) -> list[str]:
    """Return the databases to measure; PostgreSQL is left out, loudly, where none answers."""
    wanted = [name for name in (SQLITE, POSTGRESQL) if name in given.databases.split(",")]
    if POSTGRESQL in wanted and await postgres_version(given.postgres) is None:
        print("PostgreSQL IS LEFT OUT: no server answers at --postgres.", file=sys.stderr)
        wanted.remove(POSTGRESQL)
    if not wanted:
        raise SystemExit(f"Nothing to measure: --databases takes {SQLITE}, {POSTGRESQL}.")
    return wanted
