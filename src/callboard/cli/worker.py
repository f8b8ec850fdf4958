"""`callboard worker`: a process that runs jobs and answers no HTTP. `callboard.worker` does the work."""

import typer

from callboard.cli.database_access import run_on_database
from callboard.cli.failures import reporting
from callboard.cli.options import JsonOption
from callboard.cli.output import open_output
from callboard.core.config import load_settings
from callboard.wiring import Services
from callboard.worker import run_worker

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:\n\ncallboard worker\n\nDATABASE_URL=postgresql://... callboard worker    (as many as you like)"
)
def worker(is_json: JsonOption = False) -> None:
    """Run jobs in a process beside the API.

    It runs until SIGTERM or Ctrl-C. Calls in flight get SHUTDOWN_GRACE_SECONDS to finish; the jobs then go back to
    the queue. The log goes to stderr.
    """
    output = open_output(is_json=is_json, is_stream=True)
    with reporting(output):
        settings = load_settings()

    def announce(_services: Services) -> None:
        where = settings.resolved_database_url.rsplit("@", 1)[-1]  # what stands before it may be a password
        if output.is_json:
            output.document({"database": where, "max_running_jobs": settings.max_running_jobs})
        else:
            output.say(f"A worker runs jobs of {where}, {settings.max_running_jobs} at once at most. Ctrl-C stops it.")

    run_on_database(output, run_worker(settings, on_start=announce))
