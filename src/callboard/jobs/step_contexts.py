"""What a step may ask of the job that it runs in: the durable `StepContext`, one per attempt of a step instance.

`jobs/runner.py` hands it to every step. Each paid call is reserved where a budget applies, made, and journaled with
its usage row (`checkpoints.py`), so a replay takes it from the journal.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from callboard.core.clock import now
from callboard.core.errors import PermanentError
from callboard.core.ids import new_uuid
from callboard.core.json_values import JsonValue, dump_and_load, dumps, loads
from callboard.jobs.budgets import Reservation
from callboard.jobs.checkpoints import RunCheckpointer
from callboard.jobs.paths import step_id_of
from callboard.workflows.call_budgets import BoundOf
from callboard.workflows.steps.base import PaidCall, StepOutcome, StepRecord, UsageRecord
from callboard.workflows.steps.waiting import Wait, WaitEnd

CALL_TYPE = "call"  # step_type of a `path#n` row: one finished paid call inside a step


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
