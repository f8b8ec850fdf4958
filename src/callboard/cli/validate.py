"""`callboard validate`: everything that is wrong with workflow files, each at its line, for people and for CI."""

import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.finding_views import document_of, show_findings
from callboard.cli.formats import clean
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.core.config import Settings, load_settings
from callboard.workbench import Workbench, open_workbench
from callboard.workflows.catalogue import find_same_names
from callboard.workflows.files import BrokenWorkflow, LoadedWorkflow, folders_for
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.json_files import json_files_in

STDIN = "-"
STDIN_NAME = "stdin"

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """A file that was looked at. `shown` is its path as the user wrote it."""

    shown: str
    workflow: str
    findings: tuple[WorkflowFinding, ...]

    def count(self, *, errors: bool) -> int:
        return sum(finding.is_error is errors for finding in self.findings)


@app.command(
    epilog="Examples:\n\ncallboard validate\n\ncallboard validate flows/reply.json --strict\n\n"
    "callboard validate flows --json\n\ncat reply.json | callboard validate -"
)
def validate(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE|FOLDER|-]...",
            help="What to look at; - is stdin. Without it: WORKFLOWS_DIR.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Count warnings as errors.")] = False,
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            help="Folder of prompt files. Without it: `prompts` beside the file, then one folder up, then PROMPTS_DIR.",
            show_default=False,
        ),
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """Tell everything that is wrong with workflow files, with line and column.

    A folder is read without what lies in folders below it; recorded tests (*.test.json) are left out.
    Exits with 0 when no file has an error (with --strict: nor a warning), else with 1.
    """
    output = open_output(is_json=is_json)
    with reporting(output):
        checked = asyncio.run(_check_all(load_settings(), paths or [], prompts))
        _report(output, checked)
        if any(file.count(errors=True) or (strict and file.findings) for file in checked):
            raise typer.Exit(ExitCode.FAILED)


async def _check_all(settings: Settings, paths: Sequence[str], prompts_dir: Path | None) -> list[CheckedFile]:
    async with open_workbench(settings) as workbench:
        wanted = paths or [str(settings.workflows_dir)]
        read = {shown: _read(workbench, shown, prompts_dir) for shown in _files_of(wanted)}
    folders = [path for path in map(Path, wanted) if path.is_dir()]
    doubles = {double.path: double for folder in folders for double in find_same_names(_loaded_in(folder, read))}
    return [_checked(shown, doubles.get(each.path, each)) for shown, each in read.items()]


def _files_of(paths: Sequence[str]) -> Iterator[str]:
    """Yield the files that the arguments name, each once. Raises: CommandError, for what is not there."""
    seen: set[str] = set()
    for name in paths:
        path = Path(name)
        if name != STDIN and not path.exists():
            raise CommandError(f"There is no file or folder {clean(name)}.", exit_code=ExitCode.USAGE)
        found = [name] if name == STDIN or not path.is_dir() else sorted(map(str, json_files_in(path)))
        if not found:
            raise CommandError(f"There is no workflow file (*.json) in {clean(name)}.", exit_code=ExitCode.USAGE)
        for each in found:
            if each not in seen:
                seen.add(each)
                yield each


def _read(workbench: Workbench, shown: str, prompts_dir: Path | None) -> LoadedWorkflow | BrokenWorkflow:
    path = Path(STDIN_NAME) if shown == STDIN else Path(shown)
    reader = workbench.reader_for(folders_for(path, workbench.reader.folders, prompts_dir=prompts_dir))
    return reader.read_bytes(sys.stdin.buffer.read(), path) if shown == STDIN else reader.read(path)


def _loaded_in(folder: Path, read: Mapping[str, LoadedWorkflow | BrokenWorkflow]) -> list[LoadedWorkflow]:
    """Return the workflows of a folder: within one a name may be used once."""
    return [each for each in read.values() if isinstance(each, LoadedWorkflow) and each.path.parent == folder]


def _checked(shown: str, read: LoadedWorkflow | BrokenWorkflow) -> CheckedFile:
    findings = read.warnings if isinstance(read, LoadedWorkflow) else read.findings
    name = STDIN_NAME if shown == STDIN else shown
    return CheckedFile(name, read.name, tuple(replace(finding, file=name) for finding in findings))


def _report(output: Output, checked: Sequence[CheckedFile]) -> None:
    errors = sum(file.count(errors=True) for file in checked)
    warnings = sum(file.count(errors=False) for file in checked)
    if output.is_json:
        output.document({"files": [_document_of(file) for file in checked], "errors": errors, "warnings": warnings})
        return
    for file in checked:
        show_findings(output.console, file.findings, file=file.shown)
    subject = _count(len(checked), "file")
    if not errors and not warnings:
        output.say(f"{subject}: nothing is wrong.", style="green")
        return
    output.say(
        f"{subject}: {_count(errors, 'error')}, {_count(warnings, 'warning')}.", style="red" if errors else "yellow"
    )


def _document_of(file: CheckedFile) -> dict[str, Any]:
    return {
        "file": file.shown,
        "name": file.workflow,
        "is_valid": file.count(errors=True) == 0,
        "findings": [document_of(finding) for finding in file.findings],
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
