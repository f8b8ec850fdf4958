"""Answers the tokens of a broker: each claims one job, waits for its end, and says what became of it.

The tasks of `queues/celery.py` and `queues/arq.py` call `TokenClaimer.take`, hundreds of them at once. They
do not claim each alone: the tokens that wait at this moment are gathered and claimed for in one statement
(measured: 121 claims/s by 50 claimers of one row, 66,000 rows/s by one claimer of 100).
"""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from callboard.core.database import DATABASE_ERRORS
from callboard.core.json_values import JsonValue
from callboard.jobs.runner import ActiveRun, JobRunner
from callboard.queues.port import Ring

# A token never outlives what a broker allows: RabbitMQ's consumer_timeout is 30 minutes, and Redis' visibility
# time-out is set to an hour (`queues/celery.py`). The run itself goes on: its lease is in the database.
PATIENCE_SECONDS = 600.0
RETRY_SECONDS = 1.0  # between claims while the database is away

NOTHING_TO_DO = "nothing to do"
STILL_RUNNING = "running"
LOST = "lost"  # another worker has the job by now

log = structlog.get_logger(__name__)


class TokenClaimer:
    """Claims for the tokens that this process has taken from a broker."""

    def __init__(self, runner: JobRunner, *, ring: Ring, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._runner = runner
        self._ring = ring
        self._patience_seconds = patience_seconds
        self._waiting: deque[asyncio.Future[ActiveRun | None]] = deque()
        self._claiming: asyncio.Task[None] | None = None
        self._is_asking = False  # a claim is under way
        self._is_stopping = False

    async def take(self) -> dict[str, JsonValue]:
        """Claim the most urgent ready job, wait for it, and return its workflow, id and status.

        A token that finds no job says so at once; one that finds no room, or no database, waits for it. After
        `patience_seconds` the job's status is `running`, and the run goes on without its token.
        """
        deadline = asyncio.get_running_loop().time() + self._patience_seconds
        run = await self._claim_one(deadline)
        if run is None:
            return {"status": NOTHING_TO_DO}
        left_seconds = deadline - asyncio.get_running_loop().time()
        is_done = run.task is not None and bool((await asyncio.wait({run.task}, timeout=left_seconds))[0])
        status = STILL_RUNNING if not is_done else LOST if run.ended_as is None else str(run.ended_as)
        return {"workflow": run.job.workflow_name, "job_id": str(run.job.id), "status": status}

    async def stop(self) -> None:
        """Claim no more. Tokens that wait are answered, and rung again for whoever comes.

        A claim under way is waited for: what it commits would have no runner.
        """
        self._is_stopping = True
        if self._claiming is not None:
            if not self._is_asking:
                self._claiming.cancel()
            await asyncio.wait([self._claiming])
        left = [waiter for waiter in self._waiting if not waiter.done()]
        self._waiting.clear()
        self._ring(len(left))
        for waiter in left:
            waiter.set_result(None)

    async def _claim_one(self, deadline: float) -> ActiveRun | None:
        if self._is_stopping:
            self._ring()
            return None
        waiter: asyncio.Future[ActiveRun | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        if self._claiming is None or self._claiming.done():
            self._claiming = asyncio.create_task(self._claim_while_tokens_wait(), name="token-claimer")
        try:
            async with asyncio.timeout_at(deadline):
                return await waiter
        except TimeoutError:
            return None  # the sweeper rings again when there is room

    async def _claim_while_tokens_wait(self) -> None:
        while self._waiting and not self._is_stopping:
            await self._runner.wait_for_slot()
            tokens = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._runner.claim_limit))]
            self._is_asking = True
            try:
                runs = await self._runner.start_next(len(tokens))
            except DATABASE_ERRORS as error:
                log.warning("queue.claim_failed", error=repr(error)[:300])
                self._waiting.extendleft(reversed(tokens))
            else:
                _hand_out(runs, tokens)
                continue
            finally:
                self._is_asking = False
            await asyncio.sleep(RETRY_SECONDS)


def _hand_out(runs: Sequence[ActiveRun], tokens: Sequence[asyncio.Future[ActiveRun | None]]) -> None:
    """Give a run to each of `tokens` that still waits, the most urgent first, and None to those without."""
    left = iter(runs)
    for token in tokens:
        if not token.done():  # done: its patience ended meanwhile, and its run goes on without it
            token.set_result(next(left, None))
