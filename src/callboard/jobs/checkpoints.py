"""Making a run durable: the journal that all runs of a process write together, and each run's view of it.

`jobs/runner.py` gives a `RunCheckpointer` to the engine (`workflows/engine.py`); `step_contexts.py` writes what
steps pay for through it. A run goes on only when its row is durable, so a journaled step is never run, or paid, again.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from callboard.core.batch_writer import BatchWriter
from callboard.core.clock import milliseconds_between, to_iso
from callboard.core.database import DATABASE_ERRORS, Database, is_connection_error
from callboard.core.json_values import dumps
from callboard.core.logging import shows_debug
from callboard.core.telemetry import Telemetry
from callboard.jobs.budgets import BudgetDesk, RunBudget
from callboard.jobs.errors import JournalRefusedError
from callboard.jobs.leases import WorkerLease
from callboard.jobs.parking import RunWaits, WaitDesk
from callboard.jobs.paths import step_id_of
from callboard.jobs.repository.budgets import Settlement
from callboard.jobs.repository.claims import ClaimedJob
from callboard.jobs.repository.fences import NewEvent
from callboard.jobs.repository.journal import JournalWrite, write_journal
from callboard.jobs.repository.outputs import size_in_bytes
from callboard.workflows.flows import Flows
from callboard.workflows.steps.base import (
    CHOICE_SUFFIX,
    Progress,
    RecordedStep,
    RunSuspended,
    StepOutcome,
    StepRecord,
)
from callboard.workflows.steps.waiting import Wait, WaitKind

SHOW_STARTED_AFTER_SECONDS = 0.05  # a step that ends sooner is shown by its end alone, and costs one row less

log = structlog.get_logger(__name__)


class Journal:
    """The journal of a process: gathers what its runs want written and commits it together."""

    def __init__(
        self,
        database: Database,
        *,
        max_output_bytes: int,
        telemetry: Telemetry,
        lease: WorkerLease,
    ) -> None:
        self.max_output_bytes = max_output_bytes
        self._telemetry = telemetry
        self._writer: BatchWriter[JournalWrite, bool] = BatchWriter(
            lambda writes: write_journal(database, writes),
            name="journal",
            keep_trying=lease.keeps_trying,
            on_flush=telemetry.flushed,
        )
        telemetry.watch_writer("journal", lambda: self.waiting)

    @property
    def waiting(self) -> tuple[int, int]:
        """How much waits to be written: rows, bytes."""
        return self._writer.waiting

    @property
    def is_behind(self) -> bool:
        """Whether the database is slower than the runs: nothing new is to begin until it has caught up."""
        return self._writer.is_full

    async def catch_up(self) -> None:
        """Return when the journal is not behind."""
        await self._writer.wait_for_room()

    def submit(self, write: JournalWrite) -> "asyncio.Future[bool]":
        """Return the future of whether, once `write` is durable, its run still owned the job."""
        return self._writer.submit(write, size_bytes=_size_of(write))

    def write_soon(self, write: JournalWrite) -> None:
        """Have `write` made durable with the next flush, for whoever watches. Nobody waits for it.

        It is dropped while the journal is behind: what runs wait for goes first.
        """
        if self.is_behind:
            self._telemetry.event_dropped()
            return
        self.submit(write).add_done_callback(_heed_error)

    async def close(self) -> None:
        """Return when everything queued is written."""
        await self._writer.close()


class RunCheckpointer:
    """One run's `Checkpointer`. `may_go_on` says whether this worker may start anything new."""

    def __init__(
        self,
        job: ClaimedJob,
        journal: Journal,
        *,
        desk: WaitDesk,
        budgets: BudgetDesk,
        recorded: Mapping[str, RecordedStep],
        tries: Mapping[str, int],
        may_go_on: Callable[[], bool],
        telemetry: Telemetry,
    ) -> None:
        """`recorded` is what earlier runs journaled, `tries` how often steps were tried before a parked back-off."""
        self.job = job
        self.journal = journal
        self._suspended = asyncio.Event()
        self.waits = RunWaits(job, desk, tries=tries, suspended=self._suspended, suspend=self.suspend)
        self.budget = RunBudget(
            job, budgets, settle=self.settle_soon, ensure_running=self.ensure_running, suspend=self.suspend
        )
        self._budgets = budgets
        self._recorded = recorded
        self._may_go_on = may_go_on
        self._telemetry = telemetry
        self._starting: dict[str, asyncio.TimerHandle] = {}
        self._calls: dict[str, RecordedStep] = {}  # paid in this run, by steps that have not ended
        self._unheard: set[asyncio.Future[bool]] = set()  # writes that the journal has not answered

    @property
    def flows(self) -> Flows:
        return self.waits.flows

    def suspend(self) -> None:
        """Let calls in flight finish, start nothing new, and let go whoever waits."""
        self._suspended.set()
        self.waits.wake()

    def find(self, path: str) -> RecordedStep | None:
        return self._recorded.get(path) or self._calls.get(path)

    async def save(self, record: StepRecord) -> None:
        self._forget_start(record.path)
        _log_end(record)
        self._telemetry.step_ended(
            record.step_type, milliseconds_between(record.started_at, record.completed_at) / 1000
        )
        await self.write(
            step=_step_values(self.job, record), event=_end_event(self.job, record), progress=record.progress
        )
        if record.outcome.is_replayed:
            self._forget_calls(record.path)

    async def save_call(self, record: StepRecord, usage: dict[str, Any], settlement: Settlement | None = None) -> None:
        """Return once a paid call is durable, with usage and settlement; a retry in this run takes it from here.

        It is noted first: a sibling's failure may cancel this step while the row is being written, and the
        container that tries again would pay once more for what stands in the journal.
        """
        self._calls[record.path] = RecordedStep(outcome=record.outcome, output_json=record.output_json)
        await self.write(step=_step_values(self.job, record), usage=usage, settlement=settlement)

    async def write(
        self,
        *,
        step: dict[str, Any] | None = None,
        usage: dict[str, Any] | None = None,
        settlement: Settlement | None = None,
        event: NewEvent | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Return once this is durable.

        Raises: RunSuspended, when the job is no longer this run's, or this worker leaves while the database is
        away; JournalRefusedError, when the database is there and refuses this row.

        A caller that is cancelled leaves it queued: it is written all the same, see `settle`.
        """
        written = self._submit(
            JournalWrite(
                job_id=self.job.id,
                fence=self.job.fence,
                step=step,
                usage=usage,
                settlement=settlement,
                event=event,
                progress=progress,
            )
        )
        if not await self._answer_to(written):
            self.suspend()
            raise RunSuspended

    def settle_soon(self, settlement: Settlement) -> None:
        """Have a reservation settled with the next flush. Nobody waits for it but the end of the run."""
        write = JournalWrite(job_id=self.job.id, fence=self.job.fence, settlement=settlement)
        self._submit(write).add_done_callback(_heed_error)

    def _submit(self, write: JournalWrite) -> "asyncio.Future[bool]":
        written = self.journal.submit(write)
        self._unheard.add(written)
        written.add_done_callback(self._unheard.discard)
        if write.settlement is not None:
            written.add_done_callback(lambda _: self._budgets.note_settled())
        return written

    async def settle(self) -> None:
        """Return when the journal has answered all that this run wrote.

        A run that is stopped leaves writes behind; a finish that overtook them would have them refused, and
        what was paid for would be paid again.
        """
        if self._unheard:
            await asyncio.wait(self._unheard)

    def note_started(self, path: str, step_type: str, progress: Progress | None) -> None:
        event = NewEvent(self.job.id, "step.started", {"path": path, "type": step_type})
        write = JournalWrite(job_id=self.job.id, fence=self.job.fence, event=event, progress=progress)
        loop = asyncio.get_running_loop()
        self._starting[path] = loop.call_later(SHOW_STARTED_AFTER_SECONDS, self._show_started, path, write)

    def note_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        data = {"path": path, "attempt": attempt, "delay_seconds": round(delay_seconds, 3), "error": dict(error)}
        event = NewEvent(self.job.id, "step.retrying", data)
        self.journal.write_soon(JournalWrite(job_id=self.job.id, fence=self.job.fence, event=event))

    async def back_off(self, path: str, *, seconds: float, attempts: int) -> None:
        wait = Wait(kind=WaitKind.BACK_OFF, step_id=step_id_of(path), seconds=seconds)
        await self.waits.back_off(path, wait, tries=attempts)

    def attempts_before(self, path: str) -> int:
        return self.waits.tries_before(path)

    async def may_begin(self) -> None:
        await self.journal.catch_up()
        self.ensure_running()

    def ensure_running(self) -> None:
        if self._suspended.is_set() or not self._may_go_on():
            self.suspend()
            raise RunSuspended

    def close(self) -> None:
        """Forget what was about to be shown: the run has ended."""
        for path in list(self._starting):
            self._forget_start(path)

    async def _answer_to(self, written: "asyncio.Future[bool]") -> bool:
        try:
            return await asyncio.shield(written)
        except DATABASE_ERRORS as error:
            if is_connection_error(error):
                return False
            raise JournalRefusedError from error

    def _forget_calls(self, path: str) -> None:
        number = 1
        while self._calls.pop(f"{path}#{number}", None) is not None:
            number += 1

    def _show_started(self, path: str, write: JournalWrite) -> None:
        self._starting.pop(path, None)
        self.journal.write_soon(write)

    def _forget_start(self, path: str) -> None:
        handle = self._starting.pop(path, None)
        if handle is not None:
            handle.cancel()


def _step_values(job: ClaimedJob, record: StepRecord) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "path": record.path,
        "tenant_id": job.tenant_id,
        "fence": job.fence,
        "step_id": record.step_id,
        "step_type": record.step_type,
        "status": record.outcome,
        "output": record.output_json,
        "choice": record.choice,
        "error": None if record.error is None else dumps(record.error),
        "attempts": record.attempts,
        "started_at": record.started_at,
        "completed_at": record.completed_at,
        "duration_ms": milliseconds_between(record.started_at, record.completed_at),
    }


def _end_event(job: ClaimedJob, record: StepRecord) -> NewEvent | None:
    """Return what watchers are told, or None for the row of a container's choice: it is no step."""
    if record.path.endswith(CHOICE_SUFFIX):
        return None
    name = "step.failed" if record.outcome is StepOutcome.FAILED else "step.completed"
    data = {
        "path": record.path,
        "type": record.step_type,
        "status": record.outcome,
        "attempts": record.attempts,
        "completed_at": to_iso(record.completed_at),
    }
    return NewEvent(job.id, name, data)


def _log_end(record: StepRecord) -> None:
    duration_ms = milliseconds_between(record.started_at, record.completed_at)
    if record.outcome is StepOutcome.FAILED:
        error = record.error or {}
        log.warning(
            "step.failed",
            step=record.path,
            duration_ms=duration_ms,
            error=error.get("type"),
            message=error.get("message"),
        )
    elif shows_debug():  # most steps end well, and nobody looks: making a line costs as much as the rest of the step
        log.debug("step.ended", step=record.path, duration_ms=duration_ms, status=record.outcome)


def _size_of(write: JournalWrite) -> int:
    output = write.step["output"] if write.step is not None else None
    return size_in_bytes(output) if output is not None else 0


def _heed_error(written: "asyncio.Future[bool]") -> None:
    """Take the error of a write that nobody waits for; the writer has logged it."""
    if not written.cancelled():
        written.exception()
