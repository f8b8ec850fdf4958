"""`callboard test`: run recorded tests, which stand beside workflows as `*.test.json`. Nobody is called."""

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from callboard.cli.case_files import CaseReport, Cases, find_test_files
from callboard.cli.case_recording import record_cases, update_cases
from callboard.cli.case_reports import reports_document, show_reports, write_junit
from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.core.config import Settings, load_settings
from callboard.core.logging import configure_service_logging
from callboard.workbench import open_workbench

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:\n\n"
    "callboard test\n\n"
    "callboard test workflows/definitions/hello.json -k greets\n\n"
    "callboard test my/flows --junit report.xml\n\n"
    "OPENROUTER_API_KEY=... callboard test my/flow.test.json --record"
)
def run_tests(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Test files, workflows that have one, folders. Without: WORKFLOWS_DIR.", show_default=False
        ),
    ] = None,
    name_part: Annotated[str, typer.Option("-k", metavar="TEXT", help="Only cases with this in their name.")] = "",
    record: Annotated[
        bool, typer.Option("--record", help="Ask models and services anew, keep the answers, then --update.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Write the outputs that came into the tests, as what is expected.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the result as JUnit XML.")] = None,
    is_json: JsonOption = False,
) -> None:
    """Run the recorded tests of workflows; nobody is called.

    A test is a workflow, an input, kept answers and what must come out. Only --record calls anybody. The exit code
    is 1 when a test fails.
    """
    output = open_output(is_json=is_json)
    with reporting(output):
        settings = load_settings()
        configure_service_logging("cli", settings, level="ERROR")  # what a case does wrong is in its report
        files = find_test_files(paths or [settings.workflows_dir])
        started = time.monotonic()
        reports = asyncio.run(_run(output, settings, files, name_part, record=record, update=update or record))
        duration_ms = (time.monotonic() - started) * 1000
        if not reports:
            where = f" with {name_part!r} in its name" if name_part else ""
            message = f"There is no test{where} here. `callboard new workflow` makes a workflow with one."
            raise CommandError(message, exit_code=ExitCode.NOT_FOUND, title="No test")
        if junit is not None:
            _write_junit(junit, reports, duration_ms)
        if is_json:
            output.document(reports_document(reports, duration_ms=duration_ms))
        else:
            show_reports(output, reports, duration_ms=duration_ms)
    raise typer.Exit(ExitCode.OK if all(report.has_passed for report in reports) else ExitCode.FAILED)


async def _run(
    output: Output, settings: Settings, files: list[Path], name_part: str, *, record: bool, update: bool
) -> list[CaseReport]:
    async with open_workbench(settings) as workbench:
        cases = Cases(workbench)
        if record:
            for line in await record_cases(workbench, cases.read(files, name_part=name_part)):
                output.complain(line, style="dim")
        if update:
            read = cases.read(files, name_part=name_part)
            for line in update_cases(read, await cases.run(read)):
                output.complain(line, style="dim")
        return await cases.run(cases.read(files, name_part=name_part))


def _write_junit(path: Path, reports: list[CaseReport], duration_ms: float) -> None:
    try:
        write_junit(path, reports, duration_ms=duration_ms)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}.", title="The report cannot be written") from error
