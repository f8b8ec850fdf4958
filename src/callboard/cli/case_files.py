"""Finds recorded tests, makes their workflows ready, and runs every case. Called by `test`.

A workflow is compiled once, however many cases it has; the cases run at the same time.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError
from callboard.cli.local_files import compile_loaded, read_workflow
from callboard.core.json_values import JsonValue, find_unstorable
from callboard.core.replay import BrokenAnswersError, Recording, read_recording
from callboard.workbench import Workbench, replay_defaults
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.errors import InvalidWorkflowError
from callboard.workflows.findings import WorkflowFinding, pointer_of
from callboard.workflows.json_files import TEST_SUFFIX
from callboard.workflows.recorded_test_runs import CaseOutcome, check_names, run_case
from callboard.workflows.recorded_tests import ReadTests, RecordedCase, read_input_of, read_tests


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of a test file, with all that its run needs. `findings` say why it cannot be run."""

    file: ReadTests
    index: int
    case: RecordedCase
    input_data: JsonValue = None
    recording: Recording | None = None
    workflow: CompiledWorkflow | None = None
    findings: tuple[WorkflowFinding, ...] = ()

    @property
    def name(self) -> str:
        """What people know it by: its own name, else its place in the file."""
        return self.case.name or (f"case {self.index + 1}" if len(self.file.cases) > 1 else "runs as expected")

    @property
    def defaults(self) -> Mapping[str, Any]:
        """What llm steps get that name no model: as it was when the answers were recorded."""
        recorded = None if self.recording is None else self.recording.defaults
        return recorded or replay_defaults()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseReport:
    """What became of a case: an outcome, or findings that kept it from running."""

    file: Path
    name: str
    outcome: CaseOutcome | None = None
    findings: tuple[WorkflowFinding, ...] = ()
    duration_ms: float = 0

    @property
    def has_passed(self) -> bool:
        return self.outcome is not None and self.outcome.has_passed


def find_test_files(wanted: Sequence[Path]) -> list[Path]:
    """Return the test files that `wanted` names: files, folders with all below, workflows that have tests.

    Raises: CommandError, naming what is not there.
    """
    found: list[Path] = []
    for path in wanted:
        beside = path.parent / f"{path.stem}{TEST_SUFFIX}"
        if path.is_dir():
            found += sorted(path.rglob(f"*{TEST_SUFFIX}"))
        elif path.name.endswith(TEST_SUFFIX) and path.is_file():
            found.append(path)
        elif path.is_file() and beside.is_file():
            found.append(beside)
        else:
            reason = f"it has no test ({beside} is not there)" if path.is_file() else "there is no such file or folder"
            raise CommandError(f"{path}: {reason}.", exit_code=ExitCode.NOT_FOUND, title="No test")
    return list(dict.fromkeys(found))


class Cases:
    """The cases of some files, on one workbench."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._compiled: dict[tuple[Path, str], CompiledWorkflow | tuple[WorkflowFinding, ...]] = {}

    def read(self, paths: Iterable[Path], *, name_part: str = "") -> list[Case]:
        """Return the cases of the files whose name has `name_part` in it; a file that is broken is one case."""
        cases = [case for path in paths for case in _cases_of(read_tests(path))]
        wanted = [case for case in cases if name_part.lower() in f"{case.file.path.name} {case.name}".lower()]
        return [self._prepare(case) for case in wanted]

    async def run(self, cases: Sequence[Case]) -> list[CaseReport]:
        """Return what became of each case, in their order."""
        return await asyncio.gather(*(self._run(case, number) for number, case in enumerate(cases)))

    async def _run(self, case: Case, number: int) -> CaseReport:
        report = CaseReport(file=case.file.path, name=case.name, findings=case.findings)
        if case.workflow is None or case.findings:
            return report
        started = time.monotonic()
        outcome = await run_case(
            case.case,
            case.workflow,
            input_data=case.input_data,
            recording=case.recording,
            tenant_id=f"case-{number}",
            way_out=partial(_way_out, case),
        )
        return replace(report, outcome=outcome, duration_ms=(time.monotonic() - started) * 1000)

    def _prepare(self, case: Case) -> Case:
        """Return `case` with its input, answers and workflow, or with what is wrong with them."""
        if case.findings:
            return case
        findings: list[WorkflowFinding] = []
        case = replace(case, input_data=_input_of(case, findings), recording=_recording_of(case, findings))
        workflow = self._workflow_of(case)
        if isinstance(workflow, tuple):
            return replace(case, findings=(*findings, *workflow))
        findings += map(case.file.locate, check_names(case.case, workflow, case.file.case_pointer(case.index)))
        return replace(case, workflow=workflow, findings=tuple(findings))

    def _workflow_of(self, case: Case) -> CompiledWorkflow | tuple[WorkflowFinding, ...]:
        key = (case.file.workflow, json.dumps(case.defaults, sort_keys=True))
        if key not in self._compiled:
            self._compiled[key] = self._compile(case)
        return self._compiled[key]

    def _compile(self, case: Case) -> CompiledWorkflow | tuple[WorkflowFinding, ...]:
        path = case.file.workflow
        if not path.is_file():
            message = f"There is no workflow {path}: name it with `workflow`, relative to this file."
            pointer = "/workflow" if isinstance(case.file.raw, dict) and "workflow" in case.file.raw else ""
            return (case.file.locate(WorkflowFinding(pointer=pointer, message=message, code="unreadable")),)
        try:
            return compile_loaded(self._workbench, read_workflow(self._workbench, path), case.defaults)
        except InvalidWorkflowError as error:
            return tuple(finding for finding in error.findings if finding.is_error)


def _cases_of(file: ReadTests) -> list[Case]:
    if file.findings:
        broken = RecordedCase(name="the file")
        return [Case(file=file, index=0, case=broken, findings=file.findings)]
    return [Case(file=file, index=index, case=case) for index, case in enumerate(file.cases)]


def _input_of(case: Case, findings: list[WorkflowFinding]) -> JsonValue:
    try:
        value = read_input_of(case.case, case.file.path)
        reason = find_unstorable(value)
    except (OSError, ValueError) as error:
        value, reason = None, error.strerror if isinstance(error, OSError) else str(error)
    if reason is not None:
        key = "input" if case.case.input_file is None else "input_file"
        _note(case, key, f"The input cannot be used: {reason}.", findings)
    return value


def _recording_of(case: Case, findings: list[WorkflowFinding]) -> Recording | None:
    name = case.case.answers
    if not isinstance(name, str):
        return None
    try:
        return read_recording(case.file.path.parent / name)
    except (BrokenAnswersError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"The answers in {name} cannot be used: {reason}. `callboard test --record` makes the file."
        _note(case, "answers", message, findings)
        return None


def _note(case: Case, key: str, message: str, findings: list[WorkflowFinding]) -> None:
    base = case.file.case_pointer(case.index)
    is_own = not base or key in case.file.raw["cases"][case.index]
    pointer = pointer_of(key, base=base if is_own else "")
    findings.append(case.file.locate(WorkflowFinding(pointer=pointer, message=message, code="unreadable")))


def _way_out(case: Case, path: str) -> str:
    if isinstance(case.case.answers, str):
        return f'Record anew: callboard test {case.file.path} --record. With "match": "step" a changed request passes.'
    return f'Write it into `answers`: {{"step": "{path}", "content": "..."}}, or "data" of an outside service.'
