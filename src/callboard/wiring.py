"""The one place where domains, queue adapters and hooks are connected; steps meet in `workbench.py`.

`main.py` (through `serving`) and `worker.py` (through `build_services` and `working`) call it, once per
process. Tests and benches build their own. To find who does what, grep a name here and land on its code.
"""

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from callboard.accounts.operator_keys import prepare_keys
from callboard.accounts.service import ApiKeyService
from callboard.core import migrations
from callboard.core.cache_table import DatabaseAnswerStore
from callboard.core.clock import now
from callboard.core.config import Settings
from callboard.core.database import Database
from callboard.core.errors import CallboardError
from callboard.core.garbage import let_short_lived_objects_die
from callboard.core.http_client import HttpClient
from callboard.core.ids import WorkerId
from callboard.core.notifications import NotificationListener
from callboard.core.process_limits import raise_open_file_limit
from callboard.core.security import KeyHasher
from callboard.core.telemetry import Telemetry
from callboard.jobs.approvals import ApprovalService
from callboard.jobs.budgets import BudgetDesk
from callboard.jobs.checkpoints import Journal
from callboard.jobs.endings import Endings
from callboard.jobs.erasure import ErasureService
from callboard.jobs.finishes import Finishes
from callboard.jobs.housekeeping import HousekeepingService
from callboard.jobs.leases import WorkerLease
from callboard.jobs.overview import OverviewService
from callboard.jobs.parking import WaitDesk
from callboard.jobs.queue_stats import DatabaseQueueStats
from callboard.jobs.repository.history import JobHistory
from callboard.jobs.repository.jobs import find_ended, read_wait_numbers
from callboard.jobs.repository.submissions import WORK_CHANNEL
from callboard.jobs.reruns import RerunService
from callboard.jobs.rousing import Rousing
from callboard.jobs.runner import JobRunner
from callboard.jobs.running_limits import RunningLimits
from callboard.jobs.service import JobService
from callboard.jobs.signals import SignalService
from callboard.jobs.spending import SpendingService
from callboard.jobs.spending_limits import DefaultLimits, SpendingLimits
from callboard.jobs.suspects import SuspectChildren, run_suspects, start_suspect_worker
from callboard.jobs.sweeper import Sweeper
from callboard.jobs.tokens import TokenClaimer
from callboard.jobs.waits import WaitEstimator
from callboard.llm.client import LLMClient
from callboard.llm.pricing import ModelPrices
from callboard.queues.arq import ArqOutlet
from callboard.queues.celery import CeleryOutlet
from callboard.queues.embedded import EmbeddedDoorbell
from callboard.queues.port import Doorbell, TaskResult, TokenTasks
from callboard.queues.publisher import TokenPublisher
from callboard.system.service import HealthService
from callboard.workbench import Workbench, build_workbench, read_secret
from callboard.workflows.catalogue import WorkflowCatalogue
from callboard.workflows.dry_runs.requests import DryRuns
from callboard.workflows.engine import Engine
from callboard.workflows.service import BundleStore, WorkflowService
from callboard.workflows.steps.base import StepKind

log = structlog.get_logger(__name__)

PERIODIC_TASKS = {"sweep": 30.0, "cleanup_stale_jobs": 3600.0}  # seconds between two runs, by the clock of beat or ARQ


class SchemaBehindError(CallboardError):
    """The database has not the tables that this version needs; run `callboard db upgrade`."""

    code = "schema_behind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What one process works with."""

    settings: Settings
    database: Database
    telemetry: Telemetry
    api_keys: ApiKeyService
    catalogue: WorkflowService
    jobs: JobService
    approvals: ApprovalService
    signals: SignalService
    reruns: RerunService
    housekeeping: HousekeepingService
    erasures: ErasureService
    overview: OverviewService
    workbench: Workbench
    health: HealthService
    doorbell: Doorbell
    embedded: EmbeddedDoorbell | None  # None: tokens of a broker claim
    tokens: TokenClaimer
    runner: JobRunner
    sweeper: Sweeper
    suspects: SuspectChildren
    lease: WorkerLease
    journal: Journal
    desk: WaitDesk
    budgets: BudgetDesk
    spending: SpendingService
    spending_limits: SpendingLimits
    finishes: Finishes

    @property
    def llm(self) -> LLMClient:
        return self.workbench.llm

    @property
    def prices(self) -> ModelPrices:
        return self.workbench.prices


@asynccontextmanager
async def serving(settings: Settings, *, extra_steps: Sequence[StepKind] = ()) -> AsyncIterator[Services]:
    """Give the services of an API process, with a worker inside unless EMBEDDED_WORKER or QUEUE_BACKEND say no."""
    async with build_services(settings, extra_steps=extra_steps) as services:
        if not settings.runs_jobs_in_server:
            yield services
            return
        async with working(services):
            yield services


