"""`callboard run`: a workflow in this process, without a server or a database, step by step on the screen."""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from callboard.cli.answer_files import ANSWERS_SUFFIX, check_names, read_answers
from callboard.cli.exits import ExitCode
from callboard.cli.failures import CommandError, reporting
from callboard.cli.inputs import read_input_lines, read_input_or_json
from callboard.cli.keyboard import Keyboard
from callboard.cli.local_files import compile_loaded, describe_warnings, find_workflow, telling_findings
from callboard.cli.local_recordings import check_writable, environment_secrets, write_recording
from callboard.cli.options import JsonOption
from callboard.cli.output import Output, open_output
from callboard.cli.run_tree import RunTree
from callboard.cli.run_views import describe_usage, show_end, watching
from callboard.cli.stopping import until_stopped
from callboard.core.config import Settings, load_settings
from callboard.core.errors import UnprocessableError
from callboard.core.json_values import JsonValue, find_unstorable
from callboard.core.logging import configure_service_logging
from callboard.core.playback import Playback, answers_of
from callboard.core.recording import Recorder, Tape
from callboard.core.replay import BrokenAnswersError, Recording, read_recording
from callboard.jobs.costs import UsageLine, summarise_costs
from callboard.workbench import Workbench, open_workbench, replay_defaults
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.files import LoadedWorkflow
from callboard.workflows.local_runs import LocalResult, LocalRun, RunObserver
from callboard.workflows.local_waits import LocalWaits, Respondent, WrittenWaits, go_on_at_once
from callboard.workflows.steps.base import UsageRecord
from callboard.workflows.steps.waiting import Wait, WaitKind

