"""Runs a workflow in this process, without a database: for `callboard run` and recorded tests.

The engine is the one that jobs use. What the run's calls answered may be kept (`core/recording.py`) or come
from what was kept; whoever watches is told of every step through a `RunObserver`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from callboard.core import clock
from callboard.core.errors import CallboardError, PermanentError
from callboard.core.json_values import JsonValue
from callboard.core.recording import Recorder, Tape, calling
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.engine import MAX_STEP_OUTPUT_BYTES, Engine
from callboard.workflows.errors import RunFailedError, error_of_run
from callboard.workflows.flows import Flows
from callboard.workflows.local_waits import LocalWaits, go_on_at_once
from callboard.workflows.memory import LOCAL_TENANT, MemoryCheckpointer, MemoryStepContext
from callboard.workflows.memory_budget import MemoryBudget
from callboard.workflows.steps.base import CHOICE_SUFFIX, PaidCall, Progress, StepRecord, UsageRecord
from callboard.workflows.steps.redaction import PLACEHOLDER, redact
from callboard.workflows.steps.waiting import Wait, WaitEnd

LocalStatus: TypeAlias = Literal["completed", "failed"]


class LocalTimeoutError(PermanentError):
    """The run took longer than the workflow's timeout_seconds."""

    code = "run_timeout"
    category = "timeout"


class RunObserver(Protocol):
    """Whoever watches a run. Every method returns at once."""

    def step_started(self, path: str, step_type: str) -> None: ...

    def step_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        """The step is tried again after `delay_seconds`; `attempt` is the number of that try."""
        ...

    def step_ended(self, record: StepRecord) -> None: ...

    def text_came(self, path: str, text: str) -> None:
        """A streamed answer has grown by `text`."""
        ...

    def call_ended(self, call: str, usage: UsageRecord) -> None:
        """The call `path#n` has been answered."""
        ...

    def step_waits(self, path: str, wait: Wait) -> None:
        """The step begins to wait for a person, a signal or a time."""
        ...

    def step_goes_on(self, path: str) -> None:
        """What the step waited for has come, or its time is up."""
        ...


