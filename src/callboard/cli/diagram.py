"""`callboard diagram`: a workflow file as a Mermaid flowchart, on stdout or in a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.finding_views import document_of
from callboard.cli.formats import clean
from callboard.cli.local_files import DEFINITION_SUFFIX, telling_findings
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.core.config import load_settings
from callboard.workflows.definition import WorkflowDefinition, read_definition
from callboard.workflows.diagram import draw_diagram, draw_markdown
from callboard.workflows.errors import InvalidWorkflowError, WorkflowNotFoundError
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.json_files import json_files_in, read_json_file

MARKDOWN_SUFFIXES = frozenset({".md", ".markdown"})

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Examples:\n\ncallboard diagram hello\n\n"
    "callboard diagram my/flow.json -o docs/flow.md\n\n"
    "callboard diagram my/flow.json -o flow.mmd --json"
)
def diagram(
    workflow: Annotated[
        str,
        typer.Argument(
            help="A workflow file, or the name of one in WORKFLOWS_DIR.", metavar="FILE|NAME", show_default=False
        ),
    ],
    output_path: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write it there; a .md file gets a title and a fence around it."
        ),
    ] = None,
    is_json: JsonOption = False,
) -> None:
    """Draw a workflow as a Mermaid flowchart.

    GitHub, GitLab and many editors show it as a picture. The same file always gives the same text. A file with
    errors is drawn as far as its steps can be read.
    """
    output = open_output(is_json=is_json)
    with reporting(output), telling_findings(output):
        definition, doubts = _read(_find(workflow))
        as_markdown = output_path is not None and output_path.suffix.lower() in MARKDOWN_SUFFIXES
        text = draw_markdown(definition) if as_markdown else draw_diagram(definition)
        if output_path is not None:
            _write(output_path, text)
    if is_json:
        written = None if output_path is None else str(output_path)
        findings = [document_of(finding) for finding in doubts]
        output.document({"workflow": definition.name, "file": written, "diagram": text, "findings": findings})
        return
    if output_path is None:
        sys.stdout.write(text)
    else:
        output.say(f"{clean(str(output_path))} has the diagram of {definition.name}.")
    _tell_doubts(output, workflow, doubts)


def _find(wanted: str) -> Path:
    """Return the workflow file that is meant. Raises: WorkflowNotFoundError, with the nearest names."""
    path = Path(wanted)
    if path.suffix == DEFINITION_SUFFIX or path.is_file():
        return path
    folder = load_settings().workflows_dir
    known = {file.stem: file for file in json_files_in(folder)}
    if wanted not in known:
        raise WorkflowNotFoundError(wanted, known=known)
    return known[wanted]


def _read(path: Path) -> tuple[WorkflowDefinition, list[WorkflowFinding]]:
    """Return what can be read of the file, and what cannot. Raises: InvalidWorkflowError, when nothing can be drawn."""
    source = read_json_file(path, "workflow file")
    read = read_definition(source.value) if source.is_usable else None
    found = [*source.findings, *(read.findings if read is not None else ())]
    findings = [finding.in_file(path.name) for finding in source.place(found)]
    if read is None or read.definition is None or not read.definition.steps:
        raise InvalidWorkflowError(findings, name=path.stem)
    return read.definition, [each for each in findings if each.is_error and not _is_drawn_all_the_same(each)]


def _is_drawn_all_the_same(finding: WorkflowFinding) -> bool:
    """Return whether it is about a step type of the format that is not built yet."""
    return finding.code == "not_yet_supported" and finding.pointer.endswith("/type")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        message = f"{clean(str(path))} cannot be written: {error.strerror or error}."
        raise CommandError(message, exit_code=ExitCode.USAGE) from error


def _tell_doubts(output: Output, workflow: str, doubts: list[WorkflowFinding]) -> None:
    if doubts:
        count = "1 error" if len(doubts) == 1 else f"{len(doubts)} errors"
        output.complain(
            f"The file has {count} and was drawn as far as it can be read: callboard validate {clean(workflow)}",
            style="yellow",
        )
