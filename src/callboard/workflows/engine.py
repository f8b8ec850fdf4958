"""Walks the steps of a workflow, makes each one durable before the next, and decides what a failure means.

Called by `jobs/runner.py` (and by whoever runs a workflow in memory). It knows no database, no HTTP, no
queue and no step kind: only `Checkpointer`, `StepContext` and the bodies that `compiler.py` made. Alone in
Callboard it tries again: everything below it fails at once and says by its type whether that is worth it.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from callboard.core import clock
from callboard.core.errors import StepError, TemporaryError
from callboard.core.json_values import JsonValue, dump_and_load, dumps, find_unstorable, loads
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.definition import ErrorMode, retry_delay_seconds
from callboard.workflows.errors import RunFailedError
from callboard.workflows.references import Scope, StepView
from callboard.workflows.step_views import (
    SKIPPED_VIEW,
    absorbed_view,
    fill_in_what_did_not_run,
    recorded_view,
    successful_view,
)
from callboard.workflows.steps.base import (
    CHOICE_SUFFIX,
    Checkpointer,
    CompiledStep,
    ContextFactory,
    Progress,
    RecordedStep,
    StepExecution,
    StepFailedError,
    StepOutcome,
    StepRecord,
    StepSequence,
)
from callboard.workflows.steps.waiting import WaitTimedOutError

MAX_STEP_OUTPUT_BYTES = 4 * 1024 * 1024  # the default of the setting of that name
MAX_MESSAGE_CHARS = 4_000  # a vendor's error page is not to fill the journal


class Engine:
    """Runs compiled workflows. One object serves a whole process; `now` and `jitter` are there for tests."""

    def __init__(
        self,
        *,
        max_output_bytes: int = MAX_STEP_OUTPUT_BYTES,
        now: Callable[[], datetime] = clock.now,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._max_output_bytes = max_output_bytes
        self._now = now
        self._jitter = jitter

    async def run(
        self,
        workflow: CompiledWorkflow,
        *,
        input_data: JsonValue,
        context: Mapping[str, JsonValue],
        checkpointer: Checkpointer,
        context_for: ContextFactory,
    ) -> JsonValue:
        """Return the outputs of `workflow` for `input_data`, always an object.

        `context` has the reserved names (job_id, workflow, user_id, started_at); the file's own constants
        are added here. What `checkpointer` knows from an earlier attempt is taken from it and not run again.

        Raises: RunFailedError, with the error of the step that ended the run; RunSuspended and
        CancelledError, as they come.
        """
        views: dict[str, StepView] = {}
        frame = _Frame(
            scope=Scope(
                input=workflow.complete_input(input_data), context={**workflow.context, **context}, steps=views
            ),
            views=views,
        )
        run = _Run(
            workflow_name=workflow.name,
            checkpointer=checkpointer,
            context_for=context_for,
            max_output_bytes=self._max_output_bytes,
            now=self._now,
            jitter=self._jitter,
        )
        last = await run.top_level(workflow.steps, frame)
        return run.outputs(workflow, frame.scope, last)


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a sequence of steps sees, and where its results go. `scope.steps` is `views`.

    Branches share the frame's dictionary with what stands around them (ids are unique in a file, and the
    compiler refuses references to siblings); each item of a loop has a copy of its own, and a workflow inside
    this one begins with an empty one.
    """

    scope: Scope
    views: dict[str, StepView]
    is_nested: bool = False  # a sibling's failure may cancel what runs here
    keeps_done: bool = False  # a container around this may try again


@dataclass(slots=True)
class _Instance:
    """A step instance on its way from start to end."""

    step: CompiledStep
    path: str
    frame: _Frame
    started_at: datetime
    progress: Progress | None
    attempts: int = 0
    choice: str | None = None


