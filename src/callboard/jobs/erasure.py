"""Erasing what is kept of a user, because they asked for it. Called by `admin_router.py`.

What a worker runs for them is cancelled, and erased by a later call, when it has ended: the operation is repeated
until nothing is left. Money is kept, without the person.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog

from callboard.accounts.service import ApiKeyService
from callboard.core.database import Database
from callboard.jobs.housekeeping import BATCH_ROWS, REST_SECONDS, always
from callboard.jobs.repository.erasure import (
    Person,
    count_jobs,
    count_usage,
    erase_jobs,
    forget_in_budgets,
    forget_in_usage,
    list_running,
)
from callboard.jobs.repository.jobs import request_cancel
from callboard.jobs.status import JobStatus

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureReport:
    """What was done, or would be. `left` counts the jobs that are still there afterwards, by status.

    `cancelling` of them run and were asked to stop by this call; `usage_rows` lost the person, not their numbers.
    """

    jobs: int
    cancelling: int
    usage_rows: int
    api_keys: int
    left: Mapping[JobStatus, int]


class ErasureService:
    """Erases users. `abort_run` and `announce` tell this process's runner and waiters of a job that ends."""

    def __init__(
        self,
        database: Database,
        *,
        api_keys: ApiKeyService,
        abort_run: Callable[[UUID], None],
        announce: Callable[[UUID], None],
    ) -> None:
        self._database = database
        self._api_keys = api_keys
        self._abort_run = abort_run
        self._announce = announce

    async def erase(self, person: Person, *, goes_on: Callable[[], bool] = always) -> ErasureReport:
        """Erase what can be erased now, and say what is left. The user's keys are revoked first."""
        usage_before = await count_usage(self._database, person)
        api_keys = await self._api_keys.revoke_of_user(person.user_id, tenant_id=person.tenant_id)
        cancelling = await self._cancel_running(person, goes_on)
        jobs = await self._erase_idle(person, goes_on)
        await self._forget_in_usage(person, goes_on)
        await forget_in_budgets(self._database, person)
        report = ErasureReport(
            jobs=jobs,
            cancelling=cancelling,
            usage_rows=max(0, usage_before - await count_usage(self._database, person)),
            api_keys=api_keys,
            left=await count_jobs(self._database, person),
        )
        log.info(  # not of whom: what is erased is not to live on in a log
            "user.erased", tenant_id=person.tenant_id, jobs=jobs, cancelling=cancelling, left=sum(report.left.values())
        )
        return report

    async def preview(self, person: Person) -> ErasureReport:
        """Return what `erase` would do now."""
        by_status = await count_jobs(self._database, person)
        running = by_status.get(JobStatus.PROCESSING, 0)
        return ErasureReport(
            jobs=sum(by_status.values()) - running,
            cancelling=running,
            usage_rows=await count_usage(self._database, person),
            api_keys=await self._api_keys.count_of_user(person.user_id, tenant_id=person.tenant_id),
            left=by_status,
        )

    async def _cancel_running(self, person: Person, goes_on: Callable[[], bool]) -> int:
        """Ask every worker that runs something for this user to stop; return how many runs that is."""
        cancelling = 0
        last: UUID | None = None
        while goes_on():
            ids = await list_running(self._database, person, after=last, limit=BATCH_ROWS)
            if not ids:
                break
            for job_id, status in (await request_cancel(self._database, ids)).items():
                if status is JobStatus.PROCESSING:
                    cancelling += 1
                    self._abort_run(job_id)
            last = ids[-1]
        return cancelling

    async def _erase_idle(self, person: Person, goes_on: Callable[[], bool]) -> int:
        erased = 0
        while goes_on():
            ids = await erase_jobs(self._database, person, limit=BATCH_ROWS)
            if not ids:
                break
            erased += len(ids)
            for job_id in ids:
                self._announce(job_id)
            await asyncio.sleep(REST_SECONDS)
        return erased

    async def _forget_in_usage(self, person: Person, goes_on: Callable[[], bool]) -> None:
        while goes_on():
            if not await forget_in_usage(self._database, person, limit=BATCH_ROWS):
                break
            await asyncio.sleep(REST_SECONDS)
