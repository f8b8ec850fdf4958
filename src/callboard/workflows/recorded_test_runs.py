"""Runs the cases of recorded tests and tells where a run is not what its test expects.

Called by `callboard test`. Nothing is called and nothing paid: every answer comes from the test.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from callboard.core.json_differences import Difference
from callboard.core.json_values import JsonValue
from callboard.core.playback import Playback, PlaybackAnswer, answers_of
from callboard.core.recording import Tape
from callboard.core.replay import Recording
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.expectations import find_unmet
from callboard.workflows.findings import WorkflowFinding, pointer_of, suggest
from callboard.workflows.local_runs import LocalResult, LocalRun, NoObserver
from callboard.workflows.local_waits import LocalWaits, WrittenWaits, go_on_at_once
from callboard.workflows.recorded_tests import Expectations, RecordedCase, WrittenAnswer
from callboard.workflows.step_paths import bare_path
from callboard.workflows.steps.base import CompiledStep, StepOutcome
from callboard.workflows.steps.waiting import Wait, WaitKind

STARTED_AT = "2026-01-01T00:00:00Z"  # `${context.started_at}` of a test that was not recorded
LLM_SERVICE = "llm"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """How a case went. `notes` are worth knowing and fail nothing; `cost_usd` is what its calls would cost."""

    result: LocalResult
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()
    cost_usd: Decimal = Decimal(0)

    @property
    def has_passed(self) -> bool:
        return not self.differences


async def run_case(
    case: RecordedCase,
    workflow: CompiledWorkflow,
    *,
    input_data: JsonValue,
    recording: Recording | None,
    tenant_id: str,
    way_out: Callable[[str], str],
) -> CaseOutcome:
    """Return how the case went. `recording` is what its `answers` name, None where they stand in the case.

    `tenant_id` is the case's own, so that no case is served what another has cached; `way_out` says, for
    the path of a step, how to come by its answer.
    """
    playback = Playback(_answers(case, recording), match=case.match, way_out=way_out)
    watcher, waits = _Watcher(), waits_of(case)
    run = LocalRun(
        workflow,
        tape=Tape(playback=playback),
        observer=watcher,
        waits=waits,
        tenant_id=tenant_id,
        started_at=(recording.started_at if recording else None) or STARTED_AT,
    )
    misfit = _misfit(workflow, input_data)
    if misfit is not None:
        return CaseOutcome(result=LocalResult(status="failed"), differences=(misfit,))
    result = await run.perform(input_data)
    taken = [path for path in watcher.started if _has_run(run, path)]
    cost_usd = sum((usage.cost_usd for _, usage in run.usage), Decimal(0))
    return CaseOutcome(
        result=result,
        differences=tuple(_unanswered(waits)) or tuple(_judge(case.expect, result, taken, cost_usd)),
        notes=tuple(_note(call, differences) for call, differences in playback.changed.items()),
        cost_usd=cost_usd,
    )


def check_names(case: RecordedCase, workflow: CompiledWorkflow, pointer: str) -> Iterator[WorkflowFinding]:
    """Yield every step that the case at `pointer` names and `workflow` has not."""
    for where, name in _named_steps(case):
        for message in unknown_steps([name], workflow):
            yield WorkflowFinding(pointer=pointer + where, message=message, code="unknown_step")


def unknown_steps(names: Iterable[str], workflow: CompiledWorkflow) -> Iterator[str]:
    """Yield a message for each of `names` (ids, paths, calls of them) that `workflow` has no step for."""
    known = set(_names_in(workflow.steps))
    for name in names:
        bare = bare_path(name.partition("#")[0])
        if bare not in known:
            hint = suggest(bare, {each for each in known if "/" not in each}, what="Its steps:")
            yield f'The workflow {workflow.name} has no step "{name}".{hint}'


def waits_of(case: RecordedCase) -> LocalWaits:
    """Return what ends the waits of the case: what it says of people and signals. Times pass at once."""
    return LocalWaits(WrittenWaits(case.people, case.signals), sleep=go_on_at_once, way_out=_way_out_of_wait)


class _Watcher(NoObserver):
    """Notes the steps in the order in which they begin."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def step_started(self, path: str, step_type: str) -> None:  # noqa: ARG002 - the path is enough
        if path not in self.started:
            self.started.append(path)


def _way_out_of_wait(path: str, wait: Wait) -> str:
    if wait.kind is WaitKind.EVENT:
        return f'Write it into the case: "signals": {{"{wait.name}": [{{...}}]}}.'
    return f'Write it into the case: "people": {{"{path}": ...}}.'


def _unanswered(waits: LocalWaits) -> Iterator[Difference]:
    """Yield what nobody ended, also where the step's error mode went on."""
    for path, reason in waits.unanswered.items():
        yield Difference(pointer=pointer_of("people", path), expected=None, got=None, rule=f"an end. {reason}")


def _answers(case: RecordedCase, recording: Recording | None) -> list[PlaybackAnswer]:
    if recording is not None:
        return answers_of(recording.answers)
    return [_playback_answer(answer) for answer in case.answers if isinstance(answer, WrittenAnswer)]