@dataclass(frozen=True, slots=True)
class _End:
    """How a step instance ended: what later steps see, and what is written down."""

    outcome: StepOutcome
    view: StepView
    output_json: str | None = None
    failure: StepFailedError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One attempt of one run."""

    workflow_name: str
    checkpointer: Checkpointer
    context_for: ContextFactory
    max_output_bytes: int
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    done: dict[str, RecordedStep] = field(default_factory=dict)  # ended just now, where a container may try again

    async def top_level(self, steps: Sequence[CompiledStep], frame: _Frame) -> StepView:
        """Run the steps of the file and return how the last one ended."""
        view = SKIPPED_VIEW
        for position, step in enumerate(steps):
            following = steps[position + 1].id if position + 1 < len(steps) else None
            try:
                view = await self.step(
                    step,
                    step.id,
                    frame,
                    before=Progress(steps_completed=position, current_step=step.id),
                    after=Progress(steps_completed=position + 1, current_step=following),
                )
            except StepFailedError as failure:
                raise RunFailedError(dict(failure.error)) from failure
            except StepError as error:  # a replay that does not go as the first run did, a row that is refused
                raise RunFailedError(dict(self._failure(error, step, step.id).error)) from error
        return view

    def outputs(self, workflow: CompiledWorkflow, scope: Scope, last: StepView) -> JsonValue:
        """Return the result of the run: the file's `outputs`, or what the last step gave."""
        try:
            return workflow.result(scope, last.output)
        except StepError as error:
            message = f'Workflow "{self.workflow_name}", outputs: {error.message}'
            raise RunFailedError(_error_json(error, message, step_id=None)) from error

    async def step(
        self,
        step: CompiledStep,
        path: str,
        frame: _Frame,
        *,
        before: Progress | None = None,
        after: Progress | None = None,
    ) -> StepView:
        """Return how the step instance at `path` ended, now or in an earlier attempt."""
        recorded = self.find(path)
        if recorded is not None:
            return await self._replay(step, path, frame, recorded)
        await self.checkpointer.may_begin()
        self.checkpointer.note_started(path, step.type, before)
        instance = _Instance(step=step, path=path, frame=frame, started_at=self.now(), progress=after)
        return await self._perform(instance)

    def find(self, path: str) -> RecordedStep | None:
        """Return how `path` ended in this attempt or an earlier one, if that stands."""
        return self.done.get(path) or self.checkpointer.find(path)

    async def save(self, record: StepRecord, frame: _Frame) -> None:
        """Return once `record` is durable, also for what comes later in this attempt.

        Inside containers a cancelled step waits until the journal has answered: a sibling's failure may
        not leave behind a row that this attempt does not know of, or the next one would see another run.
        """
        if frame.keeps_done:  # noted first, since a cancel may come while the row is being written
            self._note_done(record)
        if frame.is_nested:
            await _finish_even_if_cancelled(self.checkpointer.save(record))
        else:
            await self.checkpointer.save(record)

    def _note_done(self, record: StepRecord) -> None:
        if record.outcome.is_replayed:
            self.done[record.path] = RecordedStep(
                outcome=record.outcome, output_json=record.output_json, choice=record.choice, error=record.error
            )
        else:
            self.done.pop(record.path, None)

    async def _perform(self, instance: _Instance) -> StepView:
        step = instance.step
        try:
            end = await self._try_until_done(instance)
            await self._write_down(instance, end)
        except (StepError, StepFailedError) as error:
            failure = error if isinstance(error, StepFailedError) else self._failure(error, step, instance.path)
            end = self._absorb(instance, failure)
            await self._write_down(instance, end)
        if end.failure is not None and end.outcome is StepOutcome.FAILED:
            raise end.failure
        if step.is_container:
            fill_in_what_did_not_run(step, instance.frame.views, end.view)
        return end.view

    async def _try_until_done(self, instance: _Instance) -> _End:
        step = instance.step
        if step.when is not None and not step.when.evaluate(instance.frame.scope):
            return _End(StepOutcome.SKIPPED, SKIPPED_VIEW)
        instance.attempts = self.checkpointer.attempts_before(instance.path)
        if instance.attempts:
            await self.checkpointer.back_off(instance.path, seconds=0, attempts=instance.attempts)
        while True:
            instance.attempts += 1
            try:
                output = await step.body.run(self._execution(instance))
                break
            except (TemporaryError, StepFailedError) as error:
                delay = self._delay_before_next(instance, error)
                if delay is None:
                    raise
                failure = error if isinstance(error, StepFailedError) else self._failure(error, step, instance.path)
            self.checkpointer.note_retrying(
                instance.path, attempt=instance.attempts + 1, delay_seconds=delay, error=failure.error
            )
            await self.checkpointer.back_off(instance.path, seconds=delay, attempts=instance.attempts)
            self.checkpointer.ensure_running()
        if step.is_container:
            return _End(StepOutcome.SUCCEEDED, successful_view(step, output))
        # go on with what a replay will read, so that both see the same values
        text, output = dump_and_load(output, max_bytes=self.max_output_bytes)
        return _End(StepOutcome.SUCCEEDED, successful_view(step, output), output_json=text)

    def _execution(self, instance: _Instance) -> StepExecution:
        return StepExecution(
            step_id=instance.step.id,
            path=instance.path,
            scope=instance.frame.scope,
            context=self.context_for(instance.path),
            timeout_seconds=instance.step.timeout_seconds,
            children=_Children(self, instance),
            flows=self.checkpointer.flows,
        )

    def _delay_before_next(self, instance: _Instance, error: TemporaryError | StepFailedError) -> float | None:
        """Return the seconds to wait before the next try, or None when there is none."""
        policy = instance.step.retry
        if policy is None or instance.attempts >= policy.max_attempts:
            return None
        if isinstance(error, StepFailedError) and not error.is_temporary:
            return None
        delay = retry_delay_seconds(policy, instance.attempts, self.jitter)
        return max(error.retry_after_seconds or 0.0, delay)

    def _failure(self, error: StepError, step: CompiledStep, path: str) -> StepFailedError:
        place = f'step "{step.id}"' if path == step.id else f'step "{step.id}" ({path})'
        message = f'Workflow "{self.workflow_name}", {place}: {error.message}'
        failure = StepFailedError(
            _error_json(error, message, step_id=step.id),
            is_temporary=isinstance(error, TemporaryError),
            retry_after_seconds=error.retry_after_seconds if isinstance(error, TemporaryError) else None,
            error_mode=error.error_mode if isinstance(error, WaitTimedOutError) else None,
        )
        failure.__cause__ = error
        return failure

    def _absorb(self, instance: _Instance, failure: StepFailedError) -> _End:
        """Return what the step's error mode makes of `failure`."""
        step = instance.step
        error_mode = failure.error_mode or step.error_mode
        failure.error_mode = None  # it was for this step alone, not for what stands around it
        if error_mode is ErrorMode.CONTINUE:
            return _End(StepOutcome.CONTINUED, absorbed_view(step, None, failure.error), failure=failure)
        if error_mode is ErrorMode.DEFAULT and step.default_value is not None:
            try:
                rendered = step.default_value.render(instance.frame.scope)
                text, output = dump_and_load(rendered, max_bytes=self.max_output_bytes)
            except StepError as error:
                failure = self._failure(error, step, instance.path)
            else:
                view = absorbed_view(step, output, failure.error)
                return _End(StepOutcome.DEFAULTED, view, output_json=text, failure=failure)
        return _End(StepOutcome.FAILED, absorbed_view(step, None, failure.error), failure=failure)

    async def _write_down(self, instance: _Instance, end: _End) -> None:
        if end.outcome.is_replayed:  # before the journal answers: see `save` for a cancel in between
            instance.frame.views[instance.step.id] = end.view
        await self.save(
            StepRecord(
                path=instance.path,
                step_id=instance.step.id,
                step_type=instance.step.type,
                outcome=end.outcome,
                started_at=instance.started_at,
                completed_at=self.now(),
                output_json=end.output_json,
                choice=instance.choice,
                error=None if end.failure is None else end.failure.error,
                attempts=max(instance.attempts, 1),
                progress=instance.progress if end.outcome.is_replayed else None,
            ),
            instance.frame,
        )

    async def _replay(self, step: CompiledStep, path: str, frame: _Frame, recorded: RecordedStep) -> StepView:
        """Return how a step ended earlier, and make what is inside it reachable again. Runs and writes nothing."""
        if step.is_container and recorded.outcome is StepOutcome.SUCCEEDED:
            instance = _Instance(step=step, path=path, frame=frame, started_at=self.now(), progress=None)
            view = successful_view(step, await step.body.run(self._execution(instance)))  # all children are done
        else:
            await self._replay_children(step, path, frame)
            view = recorded_view(step, recorded)
        frame.views[step.id] = view
        if step.is_container:
            fill_in_what_did_not_run(step, frame.views, view)
        return view

    async def _replay_children(self, step: CompiledStep, path: str, frame: _Frame) -> None:
        for sequence in step.sequences:
            if sequence.is_closed:
                continue
            for child in sequence.steps:
                child_path = sequence.prefix(path) + child.id
                recorded = self.find(child_path)
                if recorded is None:
                    await self._replay_children(child, child_path, frame)
                else:
                    await self._replay(child, child_path, frame, recorded)