RUNS_AT_ONCE = 10  # of the lines of --inputs
NO_JOB = UUID(int=0)  # a run in memory is no job

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What the options ask for."""

    workflow: str
    prompts_dir: Path | None
    timeout_seconds: float | None
    record_to: Path | None
    recording: Recording | None
    answers: WrittenWaits
    answers_from: Path | None
    skips_waits: bool
    is_quiet: bool


@app.command(
    epilog="Examples:\n\n"
    'callboard run hello --input \'{"name": "Ada"}\'\n\n'
    "callboard run my/flow.json --input input.json --record answers.json\n\n"
    "callboard run my/flow.json --input input.json --replay answers.json --json | jq .result\n\n"
    "callboard run flow.json --inputs many.jsonl > results.jsonl\n\n"
    "callboard run review --input input.json --answers answers.json --skip-waits"
)
def run(
    workflow: Annotated[
        str, typer.Argument(help="A workflow file, or the name of one in WORKFLOWS_DIR.", metavar="FILE|NAME")
    ],
    given: Annotated[
        str | None,
        typer.Option("--input", "-i", metavar="FILE|-|JSON", help="The input: a file, - for stdin, or JSON itself."),
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Many inputs, one JSON per line; one result per line, in their order."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Keep every answer of models and services in this file, for --replay.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Take every answer from this file; nobody is called, nothing is paid.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Folder of prompt files. Without it: beside the file, else PROMPTS_DIR.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help='What people answer and which signals come: {"people": ..., "signals": ...}.'
        ),
    ] = None,
    skip_waits: Annotated[bool, typer.Option("--skip-waits", help="Let every waiting time pass at once.")] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds that the run may take, in place of the file's.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no steps.")] = False,
    is_json: JsonOption = False,
) -> None:
    """Run a workflow here, without a server, and watch its steps.

    There is no database, and nothing is kept. The steps are shown on stderr as they happen; stdout has the result
    alone. With --json it has one document: status, result, error, steps, cost_data. Without a provider's key,
    recorded or made-up answers serve (see `callboard settings default_llm`). ${secrets.NAME} is
    CALLBOARD_SECRET_NAME of the environment. What waits for a person or a signal is asked on a terminal, and
    taken from --answers elsewhere.
    """
    output = open_output(is_json=is_json, is_stream=inputs is not None)
    with reporting(output), telling_findings(output):
        _refuse_together(given=given, inputs=inputs, record=record)
        order = _Order(
            workflow=workflow,
            prompts_dir=prompts,
            timeout_seconds=timeout,
            record_to=None if record is None else check_writable(record),
            recording=None if replay is None else _read_recording(replay),
            answers=WrittenWaits() if answers is None else read_answers(answers),
            answers_from=answers,
            skips_waits=skip_waits or replay is not None,
            is_quiet=quiet or is_json or inputs is not None,
        )
        settings = load_settings()
        configure_service_logging("cli", settings, level="ERROR")  # the steps that are shown tell the rest
        work = (
            _run_one(output, settings, order, given) if inputs is None else _run_many(output, settings, order, inputs)
        )
        try:
            all_good = asyncio.run(until_stopped(work))
        except asyncio.CancelledError as error:
            raise typer.Exit(ExitCode.INTERRUPTED) from error
    raise typer.Exit(ExitCode.OK if all_good else ExitCode.FAILED)


async def _run_one(output: Output, settings: Settings, order: _Order, given: str | None) -> bool:
    async with open_workbench(settings) as workbench:
        loaded, defaults, compiled = _load(workbench, order)
        input_data = {} if given is None else read_input_or_json(given)
        _check_input(compiled, input_data, hint="" if given is not None else _input_hint(settings, compiled.name))
        recorder = None if order.record_to is None else Recorder()
        if loaded.warnings and not order.is_quiet:
            output.complain(f"{describe_warnings(loaded)}: callboard validate {loaded.path}", style="yellow")
        with watching(output, is_quiet=order.is_quiet) as view:
            keyboard = _keyboard(output, view)
            local = _new_run(workbench, compiled, order, recorder=recorder, observer=view, respondent=keyboard)
            try:
                result = await local.perform(input_data)
            except asyncio.CancelledError:
                output.complain(f"Stopped. So far: {describe_usage(_records_of(local))}.", style="yellow")
                raise
            finally:  # also what was answered before it was stopped has been paid
                if recorder is not None and order.record_to is not None:
                    write_recording(
                        settings, order.record_to, local, recorder, workflow=compiled.name, defaults=defaults
                    )
    _show(output, compiled, local, result, order)
    return result.status == "completed"


async def _run_many(output: Output, settings: Settings, order: _Order, inputs: str) -> bool:
    """Write a line of JSON for every input, and return whether all went well. A bad input is a failed run."""
    places = asyncio.Semaphore(RUNS_AT_ONCE)
    async with open_workbench(settings) as workbench:
        _, _, compiled = _load(workbench, order)

        async def run_line(number: int, input_data: JsonValue) -> dict[str, Any]:
            async with places:
                local = _new_run(workbench, compiled, order)
                try:
                    _check_input(compiled, input_data)
                    result = await local.perform(input_data)
                except UnprocessableError as error:
                    findings = [{"pointer": f.pointer, "message": f.message, "code": f.code} for f in error.errors]
                    failure = {"type": "input_invalid", "message": error.message, "errors": findings}
                    result = LocalResult(status="failed", error=failure)
                return {"line": number, **_outline(local, result)}

        runs = [asyncio.ensure_future(run_line(number, data)) for number, data in read_input_lines(inputs)]
        documents = []
        for each in runs:
            documents.append(await each)
            output.document(documents[-1])
    return all(document["status"] == "completed" for document in documents)


def _refuse_together(*, given: str | None, inputs: str | None, record: Path | None) -> None:
    other = "--input" if given is not None else "--record" if record is not None else None
    if inputs is not None and other is not None:
        raise CommandError(f"--inputs does not go together with {other}.", exit_code=ExitCode.USAGE, title="Usage")


def _read_recording(path: Path) -> Recording:
    try:
        return read_recording(path)
    except (BrokenAnswersError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        message = f"{path}: {reason}. A file that `callboard run --record {path.name}` wrote is wanted."
        raise CommandError(message, exit_code=ExitCode.USAGE, title="The recording cannot be read") from error


def _load(workbench: Workbench, order: _Order) -> tuple[LoadedWorkflow, Mapping[str, Any], CompiledWorkflow]:
    """Return the workflow as it was read, the defaults that it runs with, and the same ready to run."""
    loaded = find_workflow(workbench, order.workflow, prompts_dir=order.prompts_dir)
    defaults_for = workbench.defaults_for
    if order.recording is not None:
        defaults = order.recording.defaults or replay_defaults()
    else:
        defaults = defaults_for(loaded.name)
    is_taped = order.recording is not None or order.record_to is not None  # a recording holds one set of defaults
    compiled = compile_loaded(workbench, loaded, defaults, None if is_taped else defaults_for)
    if order.answers_from is not None:
        check_names(order.answers_from, order.answers, compiled)
    return loaded, defaults, compiled


def _check_input(compiled: CompiledWorkflow, input_data: JsonValue, *, hint: str = "") -> None:
    """Raises: UnprocessableError, with everything that does not fit."""
    reason = find_unstorable(input_data)
    if reason is not None:
        raise UnprocessableError(f"The input cannot be used: {reason}.")
    findings = compiled.validate_input(input_data)
    if findings:
        raise UnprocessableError(f"The input does not fit the input_schema of {compiled.name}.{hint}", errors=findings)


def _input_hint(settings: Settings, name: str) -> str:
    """Return what to do for someone who gave no input: a sample may be there."""
    found = sorted((settings.workflows_dir.parent / "inputs").glob(f"{name}*.json"))
    samples = [path for path in found if not path.name.endswith(ANSWERS_SUFFIX)]
    return f" None was given: try --input {samples[0]}" if samples else " None was given: see --input."


def _new_run(
    workbench: Workbench,
    compiled: CompiledWorkflow,
    order: _Order,
    *,
    recorder: Recorder | None = None,
    observer: RunObserver | None = None,
    respondent: Respondent | None = None,
) -> LocalRun:
    recording, playback = order.recording, None
    if recording is not None:
        playback = Playback(answers_of(recording.answers), match="request", way_out=_way_out)
    return LocalRun(
        compiled,
        tape=Tape(recorder=recorder, playback=playback),
        observer=observer,
        secrets=environment_secrets(),
        timeout_seconds=order.timeout_seconds,
        max_output_bytes=workbench.settings.max_step_output_bytes,
        started_at=None if recording is None else recording.started_at,
        waits=LocalWaits(
            order.answers,
            respondent=respondent,
            sleep=go_on_at_once if order.skips_waits else asyncio.sleep,
            way_out=_way_out_of_wait,
        ),
    )


def _keyboard(output: Output, view: RunTree) -> Keyboard | None:
    """Return the person at the keyboard, or None where nobody can be asked."""
    if not sys.stdin.isatty() or not output.errors.is_terminal:
        return None
    return Keyboard(output, quiet=view.paused, descriptor=sys.stdin.fileno())


def _way_out_of_wait(path: str, wait: Wait) -> str:
    if wait.kind is WaitKind.EVENT:
        sample = f'{{"signals": {{"{wait.name}": [...]}}}}'
    else:
        sample = f'{{"people": {{"{path}": ...}}}}'
    return f"Run it in a terminal, or write the answer ahead: --answers FILE with {sample}."


def _way_out(_: str) -> str:
    return "Restore what was recorded, or record anew: the same command with --record in place of --replay."


def _show(output: Output, compiled: CompiledWorkflow, local: LocalRun, result: LocalResult, order: _Order) -> None:
    if output.is_json:
        output.document({"workflow_name": compiled.name, **_outline(local, result), "steps": _steps(local)})
        return
    if not order.is_quiet or result.error is not None:
        show_end(output, result, _records_of(local))
    if order.record_to is not None:
        output.complain(f"Its answers are in {order.record_to}: play them with --replay.", style="dim")
    sys.stdout.flush()
    if result.status == "completed":
        output.document(result.outputs)


def _outline(local: LocalRun, result: LocalResult) -> dict[str, Any]:
    return {
        "status": result.status,
        "result": result.outputs,
        "error": result.error,
        "duration_ms": result.duration_ms,
        "cost_data": _cost_data(local),
    }


def _steps(local: LocalRun) -> list[dict[str, Any]]:
    return [
        {
            "path": path,
            "type": record.step_type,
            "status": str(record.outcome),
            "attempts": record.attempts,
            "duration_ms": round((record.completed_at - record.started_at).total_seconds() * 1000),
            "error": record.error,
        }
        for path, record in local.records.items()
    ]


def _cost_data(local: LocalRun) -> dict[str, Any]:
    lines = [
        UsageLine(
            job_id=NO_JOB,
            path=call.rpartition("#")[0],
            task_name=usage.task_name,
            service=usage.service,
            provider=usage.provider,
            model=usage.model,
            input_tokens=usage.input_units,
            output_tokens=usage.output_units,
            cost_usd=usage.cost_usd,
            duration_ms=usage.duration_ms,
        )
        for call, usage in local.usage
    ]
    return summarise_costs(lines).to_json()


def _records_of(local: LocalRun) -> list[UsageRecord]:
    return [usage for _, usage in local.usage]