@asynccontextmanager
async def build_services(settings: Settings, *, extra_steps: Sequence[StepKind] = ()) -> AsyncIterator[Services]:
    """Give everything connected, with nothing running yet, and close it at the end.

    `extra_steps` are step kinds beside our own: benches and tests bring theirs.

    Raises: MissingKeysError, SchemaBehindError: this process may not start.
    """
    raise_open_file_limit()
    keys = prepare_keys(settings)
    database = Database(
        settings.resolved_database_url,
        schema=settings.database_schema,
        pool_size=settings.database_pool_size,
        is_behind_pooler=settings.is_behind_pooler,
    )
    http = HttpClient()
    try:
        await prepare_database(database, settings)
        keys_service = ApiKeyService(database, KeyHasher(keys.secret_key), keys.operator_keys)
        services = _connect(settings, database, http, keys_service, extra_steps=extra_steps)
        yield services
        await services.jobs.close()
        await services.doorbell.close()
        services.catalogue.dry_runs.close()
        await services.workbench.close()
        await services.api_keys.close()
    finally:
        await http.close()
        await database.close()


@asynccontextmanager
async def working(services: Services) -> AsyncIterator[None]:
    """Run jobs while the block lasts; then stop in good order and hand back what is not done."""
    settings = services.settings
    let_short_lived_objects_die()
    listener = _listen(services)
    await services.lease.register()
    await services.sweeper.start()
    await services.suspects.start()
    if services.embedded is not None:
        await services.embedded.start(services.runner.run_next)
    if listener is not None:
        await listener.start()
    try:
        yield
    finally:
        if listener is not None:
            await listener.stop()
        if services.embedded is not None:
            await services.embedded.stop()
        await services.tokens.stop()
        await asyncio.gather(
            services.runner.stop(grace_seconds=settings.shutdown_grace_seconds), services.suspects.stop()
        )
        await services.sweeper.stop()
        await services.journal.close()
        await services.desk.close()
        await services.budgets.close()
        await services.finishes.close()
        await services.lease.stop()


async def running_suspects(services: Services, worker_id: WorkerId, stop: asyncio.Event) -> None:
    """Run suspects as the worker `worker_id`, one at a time, until there is none or `stop` is set."""
    await services.lease.register(worker_id)
    await services.spending_limits.refresh()  # once: it lives as long as its suspects
    try:
        await run_suspects(services.database, runner=services.runner, lease=services.lease, stop=stop)
    finally:
        await services.runner.stop(grace_seconds=services.settings.shutdown_grace_seconds)
        await services.journal.close()
        await services.desk.close()
        await services.budgets.close()
        await services.finishes.close()
        await services.lease.stop()


@asynccontextmanager
async def token_worker(settings: Settings, slots: int) -> AsyncIterator[TokenTasks]:
    """Give what the tasks of a broker's worker call, in a process that holds `slots` runs at once."""
    settings = settings.model_copy(update={"max_running_jobs": slots})
    async with build_services(settings) as services, working(services):
        yield TokenTasks(take=services.tokens.take, periodic=_periodic_tasks(services))


def _periodic_tasks(services: Services) -> Mapping[str, Callable[[], Coroutine[Any, Any, TaskResult]]]:
    """Return what the clock of a broker sets off, by the names of `PERIODIC_TASKS`."""

    async def sweep() -> TaskResult:
        return {"rung": await services.sweeper.ring_for_unclaimed()}

    async def cleanup_stale_jobs() -> TaskResult:
        hours = services.settings.stale_after_hours
        if not hours:
            return {"status": "off"}
        report = await services.housekeeping.clean_up_stale(timedelta(hours=hours))
        return {"failed": {str(status): count for status, count in report.by_status.items()}}

    return {"sweep": sweep, "cleanup_stale_jobs": cleanup_stale_jobs}


async def prepare_database(database: Database, settings: Settings) -> None:
    """Bring the tables up to date; in production only look. Raises: SchemaBehindError.

    Tables of a later version are left as they are: for one release they serve this one, too, so that processes of
    both versions run side by side while they are being replaced.
    """
    at, needed = await migrations.current(database), migrations.head()
    if at is not None and not migrations.knows(at):
        log.warning("database.of_later_version", at=at, needed=needed)
        return
    if settings.environment != "production":
        await migrations.upgrade(database)
        return
    if at != needed:
        raise SchemaBehindError(
            f"The database is at revision {at or 'none'} and this version needs {needed}. "
            "Run `callboard db upgrade` (with a backup at hand), then start again."
        )


