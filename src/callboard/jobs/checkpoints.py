"""Making a run durable: the journal that all runs of a process write together, and each run's view of it.

`jobs/runner.py` gives a `RunCheckpointer` to the engine (`workflows/engine.py`) and a `RunStepContext` to
every step. A run goes on only when its row is durable, so a journaled step is never run, or paid, again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from callboard.core.batch_writer import BatchWriter
from callboard.core.clock import milliseconds_between, now, to_iso
from callboard.core.database import DATABASE_ERRORS, Database, is_connection_error
from callboard.core.errors import PermanentError
from callboard.core.ids import new_uuid
from callboard.core.json_values import JsonValue, dump_and_load, dumps, loads
from callboard.core.telemetry import Telemetry
from callboard.jobs.budgets import BudgetDesk, Reservation, RunBudget
from callboard.jobs.errors import JournalRefusedError
from callboard.jobs.leases import WorkerLease
from callboard.jobs.parking import RunWaits, WaitDesk
from callboard.jobs.paths import step_id_of
from callboard.jobs.repository.budgets import Settlement
from callboard.jobs.repository.claims import ClaimedJob
from callboard.jobs.repository.fences import NewEvent
from callboard.jobs.repository.journal import JournalWrite, write_journal
from callboard.jobs.repository.outputs import size_in_bytes
from callboard.workflows.call_budgets import BoundOf
from callboard.workflows.flows import Flows
from callboard.workflows.steps.base import (
    CHOICE_SUFFIX,
    PaidCall,
    Progress,
    RecordedStep,
    RunSuspended,
    StepOutcome,
    StepRecord,
    UsageRecord,
)
from callboard.workflows.steps.waiting import Wait, WaitEnd, WaitKind

SHOW_STARTED_AFTER_SECONDS = 0.05  # a step that ends sooner is shown by its end alone, and costs one row less
CALL_TYPE = "call"  # step_type of a `path#n` row: one finished paid call inside a step

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


class RunStepContext:
    """One step instance's `StepContext`: journals its paid calls, each with its usage row."""

    def __init__(self, checkpointer: RunCheckpointer, path: str, *, secrets: Callable[[str], str | None]) -> None:
        self._checkpointer = checkpointer
        self._path = path
        self._secrets = secrets
        self._calls = 0

    @property
    def job_id(self) -> str:
        return str(self._checkpointer.job.id)

    @property
    def tenant_id(self) -> str:
        return self._checkpointer.job.tenant_id

    @property
    def path(self) -> str:
        return self._path

    async def call_once(self, perform: Callable[[], Awaitable[PaidCall]], *, bound: BoundOf | None = None) -> JsonValue:
        self._calls += 1
        number = self._calls
        recorded = self._checkpointer.find(f"{self._path}#{number}")
        if recorded is not None:
            return loads(recorded.output_json or "null")
        await self._checkpointer.may_begin()
        started_at = now()
        with structlog.contextvars.bound_contextvars(step=self._path):
            reservation, paid = await self._reserve_and_perform(perform, number, bound)
        settlement = None if reservation is None else reservation.paid(paid.usage.cost_usd)
        usage = self._usage_values(paid.usage, number)
        try:
            text, value = dump_and_load(paid.value, max_bytes=self._checkpointer.journal.max_output_bytes)
        except PermanentError:
            await self._checkpointer.write(usage=usage, settlement=settlement)  # what was paid counts, stored or not
            raise
        record = StepRecord(
            path=f"{self._path}#{number}",
            step_id=step_id_of(self._path),
            step_type=CALL_TYPE,
            outcome=StepOutcome.SUCCEEDED,
            started_at=started_at,
            completed_at=now(),
            output_json=text,
        )
        await self._checkpointer.save_call(record, usage, settlement)
        return value

    async def wait_for(self, wait: Wait) -> WaitEnd:
        return await self._checkpointer.waits.wait_for(self._path, wait)

    def resolve_secret(self, name: str) -> str:
        secret = self._secrets(name)
        if secret is None:
            error = PermanentError(f"There is no secret named {name}; set it where this worker runs.")
            error.is_unpaid = True
            raise error
        return secret

    def note_text(self, text: str) -> None:
        """Drop it: what watchers of a job see are its events, and there is none for a part of an answer yet.

        Rows for parts would be written and read again by every other process: they need a form of their own.
        """

    async def _reserve_and_perform(
        self, perform: Callable[[], Awaitable[PaidCall]], number: int, bound: BoundOf | None
    ) -> tuple[Reservation | None, PaidCall]:
        reservation = None
        try:
            reservation = await self._checkpointer.budget.reserve(self._path, number, bound)
            return reservation, await perform()
        except BaseException as error:
            self._calls -= 1  # a call that did not finish has no number: the next try takes it
            if reservation is not None:
                self._checkpointer.settle_soon(reservation.failed(error))
            raise

    def _usage_values(self, usage: UsageRecord, number: int) -> dict[str, Any]:
        job = self._checkpointer.job
        return {
            "id": new_uuid(),
            "job_id": job.id,
            "path": self._path,
            "fence": job.fence,
            "call": number,
            "tenant_id": job.tenant_id,
            "workflow_name": job.workflow_name,
            "user_id": job.user_id,
            "task_name": step_id_of(self._path),
            "service": usage.service,
            "provider": usage.provider,
            "model": usage.model,
            "input_tokens": usage.input_units,
            "output_tokens": usage.output_units,
            "total_tokens": usage.input_units + usage.output_units,
            "cost_usd": usage.cost_usd,
            "duration_ms": usage.duration_ms,
            "related_entity_type": job.related_entity_type,
            "related_entity_id": job.related_entity_id,
            "metadata": dumps(dict(usage.metadata)),
            "created_at": now(),
        }


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
    else:
        log.debug("step.ended", step=record.path, duration_ms=duration_ms, status=record.outcome)


def _size_of(write: JournalWrite) -> int:
    output = write.step["output"] if write.step is not None else None
    return size_in_bytes(output) if output is not None else 0


def _heed_error(written: "asyncio.Future[bool]") -> None:
    """Take the error of a write that nobody waits for; the writer has logged it."""
    if not written.cancelled():
        written.exception()
