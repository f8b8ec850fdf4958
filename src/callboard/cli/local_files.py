"""Finds the workflow that a command without a server works on: a file anywhere, or a name in WORKFLOWS_DIR.

Called by `run` and `test`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from callboard.cli.exits import ExitCode
from callboard.cli.finding_views import show_findings
from callboard.cli.output import Output
from callboard.workbench import Workbench
from callboard.workflows.catalogue import WorkflowCatalogue
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import InvalidWorkflowError
from callboard.workflows.files import BrokenWorkflow, DefaultsFor, LoadedWorkflow, folders_for

DEFINITION_SUFFIX = ".json"


@contextmanager
def telling_findings(output: Output) -> Iterator[None]:
    """Show what is wrong with a workflow file as `validate` does, and end the command; with --json, as a problem."""
    try:
        yield
    except InvalidWorkflowError as error:
        if output.is_json:
            raise
        show_findings(output.errors, error.findings)
        count = sum(finding.is_error for finding in error.findings)
        output.complain(f"The workflow {error.name} cannot run: {count} error{'s' if count != 1 else ''}.", style="red")
        raise typer.Exit(ExitCode.REFUSED) from error


def find_workflow(workbench: Workbench, wanted: str, *, prompts_dir: Path | None = None) -> LoadedWorkflow:
    """Return the workflow `wanted`: a file, or the name of one in WORKFLOWS_DIR.

    Raises: WorkflowNotFoundError, with the nearest names; InvalidWorkflowError, with every finding.
    """
    path = Path(wanted)
    if path.suffix == DEFINITION_SUFFIX or path.is_file():
        return read_workflow(workbench, path, prompts_dir=prompts_dir)
    folder = workbench.settings.workflows_dir
    usual = folder / f"{wanted}{DEFINITION_SUFFIX}"
    if usual.is_file():  # read alone: a folder of hundreds is not looked at for the one
        loaded = read_workflow(workbench, usual, prompts_dir=prompts_dir)
        if loaded.name == wanted:
            return loaded
    return WorkflowCatalogue(folder, workbench.reader).get(wanted)


def read_workflow(workbench: Workbench, path: Path, *, prompts_dir: Path | None = None) -> LoadedWorkflow:
    """Return the workflow in `path`. Raises: InvalidWorkflowError, with every finding."""
    folders = folders_for(path, workbench.reader.folders, prompts_dir=prompts_dir)
    read = workbench.reader_for(folders).read(path)
    if isinstance(read, BrokenWorkflow):
        raise InvalidWorkflowError(read.findings, name=read.name)
    return read


def describe_warnings(loaded: LoadedWorkflow) -> str:
    """Return how many warnings a workflow has that runs all the same."""
    count = len(loaded.warnings)
    return f"{loaded.name} has {count} warning{'s' if count != 1 else ''}"


def compile_loaded(
    workbench: Workbench, loaded: LoadedWorkflow, defaults: Mapping[str, Any], defaults_for: DefaultsFor | None = None
) -> CompiledWorkflow:
    """Return `loaded`, ready to run with `defaults` = {provider, model, model_aliases}.

    `defaults_for` resolves those of each workflow that its steps run; without it they are the same.
    """
    return compile_workflow(loaded.bundle(defaults, defaults_for), workbench.registry)
