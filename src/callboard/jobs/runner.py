"""Runs jobs: claim, load, run, finish. One per worker process, thousands of runs on one loop.

The doorbell (`queues/embedded.py`) calls `run_next`, `tokens.py` calls `start_next`; the engine (`workflows/engine.py`)
walks the steps; `checkpoints.py` makes them durable. `sweeper.py` looks after what this process cannot see itself.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any
from uuid import UUID

import structlog

from callboard.core.clock import milliseconds_between, now, to_iso
from callboard.core.database import DATABASE_ERRORS, Database
from callboard.core.errors import CallboardError
from callboard.core.json_values import JsonValue, UnstorableValueError, dumps, loads
from callboard.core.telemetry import Telemetry
from callboard.jobs.budgets import BudgetDesk
from callboard.jobs.checkpoints import Journal, RunCheckpointer
from callboard.jobs.endings import Endings
from callboard.jobs.errors import RunCrashedError, RunTimeoutError
from callboard.jobs.finishes import Finishes
from callboard.jobs.leases import WorkerLease
from callboard.jobs.parking import WaitDesk
from callboard.jobs.repository.claims import ClaimedJob, claim_jobs, claim_suspect
from callboard.jobs.repository.finishes import Finish, Finished
from callboard.jobs.repository.journal import load_journal
from callboard.jobs.repository.waits import load_tries
from callboard.jobs.running_limits import NO_LIMITS, RunningLimits
from callboard.jobs.status import JobStatus
from callboard.jobs.step_contexts import RunStepContext
from callboard.queues.port import Ring
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.engine import Engine
from callboard.workflows.errors import RunFailedError, error_of_run
from callboard.workflows.service import BundleStore
from callboard.workflows.steps.base import RecordedStep, RunSuspended

CLAIM_LIMIT = 100  # rows a claim: one claimer of 100 rows beats many of one (measured)
ABORT_SECONDS = 5.0  # a cancelled step that does not let go by then (a thread) is left behind
LOAD_RETRY_SECONDS = 1.0

log = structlog.get_logger(__name__)


class StopReason(Enum):
    """Why a run was stopped from outside."""

    CANCELLED = auto()  # a caller asked for it
    TIMED_OUT = auto()  # the workflow's timeout_seconds
    HANDED_BACK = auto()  # this worker stops
    LOST = auto()  # the job belongs to another worker by now


@dataclass(slots=True)
class ActiveRun:
    """A run that this process holds."""

    job: ClaimedJob
    walk: "asyncio.Task[Any] | None" = None
    checkpointer: RunCheckpointer | None = None
    stop_reason: StopReason | None = None
    task: "asyncio.Task[None] | None" = None
    ended_as: JobStatus | None = None  # as it was written; None also when the job was somebody else's by then

    def stop(self, reason: StopReason) -> None:
        """Abort the run's calls at once. The first reason stands."""
        if self.stop_reason is None:
            self.stop_reason = reason
        if self.walk is not None:
            self.walk.cancel()

    def suspend(self) -> None:
        """Let calls in flight finish, start nothing new."""
        if self.checkpointer is not None:
            self.checkpointer.suspend()

    def wake(self) -> None:
        """Have the run look whether what it waits for has come."""
        if self.checkpointer is not None:
            self.checkpointer.waits.wake()

    @property
    def has_reserved(self) -> bool:
        """Whether calls of the run were made under a budget; one that was cut off may have left what it reserved."""
        return self.checkpointer is not None and self.checkpointer.budget.has_reserved

    @property
    def is_waiting_for_news(self) -> bool:
        """Whether a branch of the run waits for something, while others go on."""
        return self.checkpointer is not None and bool(self.checkpointer.waits.open)


