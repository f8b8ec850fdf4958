"""The one place where domains, queue adapters and hooks are connected; steps meet in `workbench.py`.

`main.py` (through `serving`) and `worker.py` (through `build_services` and `working`) call it, once per
process. Tests and benches build their own. To find who does what, grep a name here and land on its code.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from callboard.accounts.operator_keys import prepare_keys
from callboard.accounts.service import ApiKeyService
from callboard.core import migrations
from callboard.core.cache_table import DatabaseAnswerStore
from callboard.core.config import Settings
from callboard.core.database import Database
from callboard.core.errors import CallboardError
from callboard.core.garbage import let_short_lived_objects_die
from callboard.core.http_client import HttpClient
from callboard.core.notifications import NotificationListener
from callboard.core.process_limits import raise_open_file_limit
from callboard.core.security import KeyHasher
from callboard.core.telemetry import Telemetry
from callboard.jobs.budgets import BudgetDesk
from callboard.jobs.checkpoints import Journal
from callboard.jobs.endings import Endings
from callboard.jobs.finishes import Finishes
from callboard.jobs.leases import WorkerLease
from callboard.jobs.parking import WaitDesk
from callboard.jobs.queue_stats import DatabaseQueueStats
from callboard.jobs.repository.history import JobHistory
from callboard.jobs.repository.jobs import find_ended, read_wait_numbers
from callboard.jobs.repository.submissions import WORK_CHANNEL
from callboard.jobs.runner import JobRunner
from callboard.jobs.service import JobService
from callboard.jobs.spending import SpendingService
from callboard.jobs.spending_limits import DefaultLimits, SpendingLimits
from callboard.jobs.sweeper import Sweeper
from callboard.jobs.waits import WaitEstimator
from callboard.llm.client import LLMClient
from callboard.llm.pricing import ModelPrices
from callboard.queues.embedded import EmbeddedDoorbell
from callboard.system.service import HealthService
from callboard.workbench import Workbench, build_workbench, read_secret
from callboard.workflows.catalogue import WorkflowCatalogue
from callboard.workflows.dry_runs.requests import DryRuns
from callboard.workflows.engine import Engine
from callboard.workflows.service import BundleStore, WorkflowService
from callboard.workflows.steps.base import StepKind


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
    workbench: Workbench
    health: HealthService
    doorbell: EmbeddedDoorbell
    runner: JobRunner
    sweeper: Sweeper
    lease: WorkerLease
    journal: Journal
    desk: WaitDesk
    budgets: BudgetDesk
    spending: SpendingService
    finishes: Finishes

    @property
    def llm(self) -> LLMClient:
        return self.workbench.llm

    @property
    def prices(self) -> ModelPrices:
        return self.workbench.prices


@asynccontextmanager
async def serving(settings: Settings, *, extra_steps: Sequence[StepKind] = ()) -> AsyncIterator[Services]:
    """Give the services of an API process, with a worker inside unless EMBEDDED_WORKER says no."""
    async with build_services(settings, extra_steps=extra_steps) as services:
        if not settings.embedded_worker:
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
        settings.resolved_database_url, schema=settings.database_schema, pool_size=settings.database_pool_size
    )
    http = HttpClient()
    try:
        await prepare_database(database, settings)
        keys_service = ApiKeyService(database, KeyHasher(keys.secret_key), keys.operator_keys)
        services = _connect(settings, database, http, keys_service, extra_steps=extra_steps)
        yield services
        await services.jobs.close()
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
    await services.doorbell.start(services.runner.run_next)
    if listener is not None:
        await listener.start()
    try:
        yield
    finally:
        if listener is not None:
            await listener.stop()
        await services.doorbell.stop()
        await services.runner.stop(grace_seconds=settings.shutdown_grace_seconds)
        await services.sweeper.stop()
        await services.journal.close()
        await services.desk.close()
        await services.budgets.close()
        await services.finishes.close()
        await services.lease.stop()


async def prepare_database(database: Database, settings: Settings) -> None:
    """Bring the tables up to date; in production only look. Raises: SchemaBehindError."""
    if settings.environment != "production":
        await migrations.upgrade(database)
        return
    at, needed = await migrations.current(database), migrations.head()
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
    doorbell = EmbeddedDoorbell(poll_seconds=settings.poll_seconds)
    endings = Endings(lambda ids: find_ended(database, ids))
    lease = WorkerLease(database, lease_seconds=settings.lease_seconds, slots=settings.max_running_jobs)
    journal = Journal(database, max_output_bytes=settings.max_step_output_bytes, telemetry=telemetry, lease=lease)
    desk = WaitDesk(database, telemetry=telemetry, lease=lease)
    limits = SpendingLimits(database, DefaultLimits.of(settings))
    budgets = BudgetDesk(database, limits=limits, telemetry=telemetry, lease=lease)
    finishes = Finishes(database, telemetry=telemetry, lease=lease)
    runner = JobRunner(
        database,
        engine=Engine(max_output_bytes=settings.max_step_output_bytes),
        bundles=BundleStore(database, registry),
        journal=journal,
        desk=desk,
        budgets=budgets,
        finishes=finishes,
        endings=endings,
        lease=lease,
        telemetry=telemetry,
        secrets=read_secret,
        max_running=settings.max_running_jobs,
        ring=doorbell.ring,
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
            estimator=WaitEstimator(lambda: read_wait_numbers(database)),
            telemetry=telemetry,
            idempotency_hours=settings.idempotency_hours,
            abort_run=runner.cancel,
        ),
        workbench=workbench,
        health=HealthService(settings, database, queue_stats=DatabaseQueueStats(database), workflow_files=workflows),
        doorbell=doorbell,
        runner=runner,
        sweeper=Sweeper(
            database,
            runner=runner,
            lease=lease,
            limits=limits,
            lease_seconds=settings.lease_seconds,
            idempotency_hours=settings.idempotency_hours,
            ring=doorbell.ring,
        ),
        lease=lease,
        journal=journal,
        desk=desk,
        budgets=budgets,
        spending=SpendingService(database, limits=limits),
        finishes=finishes,
    )


def _listen(services: Services) -> NotificationListener | None:
    """Return what hears other processes ring, on PostgreSQL; on SQLite polling does."""
    database = services.database
    if not database.is_postgresql:
        return None

    def heard(payload: str) -> None:
        kind, _, job_id = payload.partition(" ")
        if kind == "cancel":
            services.runner.cancel(UUID(job_id))
        elif kind == "wake":
            services.runner.wake(UUID(job_id))
        else:
            services.doorbell.ring()

    return NotificationListener(database.url, channel=f"{WORK_CHANNEL}_{database.schema}", on_notify=heard)