def _playback_answer(answer: WrittenAnswer) -> PlaybackAnswer:
    """Return a written answer in the form of a recorded one."""
    if answer.error is not None:
        error = {**answer.error.model_dump(), "category": "provider"}
        return PlaybackAnswer(service=None, step=answer.step, error=error)
    names = {"model", "provider", "input_tokens", "output_tokens", "duration_ms", "finish_reason", "cost_usd"}
    if "data" in answer.model_fields_set:
        names = {"duration_ms", "status_code", "cost_usd"}
    response: dict[str, Any] = answer.model_dump(include=names, exclude_none=True)
    if "data" in answer.model_fields_set:
        return PlaybackAnswer(service=None, step=answer.step, response={**response, "data": answer.data})
    content = answer.content if isinstance(answer.content, str) else json.dumps(answer.content, ensure_ascii=False)
    return PlaybackAnswer(service=LLM_SERVICE, step=answer.step, response={**response, "content": content})


def _misfit(workflow: CompiledWorkflow, input_data: JsonValue) -> Difference | None:
    findings = workflow.validate_input(input_data)
    if not findings:
        return None
    faults = "; ".join(f"{finding.pointer or '/'} {finding.message}" for finding in findings)
    return Difference(pointer="/input", expected=None, got=input_data, rule=f"an input that fits: {faults}")


def _has_run(run: LocalRun, path: str) -> bool:
    record = run.records.get(path)
    return record is not None and record.outcome is not StepOutcome.SKIPPED


def _judge(expect: Expectations, result: LocalResult, taken: list[str], cost_usd: Decimal) -> Iterator[Difference]:
    yield from _judge_ending(expect, result)
    if result.status == "completed":
        if "outputs" in expect.model_fields_set:
            yield from find_unmet(expect.outputs, result.outputs, "/outputs")
        if "outputs_contain" in expect.model_fields_set:
            yield from find_unmet(expect.outputs_contain, result.outputs, "/outputs", is_part=True)
    yield from _judge_steps(expect, taken)
    if expect.max_cost_usd is not None and cost_usd > expect.max_cost_usd:
        rule = f"at most {expect.max_cost_usd} USD"
        yield Difference(pointer="/max_cost_usd", expected=None, got=float(cost_usd), rule=rule)


def _judge_ending(expect: Expectations, result: LocalResult) -> Iterator[Difference]:
    error: Mapping[str, Any] = result.error or {}
    if result.status != expect.expected_status:
        got = result.status if result.error is None else f"{result.status}: {error.get('message', '')}"
        yield Difference(pointer="/status", expected=expect.expected_status, got=got, rule=expect.expected_status)
    elif expect.error is not None:
        for name, wanted in (("type", expect.error.type), ("step_id", expect.error.step)):
            if wanted is not None and error.get(name) != wanted:
                yield Difference(pointer=f"/error/{name}", expected=wanted, got=error.get(name))
        text = expect.error.message
        if text is not None and text not in str(error.get("message")):
            rule = f"a message that contains {json.dumps(text, ensure_ascii=False)}"
            yield Difference(pointer="/error/message", expected=None, got=error.get("message"), rule=rule)


def _judge_steps(expect: Expectations, taken: list[str]) -> Iterator[Difference]:
    position = 0
    for index, name in enumerate(expect.steps):
        found = next((at for at in range(position, len(taken)) if _is_called(taken[at], name)), None)
        if found is None:
            before = f" after {', '.join(expect.steps[:index])}" if index else ""
            rule = f"{name} to run{before}"
            yield Difference(pointer=pointer_of("steps", index), expected=None, got=taken, rule=rule)
            return
        position = found + 1
    for index, name in enumerate(expect.not_taken):
        ran = [path for path in taken if _is_called(path, name)]
        if ran:
            yield Difference(pointer=pointer_of("not_taken", index), expected=None, got=ran, rule=f"{name} not to run")


def _is_called(path: str, name: str) -> bool:
    """Return whether `name` stands for the step at `path`: the path, with or without items, or the step's id."""
    return name in {path, bare_path(path), path.rpartition("/")[2]}


def _note(call: str, differences: Sequence[Difference]) -> str:
    places = ", ".join(each.pointer for each in differences[:3])
    return f"{call} asks something else than was recorded ({places}); `callboard test --record` asks anew"


def _named_steps(case: RecordedCase) -> Iterator[tuple[str, str]]:
    """Yield each step that a case names, after the place where it does."""
    if not isinstance(case.answers, str):
        for index, answer in enumerate(case.answers):
            yield pointer_of("answers", index, "step"), answer.step
    for name in case.people:
        yield pointer_of("people", name), name
    for key in ("steps", "not_taken"):
        for index, name in enumerate(getattr(case.expect, key)):
            yield pointer_of("expect", key, index), name
    if case.expect.error is not None and case.expect.error.step is not None:
        yield "/expect/error/step", case.expect.error.step


def _names_in(steps: Sequence[CompiledStep], above: str = "") -> Iterator[str]:
    """Yield every step's id and its path without items."""
    for step in steps:
        yield step.id
        yield above + step.id
        for sequence in step.sequences:
            prefix = f"{above}{step.id}/{sequence.branch}/" if sequence.branch else f"{above}{step.id}/"
            yield from _names_in(sequence.steps, prefix)
