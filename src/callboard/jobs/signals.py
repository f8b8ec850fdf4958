"""The rules of signals: kept for the step that waits for them, now or later. Called by `jobs/people_router.py`."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import orjson

from callboard.accounts.caller import Caller
from callboard.core.database import Database
from callboard.core.errors import Finding
from callboard.core.idempotency import body_hash
from callboard.core.ids import JobId
from callboard.core.json_values import JsonValue, dumps, find_unstorable
from callboard.jobs.errors import IdempotencyConflictError, InvalidInputError, SignalRefusedError
from callboard.jobs.repository.idempotency import Idempotency
from callboard.jobs.repository.jobs import JobRepository
from callboard.jobs.repository.wakings import MAX_SIGNALS_KEPT, SignalOutcome, keep_signal
from callboard.jobs.rousing import Rousing


class SignalService:
    """What callers may tell running jobs. `keys_valid_since` says how old an Idempotency-Key may be."""

    def __init__(self, database: Database, rousing: Rousing, *, keys_valid_since: Callable[[], datetime]) -> None:
        self._database = database
        self._rousing = rousing
        self._keys_valid_since = keys_valid_since

    async def send(
        self,
        caller: Caller,
        job_id: UUID,
        name: str,
        payload: JsonValue,
        *,
        user_id: str | None,
        idempotency_key: str | None,
    ) -> None:
        """Keep a signal, durably; the step that waits for its name takes it, signals of a name in their order.

        Raises: JobNotFoundError, SignalRefusedError, InvalidInputError, IdempotencyConflictError.
        """
        reason = find_unstorable(payload, "/body/payload")
        if reason is not None:
            pointer, _, message = reason.partition(": ")
            raise InvalidInputError(f"The payload cannot be stored: {reason}.", errors=[Finding(pointer, message)])
        async with self._database.reads() as session:
            await JobRepository(session, caller.tenant).find_of_user(job_id, caller.acting_for(user_id))
        digest = body_hash(orjson.dumps({"name": name, "payload": payload}, option=orjson.OPT_SORT_KEYS))
        sent = await keep_signal(
            self._database,
            JobId(job_id),
            name=name,
            payload_json=dumps(payload),
            sent_by=caller.user_id or f"key:{caller.key_id}",
            idempotency=self._idempotency(caller, job_id, digest, idempotency_key),
        )
        if sent.body_hash is not None:
            if sent.body_hash != digest:
                raise IdempotencyConflictError
            return
        _refuse_unkept(sent.outcome, job_id)
        self._rousing.rouse(job_id, was=sent.job_status)

    def _idempotency(self, caller: Caller, job_id: UUID, digest: str, key: str | None) -> Idempotency | None:
        if key is None:
            return None
        return Idempotency(
            tenant_id=caller.tenant_id,
            route=f"signal {job_id}",
            key=key,
            body_hash=digest,
            answer="null",
            valid_since=self._keys_valid_since(),
        )


def _refuse_unkept(outcome: SignalOutcome, job_id: UUID) -> None:
    if outcome is SignalOutcome.JOB_ENDED:
        raise SignalRefusedError(f"Job {job_id} has ended; a retry of it can be signalled.")
    if outcome is SignalOutcome.TOO_MANY:
        raise SignalRefusedError(
            f"Job {job_id} has {MAX_SIGNALS_KEPT} signals that no step has taken; send more when it has taken some."
        )
