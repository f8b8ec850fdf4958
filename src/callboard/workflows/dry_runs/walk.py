"""A run that calls nobody: its plan, its prompts, and what it would take.

Called by `workflows/validation.py` and `callboard dry-run`. It walks a compiled workflow as the engine does.
What a model or a service would answer stands as an unknown value wherever it is read; transforms whose input
is known are really run; a condition that hangs on something unknown leaves all its branches possible.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

from callboard.core.errors import Finding, StepError, UnprocessableError
from callboard.core.json_values import JsonValue, dumps, loads
from callboard.workflows.call_budgets import show_usd
from callboard.workflows.call_prices import CallPrices
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.definition import ErrorMode
from callboard.workflows.dry_runs.branching import choose, run_beside
from callboard.workflows.dry_runs.estimates import CallEstimate, CallEstimates, Notes, seen_seconds, seen_size
from callboard.workflows.dry_runs.frames import Found, Frame, Walked
from callboard.workflows.dry_runs.history import PastRuns, PastStep, Seen
from callboard.workflows.dry_runs.inputs import fill_in_missing, imagine_input
from callboard.workflows.dry_runs.looping import run_loop
from callboard.workflows.dry_runs.outputs import awaited_output, doubted_view, fallible_view, unknown_output
from callboard.workflows.dry_runs.plans import (
    NOTHING,
    ONCE,
    ONE,
    ZERO,
    Certainty,
    DryRun,
    Load,
    PlanBranch,
    PlanStep,
    Span,
)
from callboard.workflows.dry_runs.stand_ins import NoCalls, NoChildren
from callboard.workflows.dry_runs.subruns import run_inside
from callboard.workflows.dry_runs.sums import scaled
from callboard.workflows.errors import UnresolvedReferenceError
from callboard.workflows.flows import Flows
from callboard.workflows.references import SCOPE_ROOTS, Reference, Scope, StepView
from callboard.workflows.step_views import SKIPPED_VIEW, absorbed_view, fill_in_what_did_not_run, successful_view
from callboard.workflows.steps.base import CompiledStep, StepExecution, StepTimeoutError
from callboard.workflows.steps.foresight import (
    Foreseeable,
    ForeseenChoice,
    ForeseenLoop,
    ForeseenModelCall,
    ForeseenParallel,
    ForeseenServiceCall,
    ForeseenWait,
    ForeseenWorkflow,
)
from callboard.workflows.unknown_values import TextSize, UnknownBook

MAX_SECONDS = 30.0
MAX_STEPS_WALKED = 5_000  # instances; behind that each loop is walked once and counted for all its items
MAX_ITEMS_WALKED = 100  # of one loop; the others are taken to be like these
EVENLY = Decimal("0.5")
UNUSUAL_SIZE = TextSize(2, 500, 10_000)  # of an output of which nothing is known
WORK_SECONDS = Span.of(0, Decimal("0.01"), 1)  # of a transform: most are far below
NO_INPUT: JsonValue = object()  # `foresee` is asked without one


class DryRunTooSlowError(UnprocessableError):
    """The workflow is too large, or its transforms take too long, to be gone through ahead of a run."""

    code = "dry_run_too_slow"


async def foresee(
    workflow: CompiledWorkflow,
    input_data: JsonValue = NO_INPUT,
    *,
    prices: CallPrices,
    past: PastRuns | None = None,
    max_seconds: float = MAX_SECONDS,
) -> DryRun:
    """Return what a run of `workflow` for `input_data` would do and take. Nobody is called.

    Without an input all of it is unknown but its defaults. One that does not fit `input_schema` is told with
    every error, and the plan is made as far as that goes. `past` are earlier runs of it.

    Raises: DryRunTooSlowError, after `max_seconds`.
    """
    book, notes = UnknownBook(), Notes()
    views: dict[str, StepView] = {}
    errors: tuple[Finding, ...] = ()
    if input_data is NO_INPUT:
        notes.assume("There is no input, so all of it counts as unknown.")
        value = imagine_input(workflow.definition.input_schema, book)
    else:
        errors = tuple(workflow.validate_input(input_data))
        value = workflow.complete_input(input_data)
        value = fill_in_missing(value, workflow.definition.input_schema, book) if errors else value
    scope = Scope(input=value, context={**workflow.context, **_run_context(workflow, book)}, steps=views)
    walk = _Walk(
        past=past.steps if past is not None else {},
        book=book,
        notes=notes,
        estimates=CallEstimates(prices, book, notes),
        ends_at=time.monotonic() + max_seconds,
    )
    walked = await walk.sequence(workflow.steps, Frame(scope, views))
    walk.check_outputs(workflow, scope)
    load = walk.within_limit(walked.load, workflow.timeout_seconds)
    _check_budget(load, workflow, notes)
    return DryRun(
        workflow_name=workflow.name,
        workflow_version=workflow.definition.version,
        input_errors=errors,
        warnings=tuple(notes.warnings.values()),
        assumptions=tuple(notes.assumptions),
        plan=walked.plan,
        load=load,
        basis="prompt" if past is None else "history",
        runs_seen=0 if past is None else past.runs,
    )


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One dry run on its way through the steps."""

    past: Mapping[str, PastStep]
    book: UnknownBook
    notes: Notes
    estimates: CallEstimates
    ends_at: float
    steps_walked: int = 0

    async def sequence(self, steps: Sequence[CompiledStep], frame: Frame) -> Walked:
        """Go through steps that run one after the other."""
        plan, output = [], None
        for step in steps:
            planned = await self.step(step, frame)
            plan.append(planned)
            if planned.certainty is not Certainty.NEVER:
                output = frame.views[step.id].output
        return Walked(tuple(plan), output)

    async def step(self, step: CompiledStep, frame: Frame) -> PlanStep:
        """Return the plan of a step that is reached once, and note what later steps see of it."""
        self._check_time()
        try:
            runs = True if step.when is None else step.when.decide(frame.scope, self.book.is_known)
            if runs is False:
                return self.never(step, frame)
            inner = replace(
                frame,
                certainty=frame.certainty if runs else Certainty.POSSIBLE,
                attempts=frame.attempts * (step.retry.max_attempts if step.retry is not None else 1),
            )
            found = await self._foresee(step, inner)
        except StepError as error:
            return self._failing(step, frame, error)
        view = successful_view(step, found.output)
        if found.may_time_out or (found.may_fail and step.error_mode is not ErrorMode.FAIL):
            view = fallible_view(step.id, view, self.book)
        plan = self._plan_of(step, inner.certainty, found)
        if runs is None:
            past = self.past.get(step.id)
            share = EVENLY if past is None else Decimal(str(past.ran_share))
            plan, view = scaled(plan, Span(ZERO, share, ONE)), doubted_view(step.id, view, self.book)
        frame.views[step.id] = view
        if step.is_container:
            fill_in_what_did_not_run(step, frame.views, view)
        return plan

    def check_outputs(self, workflow: CompiledWorkflow, scope: Scope) -> None:
        """Note why the outputs of the file could not be made."""
        if workflow.outputs is None:
            return
        try:
            workflow.outputs.render(scope)
        except StepError as error:
            self.notes.warn("/outputs", f"The outputs could not be made: {error.message}", code="outputs_would_fail")

    def items_to_walk(self, count: int) -> int:
        """Return how many of so many items are gone through; the others are taken to be like these."""
        left = MAX_STEPS_WALKED - self.steps_walked
        return max(1, min(count, MAX_ITEMS_WALKED, left))

    @contextmanager
    def inside(self, step: CompiledStep) -> Iterator[None]:
        """Go on in the workflow that `step` runs: its steps have a history, and ids, of their own."""
        past, around, prefix = self.past, self.notes.around, f"{step.id}/"
        pointer, path = (step.pointer, step.id) if around is None else (around[0], f"{around[1]}/{step.id}")
        self.past = {key.removeprefix(prefix): seen for key, seen in past.items() if key.startswith(prefix)}
        self.notes.around = pointer, path
        try:
            yield
        finally:
            self.past, self.notes.around = past, around

    def within_limit(self, load: Load, timeout_seconds: float) -> Load:
        """Return the load with no more seconds than a run may take."""
        limit, seconds = Decimal(str(timeout_seconds)), load.seconds
        if seconds.likely > limit:
            message = f"The run is likely to take {seconds.likely:.0f} s, and its timeout_seconds is {limit:.0f}."
            self.notes.warn("/timeout_seconds", message, code="timeout_likely")
        return replace(load, seconds=Span(*(min(end, limit) for end in (seconds.low, seconds.likely, seconds.high))))

    async def _foresee(self, step: CompiledStep, frame: Frame) -> Found:
        past = self.past.get(step.id)
        if not isinstance(step.body, Foreseeable):
            return self._foresee_unusual(step, past)
        ahead = step.body.foresee(frame.scope, self.book.is_known)
        match ahead:
            case ForeseenModelCall():
                asked = self.estimates.of_model_call(
                    step, ahead, past, attempts=frame.attempts, is_shown=frame.is_shown
                )
                return self._called(step, past, asked, frame)
            case ForeseenServiceCall():
                estimate = self.estimates.of_service_call(step, ahead, past, attempts=frame.attempts)
                return self._called(step, past, estimate, frame)
            case ForeseenWait():
                self.notes.assume(
                    "Time in which the run waits for people, signals or moments is no part of its duration."
                )
                output = awaited_output(step, self.book)
                return Found(load=Load(), output=output, waits=ahead.words, may_time_out=ahead.may_time_out)
            case ForeseenChoice():
                return await choose(self, step, ahead, frame)
            case ForeseenParallel():
                return await run_beside(self, ahead, frame)
            case ForeseenLoop():
                return await run_loop(self, step, ahead, frame)
            case ForeseenWorkflow():
                return await run_inside(self, step, ahead, frame)
            case _:
                return await self._work(step, frame)

    def _called(self, step: CompiledStep, past: PastStep | None, estimate: CallEstimate, frame: Frame) -> Found:
        output = unknown_output(step, estimate.answer, past, self.book)
        return Found(load=estimate.load, output=output, calls=(estimate.call,) if frame.is_shown else ())

    async def _work(self, step: CompiledStep, frame: Frame) -> Found:
        """Do what the step does, if all that it reads is known: it asks nobody."""
        past = self.past.get(step.id)
        load = Load(seconds=seen_seconds(past) or WORK_SECONDS)
        size = self._size_of_unknown(step.reads, frame.scope)
        if size is not None:
            return Found(load=load, output=unknown_output(step, seen_size(past) or size, past, self.book))
        output = await self._run(step, frame)
        return Found(load=load, output=loads(dumps(output)), may_fail=False)

    async def _run(self, step: CompiledStep, frame: Frame) -> JsonValue:
        left = max(0.01, self.ends_at - time.monotonic())
        execution = StepExecution(
            step_id=step.id,
            path=step.id,
            scope=frame.scope,
            context=NoCalls(step.id),
            timeout_seconds=min(step.timeout_seconds, left),
            children=NoChildren(),
            flows=Flows(on_idle=lambda: None),
        )
        try:
            return await step.body.run(execution)
        except StepTimeoutError as error:
            if left < step.timeout_seconds:
                raise DryRunTooSlowError from error
            raise

    def _size_of_unknown(self, reads: Sequence[Reference], scope: Scope) -> TextSize | None:
        """Return how long all that the references lead to is, or None where nothing of it is unknown."""
        values: list[JsonValue] = []
        for reference in reads:
            if reference.root not in scope.locals and reference.root not in SCOPE_ROOTS:
                continue  # a name that the operation gives to each item
            try:
                values.append(reference.resolve(scope))
            except UnresolvedReferenceError:
                continue  # the operation itself will tell
        return None if self.book.is_known(values) else self.book.measure_value(values)

    def _foresee_unusual(self, step: CompiledStep, past: PastStep | None) -> Found:
        """Return what earlier runs tell of a step whose kind tells nothing."""
        self.notes.assume(f'Steps of the type {step.type} tell nothing ahead; "{step.id}" counts as earlier runs show.')
        load = Load()
        if past is not None:
            usd = past.cost_usd or ZERO
            seconds = seen_seconds(past) or NOTHING
            load = Load(
                input_tokens=_seen(past.input_tokens),
                output_tokens=_seen(past.output_tokens),
                cost_usd=Span.exactly(usd),
                seconds=seconds,
            )
        output = unknown_output(step, seen_size(past) or UNUSUAL_SIZE, past, self.book)
        return Found(load=load, output=output)

    def _failing(self, step: CompiledStep, frame: Frame, error: StepError) -> PlanStep:
        """Return the plan of a step that would fail, and let later steps see what its error mode makes of that."""
        message = f'The step "{step.id}" would fail: {error.message}'
        self.notes.warn(step.pointer, message, code="step_would_fail")
        view = StepView(self.book.new(f"steps.{step.id}", UNUSUAL_SIZE))
        if step.error_mode is not ErrorMode.FAIL:
            output = self._default_value(step, frame.scope) if step.error_mode is ErrorMode.DEFAULT else None
            view = absorbed_view(step, output, {"type": error.code, "message": error.message})
        frame.views[step.id] = view
        if step.is_container:
            fill_in_what_did_not_run(step, frame.views, view)
        found = Found(load=Load(), output=None)
        return replace(self._plan_of(step, frame.certainty, found), problem=error.message)

    def _default_value(self, step: CompiledStep, scope: Scope) -> JsonValue:
        try:
            return None if step.default_value is None else step.default_value.render(scope)
        except StepError as error:
            message = f'The default_value of the step "{step.id}" would fail: {error.message}'
            self.notes.warn(step.pointer, message, code="step_would_fail")
            return None

    def never(self, step: CompiledStep, frame: Frame) -> PlanStep:
        """Return the plan of a step that does not run, with all that is inside it."""
        frame.views[step.id] = SKIPPED_VIEW
        if step.is_container:
            fill_in_what_did_not_run(step, frame.views, SKIPPED_VIEW)
        branches = tuple(
            PlanBranch(
                name=sequence.branch,
                condition=None,
                certainty=Certainty.NEVER,
                share=ZERO,
                steps=tuple(self.never(each, frame.copy()) for each in sequence.steps),
            )
            for sequence in step.sequences
        )
        plan = self._plan_of(step, Certainty.NEVER, Found(load=Load(), output=None, branches=branches))
        return replace(plan, times=NOTHING)

    def _plan_of(self, step: CompiledStep, certainty: Certainty, found: Found) -> PlanStep:
        return PlanStep(
            id=step.id,
            type=step.type,
            display_name=step.display_name,
            certainty=certainty,
            when=None if step.when is None else step.when.text,
            times=ONCE,
            load=found.load,
            basis="history" if step.id in self.past else "prompt",
            calls=found.calls,
            loop=found.loop,
            branches=found.branches,
            waits=found.waits,
        )

    def _check_time(self) -> None:
        self.steps_walked += 1
        if time.monotonic() > self.ends_at:
            raise DryRunTooSlowError


def _run_context(workflow: CompiledWorkflow, book: UnknownBook) -> dict[str, JsonValue]:
    """Return the reserved names of the context; but for the workflow's, they are known when the run starts."""
    unknown = {name: book.new(f"context.{name}", TextSize.exactly(36)) for name in ("job_id", "user_id", "started_at")}
    return {**unknown, "workflow": workflow.name}


def _check_budget(load: Load, workflow: CompiledWorkflow, notes: Notes) -> None:
    """Note that the run is likely to cost more than its budget. A price that is not known was told at its step."""
    budget_usd = workflow.budget_usd
    if budget_usd is not None and load.cost_usd is not None and load.cost_usd.likely > budget_usd:
        message = (
            f"The run is likely to cost {show_usd(load.cost_usd.likely)}, and budget_usd is {show_usd(budget_usd)}. "
            "Calls that do not fit into it are refused."
        )
        notes.warn("/budget_usd", message, code="budget_likely_exceeded")


def _seen(seen: Seen | None) -> Span:
    return NOTHING if seen is None else Span.of(seen.low, seen.mean, seen.high)