class _Children:
    """The `Children` of one attempt of a container."""

    __slots__ = ("_instance", "_run")

    def __init__(self, run: _Run, instance: _Instance) -> None:
        self._run = run
        self._instance = instance

    async def choose(self, decide: Callable[[], str]) -> str:
        instance = self._instance
        path = instance.path + CHOICE_SUFFIX
        recorded = self._run.find(path)
        if recorded is not None and recorded.choice is not None:
            instance.choice = recorded.choice
            return recorded.choice
        instance.choice = choice = decide()
        now = self._run.now()
        record = StepRecord(
            path=path,
            step_id=instance.step.id,
            step_type=instance.step.type,
            outcome=StepOutcome.SUCCEEDED,
            started_at=now,
            completed_at=now,
            choice=choice,
        )
        await self._run.save(record, self._inner_frame())
        return choice

    async def run(self, sequence: StepSequence) -> list[StepView]:
        return await self._walk(sequence, sequence.prefix(self._instance.path), self._inner_frame())

    async def run_item(self, sequence: StepSequence, index: int, *, names: Mapping[str, JsonValue]) -> list[StepView]:
        frame = self._inner_frame()
        views = dict(frame.views)
        scope = replace(frame.scope, steps=views, locals={**frame.scope.locals, **names})
        prefix = sequence.prefix(self._instance.path, index)
        return await self._walk(sequence, prefix, replace(frame, scope=scope, views=views))

    async def run_apart(
        self, sequence: StepSequence, *, input_data: JsonValue, context: Mapping[str, JsonValue]
    ) -> tuple[Scope, list[StepView]]:
        views: dict[str, StepView] = {}
        scope = Scope(input=input_data, context=context, steps=views)
        frame = replace(self._inner_frame(), scope=scope, views=views)
        return scope, await self._walk(sequence, sequence.prefix(self._instance.path), frame)

    async def _walk(self, sequence: StepSequence, prefix: str, frame: _Frame) -> list[StepView]:
        return [await self._run.step(step, prefix + step.id, frame) for step in sequence.steps]

    def _inner_frame(self) -> _Frame:
        frame = self._instance.frame
        keeps_done = frame.keeps_done or self._instance.step.retry is not None
        return replace(frame, is_nested=True, keeps_done=keeps_done)


def _error_json(error: StepError, message: str, *, step_id: str | None) -> dict[str, Any]:
    """Return `error` as users see it, in values that can be stored."""
    can_store_details = find_unstorable(error.details) is None
    return {
        "type": error.code,
        "category": error.category,
        "message": _storable_text(message),
        "retryable": error.retryable,
        "step_id": step_id,
        "details": loads(dumps(error.details)) if can_store_details else {},
    }


def _storable_text(text: str) -> str:
    return text[:MAX_MESSAGE_CHARS].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


async def _finish_even_if_cancelled(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end; a cancel that comes meanwhile is passed on after it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # read, or asyncio would log it; the cancel is what counts now
        raise