def _connect(
    settings: Settings,
    database: Database,
    http: HttpClient,
    api_keys: ApiKeyService,
    *,
    extra_steps: Sequence[StepKind],
) -> Services:
    workbench = build_workbench(settings, http, extra_steps=extra_steps, answer_store=DatabaseAnswerStore(database))
    telemetry, registry = workbench.telemetry, workbench.registry
    catalogue = WorkflowCatalogue(settings.workflows_dir, workbench.reader)
    dry_runs = DryRuns(
        workbench.reader,
        registry,
        defaults_for=workbench.defaults_for,
        prices=workbench.call_prices,
        history=JobHistory(database),
    )
    workflows = WorkflowService(
        catalogue,
        registry,
        defaults_for=workbench.defaults_for,
        file_schema=workbench.file_schema,
        dry_runs=dry_runs,
    )
    embedded = EmbeddedDoorbell(poll_seconds=settings.poll_seconds) if settings.queue_backend == "embedded" else None
    doorbell = embedded or _token_doorbell(settings)
    endings = Endings(lambda ids: find_ended(database, ids))
    lease = WorkerLease(database, lease_seconds=settings.lease_seconds, slots=settings.max_running_jobs)
    journal = Journal(database, max_output_bytes=settings.max_step_output_bytes, telemetry=telemetry, lease=lease)
    desk = WaitDesk(database, telemetry=telemetry, lease=lease)
    spending_limits = SpendingLimits(database, DefaultLimits.of(settings))
    budgets = BudgetDesk(database, limits=spending_limits, telemetry=telemetry, lease=lease)
    finishes = Finishes(database, telemetry=telemetry, lease=lease)
    bundles = BundleStore(database, registry)
    limits = RunningLimits(
        per_user=settings.max_running_jobs_per_user,
        per_workflow=settings.max_running_jobs_per_workflow,
        per_tenant=settings.max_running_jobs_per_tenant,
    )
    runner = JobRunner(
        database,
        engine=Engine(max_output_bytes=settings.max_step_output_bytes),
        bundles=bundles,
        journal=journal,
        desk=desk,
        budgets=budgets,
        finishes=finishes,
        endings=endings,
        lease=lease,
        telemetry=telemetry,
        secrets=read_secret,
        max_running=settings.max_running_jobs,
        limits=limits,
        ring=doorbell.ring,
        on_slot_free=doorbell.slot_freed,
    )
    estimator = WaitEstimator(lambda: read_wait_numbers(database, limits), limits=limits)
    rousing = Rousing(doorbell, wake_run=runner.wake)

    def keys_valid_since() -> datetime:
        return now() - timedelta(hours=settings.idempotency_hours)

    housekeeping = HousekeepingService(
        database,
        stale_after_hours=settings.stale_after_hours,
        retention_days=settings.retention_days,
        abort_run=runner.cancel,
        announce=endings.announce,
    )
    return Services(
        settings=settings,
        database=database,
        telemetry=telemetry,
        api_keys=api_keys,
        catalogue=workflows,
        jobs=JobService(
            database,
            workflows=workflows,
            doorbell=doorbell,
            endings=endings,
            estimator=estimator,
            telemetry=telemetry,
            keys_valid_since=keys_valid_since,
            abort_run=runner.cancel,
        ),
        approvals=ApprovalService(database, rousing),
        signals=SignalService(database, rousing, keys_valid_since=keys_valid_since),
        reruns=RerunService(
            database,
            workflows=workflows,
            bundles=bundles,
            estimator=estimator,
            rousing=rousing,
            keys_valid_since=keys_valid_since,
        ),
        housekeeping=housekeeping,
        erasures=ErasureService(database, api_keys=api_keys, abort_run=runner.cancel, announce=endings.announce),
        overview=OverviewService(database),
        workbench=workbench,
        health=HealthService(settings, database, queue_stats=DatabaseQueueStats(database), workflow_files=workflows),
        doorbell=doorbell,
        embedded=embedded,
        tokens=TokenClaimer(runner, ring=doorbell.ring),
        runner=runner,
        sweeper=Sweeper(
            database,
            runner=runner,
            lease=lease,
            limits=spending_limits,
            lease_seconds=settings.lease_seconds,
            idempotency_hours=settings.idempotency_hours,
            housekeeping=housekeeping,
            ring=doorbell.ring,
        ),
        suspects=SuspectChildren(
            database,
            runner=runner,
            start_child=lambda worker_id: start_suspect_worker(worker_id, pickle.dumps((settings, tuple(extra_steps)))),
            grace_seconds=settings.shutdown_grace_seconds,
        ),
        lease=lease,
        journal=journal,
        desk=desk,
        budgets=budgets,
        spending_limits=spending_limits,
        spending=SpendingService(database, limits=spending_limits),
        finishes=finishes,
    )


def _token_doorbell(settings: Settings) -> Doorbell:
    """Return what rings through a broker. Raises: MissingExtraError."""
    return TokenPublisher(CeleryOutlet(settings) if settings.queue_backend == "celery" else ArqOutlet(settings))


def _listen(services: Services) -> NotificationListener | None:
    """Return what hears other processes, on PostgreSQL; on SQLite and behind a pooler polling does.

    Where tokens claim it hears of cancels and news alone, and not of work.
    """
    database = services.database
    if not database.can_listen:
        return None

    def heard(payload: str) -> None:
        kind, _, job_id = payload.partition(" ")
        if kind == "cancel":
            services.runner.cancel(UUID(job_id))
        elif kind == "wake":
            services.runner.wake(UUID(job_id))
        elif services.embedded is not None:
            services.embedded.ring()

    return NotificationListener(database.url, channel=f"{WORK_CHANNEL}_{database.schema}", on_notify=heard)
