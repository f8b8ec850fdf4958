"""Writes recorded tests anew: answers that models and services give now, and outputs that come out now.

Called by `test --record` and `test --update`. A test file is written only where something in it changes.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from callboard.cli.case_files import Case, CaseReport
from callboard.cli.failures import CommandError
from callboard.cli.local_files import compile_loaded, read_workflow
from callboard.cli.local_recordings import environment_secrets, providers_of, write_recording
from callboard.core.errors import UnprocessableError
from callboard.core.json_values import JsonValue
from callboard.core.recording import Recorder, Tape
from callboard.workbench import Workbench
from callboard.workflows.json_files import TEST_SUFFIX
from callboard.workflows.local_runs import LocalRun
from callboard.workflows.recorded_test_runs import waits_of

REPLAY_SUFFIX = ".replay.json"
JUDGED = {"outputs", "outputs_contain", "error", "status"}  # expectations of the result, which stand for one another


async def record_cases(workbench: Workbench, cases: Sequence[Case]) -> list[str]:
    """Run each case live, keep its answers in a file of its own, and return a line about each.

    Raises: CommandError, for a case whose answers were written by hand.
    """
    return [await _record(workbench, case) for case in cases]


def update_cases(cases: Sequence[Case], reports: Sequence[CaseReport]) -> list[str]:
    """Make what came out what is expected, in cases that expect whole outputs or nothing yet; a line about each."""
    lines = []
    for case, report in zip(cases, reports, strict=True):
        is_whole = JUDGED.isdisjoint(case.case.expect.model_fields_set - {"outputs"})
        if report.outcome is None or report.outcome.result.status != "completed" or not is_whole:
            continue
        if case.case.expect.outputs != report.outcome.result.outputs:
            _write_into(case, ("expect", "outputs"), report.outcome.result.outputs)
            lines.append(f"{case.file.path}: {case.name}: the outputs are what is expected from now on.")
    return lines


async def _record(workbench: Workbench, case: Case) -> str:
    if isinstance(case.case.answers, list) and case.case.answers:
        raise CommandError(
            f"{case.file.path}: {case.name}: its answers were written by hand. Take `answers` out to record them.",
            title="Not recorded",
        )
    loaded = read_workflow(workbench, case.file.workflow)
    defaults = workbench.defaults_for(loaded.name)
    workflow = compile_loaded(workbench, loaded, defaults)
    findings = workflow.validate_input(case.input_data)
    if findings:
        raise UnprocessableError(f"The input of {case.file.path}: {case.name} does not fit.", errors=findings)
    recorder = Recorder()
    run = LocalRun(workflow, tape=Tape(recorder=recorder), secrets=environment_secrets(), waits=waits_of(case.case))
    result = await run.perform(case.input_data)
    name = _answers_name(case)
    path = case.file.path.parent / name
    write_recording(workbench.settings, path, run, recorder, workflow=workflow.name, defaults=defaults)
    if case.case.answers != name:
        _write_into(case, ("answers",), name)
    ending = "" if result.error is None else f"; the run failed: {result.error.get('message', '')}"
    count = len(recorder.answers)
    return f"{path}: {count} answer{'s' if count != 1 else ''} of {providers_of(run)}{ending}"


def _answers_name(case: Case) -> str:
    """Return the path, from the test's folder, of the file for the answers: the case's own, or one of no other case."""
    raw = _raw_case(case.file.raw, case.index)
    own = raw.get("answers")
    if isinstance(own, str):
        return own
    stem = case.file.path.name.removesuffix(TEST_SUFFIX)
    if len(case.file.cases) > 1:
        stem += "." + (re.sub(r"[^a-z0-9]+", "_", case.name.lower()).strip("_") or str(case.index + 1))
    return stem + REPLAY_SUFFIX


def _write_into(case: Case, place: tuple[str, ...], value: JsonValue) -> None:
    """Put `value` at `place` of the case, in the file as it is now."""
    path = case.file.path
    document = json.loads(path.read_text("utf-8-sig"))
    target = _raw_case(document, case.index)
    for part in place[:-1]:
        target = target.setdefault(part, {})
    target[place[-1]] = value
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _raw_case(document: Any, index: int) -> dict[str, Any]:
    raw: dict[str, Any] = document["cases"][index] if "cases" in document else document
    return raw