class JobRunner:
    """Claims jobs for this process and runs them until they end or this process stops."""

    def __init__(
        self,
        database: Database,
        *,
        engine: Engine,
        bundles: BundleStore,
        journal: Journal,
        desk: WaitDesk,
        budgets: BudgetDesk,
        finishes: Finishes,
        endings: Endings,
        lease: WorkerLease,
        telemetry: Telemetry,
        secrets: Callable[[str], str | None],
        max_running: int,
        limits: RunningLimits = NO_LIMITS,
        ring: Ring,
        on_slot_free: Callable[[], None],
    ) -> None:
        self._database = database
        self._engine = engine
        self._bundles = bundles
        self._journal = journal
        self._desk = desk
        self._budgets = budgets
        self._finishes = finishes
        self._endings = endings
        self._lease = lease
        self._telemetry = telemetry
        self._secrets = secrets
        self._max_running = max_running
        self._limits = limits
        self._ring = ring
        self._on_slot_free = on_slot_free
        self._slot_freed = asyncio.Event()
        self._active: dict[UUID, ActiveRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def free_slots(self) -> int:
        return self._max_running - len(self._active)

    @property
    def claim_limit(self) -> int:
        """How many jobs the next claim takes at most."""
        return min(CLAIM_LIMIT, self.free_slots)

    def holds(self, job_id: UUID) -> bool:
        """Return whether this process runs the job now."""
        return job_id in self._active

    async def wait_for_slot(self) -> None:
        """Return when there is room for one run more."""
        while self.free_slots <= 0:
            self._slot_freed.clear()
            await self._slot_freed.wait()

    async def run_next(self) -> int:
        """Claim what there is room for, start it, and return how many jobs that were."""
        return len(await self.start_next(CLAIM_LIMIT))

    async def start_next(self, limit: int) -> list[ActiveRun]:
        """Claim up to `limit` jobs, as far as there is room, start them, and return their runs, most urgent first."""
        limit = min(limit, self.claim_limit)
        if self._is_stopping or limit <= 0 or not self._lease.is_current or self._journal.is_behind:
            return []
        worker_id = self._lease.worker_id
        jobs = await claim_jobs(self._database, worker_id, limit, limits=self._limits)
        if self._lease.is_lost or self._lease.worker_id != worker_id:
            return []  # marked dead while the claim was under way: whoever did it takes these jobs over
        return [self._start(job) for job in jobs]

    async def start_suspect(self) -> ActiveRun | None:
        """Claim one suspect, start it and return its run, or None when there is none. For `jobs/suspects.py` alone."""
        if self._is_stopping or self._active or not self._lease.is_current:
            return None
        job = await claim_suspect(self._database, self._lease.worker_id, limits=self._limits)
        return None if job is None or self._lease.is_lost else self._start(job)

    def cancel(self, job_id: UUID) -> None:
        """Abort the run of this job, if this process holds it. The request itself is in the database."""
        run = self._active.get(job_id)
        if run is not None:
            run.stop(StopReason.CANCELLED)

    def wake(self, job_id: UUID) -> None:
        """Tell the run of this job, if this process holds it, that there may be news of what it waits for."""
        run = self._active.get(job_id)
        if run is not None:
            run.wake()

    def list_waiting_for_news(self) -> list[UUID]:
        """Return the jobs of this process of which a branch waits for something, while others go on."""
        return [job_id for job_id, run in self._active.items() if run.is_waiting_for_news]

    def abandon_all(self) -> None:
        """Stop every run without writing anything: the lease was lost and the jobs are others' by now."""
        for run in self._active.values():
            run.stop(StopReason.LOST)

    async def stop(self, *, grace_seconds: float) -> None:
        """Claim nothing more, let calls in flight finish for `grace_seconds`, hand the rest back."""
        self._is_stopping = True
        for run in self._active.values():
            run.suspend()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for run in self._active.values():
            run.stop(StopReason.HANDED_BACK)
        self._lease.leave()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def may_go_on(self) -> bool:
        """Return whether a run of this process may start a new step or call."""
        return not self._is_stopping and self._lease.is_current

    def _start(self, job: ClaimedJob) -> ActiveRun:
        run = self._active[job.id] = ActiveRun(job)
        run.task = asyncio.create_task(self._run(run), name=f"job-{job.id}")
        self._tasks.add(run.task)
        run.task.add_done_callback(self._tasks.discard)
        return run

    async def _run(self, run: ActiveRun) -> None:
        """Take one claimed job from its load to its end: the stages of every run."""
        job = run.job
        structlog.contextvars.bind_contextvars(
            job_id=str(job.id), workflow_name=job.workflow_name, correlation_id=job.celery_task_id
        )
        log.debug("job.claimed", fence=job.fence, attempt=job.attempt)
        try:
            finish = await self._load_and_walk(run)
            if run.checkpointer is not None:
                run.checkpointer.close()
                await run.checkpointer.settle()
            if finish is not None:
                await self._finish(run, replace(finish, has_reserved=run.has_reserved))
        finally:  # whatever breaks: a job that is held by nobody goes back to the queue (`sweeper.py`)
            self._active.pop(job.id, None)
            self._slot_freed.set()
            self._on_slot_free()

    async def _load_and_walk(self, run: ActiveRun) -> Finish | None:
        """Return how the run ended, or None when it is not ours to say.

        The load and the walk are one task: cancelling it is how a run is stopped, whatever it is doing.
        """
        run.walk = asyncio.create_task(self._walk(run), name=f"walk-{run.job.id}")
        if run.stop_reason is not None:
            run.walk.cancel()
        done, _ = await asyncio.wait({run.walk}, timeout=_seconds_left(run.job))
        if not done:
            run.stop(StopReason.TIMED_OUT)
        if not run.walk.done():
            await self._abort(run)
        return self._judge(run, run.walk)

    async def _walk(self, run: ActiveRun) -> Any:
        workflow, recorded, tries = await self._load(run.job)
        checkpointer = RunCheckpointer(
            run.job,
            self._journal,
            desk=self._desk,
            budgets=self._budgets,
            recorded=recorded,
            tries=tries,
            may_go_on=self.may_go_on,
            telemetry=self._telemetry,
        )
        run.checkpointer = checkpointer
        return await self._engine.run(
            workflow,
            input_data=loads(run.job.input_data),
            context=_reserved_context(run.job),
            checkpointer=checkpointer,
            context_for=lambda path: RunStepContext(checkpointer, path, secrets=self._secrets),
        )

    async def _load(self, job: ClaimedJob) -> tuple[CompiledWorkflow, dict[str, RecordedStep], dict[str, int]]:
        """Return the workflow as it was submitted, what earlier runs journaled, and tries before parked back-offs."""
        while True:
            try:
                workflow = await self._bundles.load(job.definition_hash)
                if not job.was_claimed_before:
                    return workflow, {}, {}
                recorded = await load_journal(self._database, job.id)
                return workflow, recorded, await load_tries(self._database, job.id, job.attempt)
            except DATABASE_ERRORS as error:
                log.warning("job.load_failed", error=repr(error)[:300])
                await asyncio.sleep(LOAD_RETRY_SECONDS)

    async def _abort(self, run: ActiveRun) -> None:
        assert run.walk is not None
        _, pending = await asyncio.wait({run.walk}, timeout=ABORT_SECONDS)
        if pending:
            log.error("job.abort_slow", seconds=ABORT_SECONDS)

    def _judge(self, run: ActiveRun, walk: "asyncio.Task[Any]") -> Finish | None:
        """Return what the end of `walk` means for the job."""
        if run.stop_reason is StopReason.LOST or self._lease.is_lost:
            if walk.done() and not walk.cancelled():
                walk.exception()  # read, or asyncio would log it; whose job it is by now decides
            self._telemetry.lease_lost()
            return None
        if not walk.done() or walk.cancelled():
            return self._finish_of_stopped(run)
        error = walk.exception()
        if error is None:
            return _completed(run.job, walk.result())
        if isinstance(error, RunSuspended):
            return _parked(run) or Finish(job_id=run.job.id, fence=run.job.fence, status=JobStatus.QUEUED)
        if isinstance(error, RunFailedError):
            return _failed(run.job, dict(error.error))
        if isinstance(error, asyncio.CancelledError):
            return self._finish_of_stopped(run)
        if isinstance(error, CallboardError):  # what the run began with is gone, or this version cannot run it
            return _failed(run.job, error_of_run(error))
        log.error("job.crashed", exc_info=error)
        return _failed(run.job, error_of_run(RunCrashedError()))

    def _finish_of_stopped(self, run: ActiveRun) -> Finish:
        if run.stop_reason is StopReason.CANCELLED:
            return Finish(job_id=run.job.id, fence=run.job.fence, status=JobStatus.CANCELLED)
        if run.stop_reason is StopReason.TIMED_OUT:
            message = f"The run took longer than its {run.job.timeout_seconds} seconds (timeout_seconds)."
            return _failed(run.job, error_of_run(RunTimeoutError(message)))
        return Finish(job_id=run.job.id, fence=run.job.fence, status=JobStatus.QUEUED)

    async def _finish(self, run: ActiveRun, finish: Finish) -> None:
        job = run.job
        try:
            finished = await self._finishes.write(finish)
        except DATABASE_ERRORS as error:
            # the sweeper of whoever is left finds the job with its journal whole
            log.error("job.finish_not_written", status=finish.status, error=repr(error)[:300])
            return
        if finished is Finished.LOST:
            self._telemetry.lease_lost()
            log.warning("job.lease_lost", fence=job.fence)
            return
        seconds = milliseconds_between(job.started_at, now()) / 1000
        if finished is Finished.REQUEUED:
            log.debug("job.not_parked", fence=job.fence, reason="news")
            run.ended_as = JobStatus.QUEUED
            self._ring()
            return
        log.info("job.finished", status=finish.status, fence=job.fence, seconds=seconds, error=finish.error)
        run.ended_as = finish.status
        if finish.status is JobStatus.QUEUED:
            self._ring()  # handed back: it is for whoever hears it
        if finish.status.is_final:
            self._telemetry.job_ended(job.workflow_name, finish.status, seconds)
            self._endings.announce(job.id)


def _seconds_left(job: ClaimedJob) -> float:
    """Return how long the run may take from here: only time in which a worker held it counts."""
    return max(0.0, job.timeout_seconds - job.active_ms / 1000)


def _reserved_context(job: ClaimedJob) -> dict[str, Any]:
    return {
        "job_id": str(job.id),
        "workflow": job.workflow_name,
        "user_id": job.user_id,
        "started_at": to_iso(job.started_at),
    }


def _parked(run: ActiveRun) -> Finish | None:
    """Return the end of a run none of whose flows can go on, or None when something else suspended it."""
    if run.checkpointer is None or not run.checkpointer.waits.is_parked:
        return None
    waits = tuple(reply.wait_id for reply in run.checkpointer.waits.open.values() if reply.wait_id is not None)
    return Finish(job_id=run.job.id, fence=run.job.fence, status=JobStatus.WAITING, waits=waits)


def _completed(job: ClaimedJob, outputs: Mapping[str, JsonValue]) -> Finish:
    """Return the end of a run that gave `outputs`; a failure, when they cannot be stored."""
    given = {name: value for name, value in outputs.items() if name != "cost_data"}  # ours, whatever the file says
    try:
        text = dumps(given)
    except UnstorableValueError as error:
        return _failed(job, error_of_run(error))
    return Finish(job_id=job.id, fence=job.fence, status=JobStatus.COMPLETED, outputs_json=text)


def _failed(job: ClaimedJob, error: dict[str, Any]) -> Finish:
    return Finish(job_id=job.id, fence=job.fence, status=JobStatus.FAILED, error=error)
