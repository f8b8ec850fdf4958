"""A run that is durable only as long as its process: the in-memory adapters of `steps/base.py`.

`callboard run`, unit tests and benches hand them to the engine; `jobs` has the durable ones. Keep the
`MemoryCheckpointer` and run again with it, and the second run replays what the first one finished.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from callboard.core import clock
from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue, dumps, loads
from callboard.workflows.call_budgets import BoundOf
from callboard.workflows.flows import Flows
from callboard.workflows.memory_budget import MemoryBudget
from callboard.workflows.steps.base import PaidCall, Progress, RecordedStep, StepRecord, UsageRecord
from callboard.workflows.steps.waiting import Wait, WaitEnd, WaitKind, seconds_of

DEFAULT_MAX_OUTPUT_BYTES = 4 * 1024 * 1024
LOCAL_TENANT = "local"  # a run in memory is its caller's own


class UnknownSecretError(PermanentError):
    """There is no secret by that name."""

    code = "unknown_secret"
    category = "workflow"


class NobodyAnswersError(PermanentError):
    """The step waits for a person or a signal, and this run has neither."""

    code = "nobody_answers"
    category = "workflow"


class MemoryCheckpointer:
    """Keeps a run's journal in dictionaries: `records` by path, `calls` (JSON) by `path#n`, `usage` in order."""

    def __init__(
        self,
        *,
        secrets: Mapping[str, str] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        max_output_bytes: int = DEFAULT_MAX_OUTPUT_BYTES,
        budget: MemoryBudget | None = None,
    ) -> None:
        self.flows = Flows(on_idle=lambda: None)  # what all flows wait for comes from outside, or not at all
        self.records: dict[str, StepRecord] = {}
        self.calls: dict[str, str] = {}
        self.usage: list[tuple[str, UsageRecord]] = []
        self.max_output_bytes = max_output_bytes
        self.budget = budget
        self._secrets = dict(secrets or {})
        self._sleep = sleep

    def find(self, path: str) -> RecordedStep | None:
        record = self.records.get(path)
        if record is None or not record.outcome.is_replayed:
            return None
        return RecordedStep(
            outcome=record.outcome, output_json=record.output_json, choice=record.choice, error=record.error
        )

    async def save(self, record: StepRecord) -> None:
        self.records[record.path] = record

    def note_started(self, path: str, step_type: str, progress: Progress | None) -> None:
        """Nobody watches a run in memory."""

    def note_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        """Nobody watches a run in memory."""

    def note_text(self, path: str, text: str) -> None:
        """Nobody watches a run in memory. Who does overrides these."""

    async def back_off(self, path: str, *, seconds: float, attempts: int) -> None:
        del path, attempts
        await self._sleep(seconds)

    def attempts_before(self, path: str) -> int:
        """A run in memory sits its back-offs out."""
        del path
        return 0

    async def wait_for(self, path: str, wait: Wait) -> WaitEnd:
        """Return how `wait` ended: timers by sleeping. Raises: NobodyAnswersError for what others have to end.

        Who has answers overrides this.
        """
        if wait.kind is not WaitKind.TIMER:
            raise NobodyAnswersError(f'A run in memory has nobody to end "{wait.step_id}": {wait.kind} at {path}.')
        await self._sleep(seconds_of(wait, clock.now()))
        return WaitEnd(ended_at=clock.now(), is_timed_out=True)

    async def may_begin(self) -> None:
        self.ensure_running()

    def ensure_running(self) -> None:
        """A run in memory goes on until it ends."""

    def context_for(self, path: str) -> "MemoryStepContext":
        """Return the context of one attempt of the step instance at `path`."""
        return MemoryStepContext(self, path)

    def secret(self, name: str) -> str:
        """Return the secret `name`. Raises: UnknownSecretError."""
        value = self._secrets.get(name)
        if value is None:
            raise UnknownSecretError(f"There is no secret {name!r}. Set it, or take it out of the step.")
        return value


class MemoryStepContext:
    """What one attempt of a step instance may ask of a run in memory."""

    def __init__(self, checkpointer: MemoryCheckpointer, path: str) -> None:
        self._checkpointer = checkpointer
        self._path = path
        self._calls = 0

    @property
    def job_id(self) -> str:
        return "memory"

    @property
    def tenant_id(self) -> str:
        return LOCAL_TENANT

    @property
    def path(self) -> str:
        return self._path

    async def call_once(self, perform: Callable[[], Awaitable[PaidCall]], *, bound: BoundOf | None = None) -> JsonValue:
        """Return the value of the next call, performed only if no earlier attempt of this journal did."""
        self._calls += 1
        key = f"{self._path}#{self._calls}"
        journaled = self._checkpointer.calls.get(key)
        if journaled is None:
            self._checkpointer.ensure_running()
            paid = await self._perform_within_budget(perform, bound)
            self._checkpointer.usage.append((key, paid.usage))
            journaled = dumps(paid.value, max_bytes=self._checkpointer.max_output_bytes)
            self._checkpointer.calls[key] = journaled
        return loads(journaled)

    async def wait_for(self, wait: Wait) -> WaitEnd:
        return await self._checkpointer.wait_for(self._path, wait)

    def resolve_secret(self, name: str) -> str:
        return self._checkpointer.secret(name)

    def note_text(self, text: str) -> None:
        self._checkpointer.note_text(self._path, text)

    async def _perform_within_budget(
        self, perform: Callable[[], Awaitable[PaidCall]], bound: BoundOf | None
    ) -> PaidCall:
        budget = self._checkpointer.budget
        if budget is None:
            return await self._perform(perform)

        async def reserve_and_perform() -> PaidCall:
            async with budget.reserving(None if bound is None else bound(), self._path) as settlement:
                paid = await perform()
                settlement.usage = paid.usage
            return paid

        return await self._perform(reserve_and_perform)

    async def _perform(self, perform: Callable[[], Awaitable[PaidCall]]) -> PaidCall:
        try:
            return await perform()
        except BaseException:
            self._calls -= 1  # a call that did not finish has no number: the next try takes it
            raise