class NoObserver:
    """Nobody watches."""

    def step_started(self, path: str, step_type: str) -> None:
        """Nothing to tell."""

    def step_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        """Nothing to tell."""

    def step_ended(self, record: StepRecord) -> None:
        """Nothing to tell."""

    def text_came(self, path: str, text: str) -> None:
        """Nothing to tell."""

    def call_ended(self, call: str, usage: UsageRecord) -> None:
        """Nothing to tell."""

    def step_waits(self, path: str, wait: Wait) -> None:
        """Nothing to tell."""

    def step_goes_on(self, path: str) -> None:
        """Nothing to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalResult:
    """How a run ended: with `outputs`, or with an `error` as a job has it."""

    status: LocalStatus
    outputs: JsonValue = None
    error: Mapping[str, Any] | None = None
    duration_ms: int = 0


class LocalRun:
    """One run of a workflow. `usage` and `records` tell at any time what was paid and what has ended.

    `secrets` are what `${secrets.NAME}` stands for; a run that is played is given none. `tenant_id` parts
    runs that must not see each other's cached answers. `started_at` stands for the time in `${context}`.
    `waits` ends what steps wait for; time in which the whole run only waits does not count.
    """

    def __init__(
        self,
        workflow: CompiledWorkflow,
        *,
        tape: Tape | None = None,
        observer: RunObserver | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        max_output_bytes: int = MAX_STEP_OUTPUT_BYTES,
        tenant_id: str = LOCAL_TENANT,
        started_at: str | None = None,
        waits: LocalWaits | None = None,
    ) -> None:
        self._workflow = workflow
        self._timeout_seconds = timeout_seconds or workflow.timeout_seconds
        self._active_time = _ActiveTime(self._timeout_seconds)
        self._engine = Engine(max_output_bytes=max_output_bytes)
        self._journal = _LocalCheckpointer(
            tape or Tape(),
            observer or NoObserver(),
            secrets=secrets or {},
            max_output_bytes=max_output_bytes,
            tenant_id=tenant_id,
            waits=waits or LocalWaits(),
            active_time=self._active_time,
            budget=None if workflow.budget_usd is None else MemoryBudget(workflow.budget_usd),
        )
        self.started_at = started_at or clock.to_iso(clock.now())

    @property
    def usage(self) -> list[tuple[str, UsageRecord]]:
        """What was called and paid so far, by `path#n`, in the order in which it was answered."""
        return self._journal.usage

    @property
    def records(self) -> Mapping[str, StepRecord]:
        """The steps that have ended, by path, in that order."""
        return {path: record for path, record in self._journal.records.items() if not path.endswith(CHOICE_SUFFIX)}

    @property
    def used_secrets(self) -> set[str]:
        """The values of the secrets that steps were given."""
        return self._journal.used_secrets

    async def perform(self, input_data: JsonValue) -> LocalResult:
        """Return how the run ended. It is not checked here whether `input_data` fits."""
        started = time.monotonic()
        try:
            async with self._active_time.limit():
                outputs = await self._walk(input_data)
        except TimeoutError:
            message = f"The run took longer than its {self._timeout_seconds:g} seconds (timeout_seconds)."
            return self._failed(error_of_run(LocalTimeoutError(message)), started)
        except RunFailedError as error:
            return self._failed(error.error, started)
        except CallboardError as error:
            return self._failed(error_of_run(error), started)
        return LocalResult(status="completed", outputs=outputs, duration_ms=_milliseconds_since(started))

    async def _walk(self, input_data: JsonValue) -> JsonValue:
        return await self._engine.run(
            self._workflow,
            input_data=input_data,
            context={
                "job_id": "local",
                "workflow": self._workflow.name,
                "user_id": None,
                "started_at": self.started_at,
            },
            checkpointer=self._journal,
            context_for=self._journal.context_for,
        )

    @staticmethod
    def _failed(error: Mapping[str, Any], started: float) -> LocalResult:
        return LocalResult(status="failed", error=error, duration_ms=_milliseconds_since(started))


def recording_of(
    run: LocalRun, recorder: Recorder, *, workflow: str, defaults: Mapping[str, Any], origin: str, keys: set[str]
) -> dict[str, JsonValue]:
    """Return what `recorder` kept of `run` as a replay file, without any secret or any of `keys` in it."""
    document: dict[str, JsonValue] = {
        "workflow": workflow,
        "origin": origin,
        "started_at": run.started_at,
        "defaults": dict(defaults),
        "answers": recorder.answers,
    }
    redacted: dict[str, JsonValue] = redact(document, run.used_secrets | keys)
    return redacted


class _ActiveTime:
    """The seconds that a run may take. They stand still while all of it waits, as those of a parked job do."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._timeout = asyncio.timeout(None)

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Raises: TimeoutError, when they are used up."""
        async with self._timeout:
            self.go_on()
            yield

    def stand_still(self) -> None:
        """Stop counting: none of the run can go on."""
        until = self._timeout.when()
        if until is not None and not self._timeout.expired():
            self._left = until - asyncio.get_running_loop().time()
            self._timeout.reschedule(None)

    def go_on(self) -> None:
        """Count again."""
        if self._timeout.when() is None:
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._left)


class _LocalCheckpointer(MemoryCheckpointer):
    """The journal of a run, which tells whoever watches."""

    def __init__(
        self,
        tape: Tape,
        observer: RunObserver,
        *,
        secrets: Mapping[str, str],
        max_output_bytes: int,
        tenant_id: str,
        waits: LocalWaits,
        active_time: _ActiveTime,
        budget: MemoryBudget | None,
    ) -> None:
        super().__init__(
            secrets=secrets,
            sleep=asyncio.sleep if tape.playback is None else go_on_at_once,
            max_output_bytes=max_output_bytes,
            budget=budget,
        )
        self.flows = Flows(active_time.stand_still)
        self.waits = waits
        self.active_time = active_time
        self.tape = tape
        self.observer = observer
        self.tenant_id = tenant_id
        self.used_secrets: set[str] = set()

    async def save(self, record: StepRecord) -> None:
        await super().save(record)
        if not record.path.endswith(CHOICE_SUFFIX):
            self.observer.step_ended(record)

    async def wait_for(self, path: str, wait: Wait) -> WaitEnd:
        self.observer.step_waits(path, wait)
        try:
            with self.flows.aside():
                return await self.waits.end(path, wait)
        finally:
            self.active_time.go_on()
            self.observer.step_goes_on(path)

    def note_started(self, path: str, step_type: str, progress: Progress | None) -> None:  # noqa: ARG002 - all are told
        self.observer.step_started(path, step_type)

    def note_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        self.observer.step_retrying(path, attempt=attempt, delay_seconds=delay_seconds, error=error)

    def note_text(self, path: str, text: str) -> None:
        self.observer.text_came(path, text)

    def context_for(self, path: str) -> "_LocalStepContext":
        return _LocalStepContext(self, path)

    def secret(self, name: str) -> str:
        if self.tape.playback is not None:
            return PLACEHOLDER  # what stands in the recorded request, so that the two are the same
        value = super().secret(name)
        self.used_secrets.add(value)
        return value


class _LocalStepContext(MemoryStepContext):
    """The context of one attempt of a step, which says which call is under way."""

    def __init__(self, checkpointer: _LocalCheckpointer, path: str) -> None:
        super().__init__(checkpointer, path)
        self._local = checkpointer

    @property
    def job_id(self) -> str:
        return "local"

    @property
    def tenant_id(self) -> str:
        return self._local.tenant_id

    async def _perform(self, perform: Callable[[], Awaitable[PaidCall]]) -> PaidCall:
        name = f"{self._path}#{self._calls}"
        with calling(self._local.tape, name):
            paid = await super()._perform(perform)
        self._local.observer.call_ended(name, paid.usage)
        return paid


def _milliseconds_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)
