"""The tables of jobs. `llm_workflow_jobs` keeps the names that document B's deployments know.

Hot paths (claim, journal, finish, submit) write them with Core statements in their own modules; everything
else goes through `jobs/repository.py`.
"""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from callboard.core.database import Base, JsonText, Money, UtcDateTime
from callboard.core.ids import DEFAULT_TENANT


class Job(Base):
    """One run of one workflow: the queue of record and what callers see."""

    __tablename__ = "llm_workflow_jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.String(100), default=DEFAULT_TENANT)
    celery_task_id: Mapped[str] = mapped_column(sa.String(255), unique=True)  # correlation id, whatever the queue
    workflow_name: Mapped[str] = mapped_column(sa.String(100))
    workflow_version: Mapped[str] = mapped_column(sa.String(50))
    definition_hash: Mapped[str] = mapped_column(sa.String(64))
    priority: Mapped[int] = mapped_column(sa.Integer, default=0)
    webhook_url: Mapped[str | None] = mapped_column(sa.Text)
    webhook_secret: Mapped[str | None] = mapped_column(sa.String(255))
    user_id: Mapped[str | None] = mapped_column(sa.String(255))
    run_name: Mapped[str | None] = mapped_column(sa.String(255))
    username: Mapped[str | None] = mapped_column(sa.String(255))
    action: Mapped[str | None] = mapped_column(sa.String(255))
    job_metadata: Mapped[str | None] = mapped_column("metadata", JsonText)
    related_entity_type: Mapped[str | None] = mapped_column(sa.String(100))
    related_entity_id: Mapped[str | None] = mapped_column(sa.String(255))
    debug_mode: Mapped[bool] = mapped_column(default=False)
    forked_from: Mapped[UUID | None]

    status: Mapped[str] = mapped_column(sa.String(50))
    input_data: Mapped[str] = mapped_column(JsonText, deferred=True)  # large, and no answer shows it
    result_data: Mapped[str | None] = mapped_column(JsonText)
    error_message: Mapped[str | None] = mapped_column(sa.Text)
    error: Mapped[str | None] = mapped_column(JsonText)

    owner: Mapped[UUID | None]  # the worker that holds it
    fence: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # grows with every claim and take-over
    attempt: Mapped[int] = mapped_column(sa.Integer, default=1)  # retries that a user asked for
    retry_count: Mapped[int] = mapped_column(sa.Integer, default=0)  # take-overs without progress
    max_retries: Mapped[int] = mapped_column(sa.Integer, default=3)
    journal_rows_at_takeover: Mapped[int] = mapped_column(sa.Integer, default=0)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    active_ms: Mapped[int] = mapped_column(sa.BigInteger, default=0)  # held by workers before the present claim
    timeout_seconds: Mapped[int] = mapped_column(sa.Integer, default=600)
    wake_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    current_step: Mapped[str | None] = mapped_column(sa.String(50))
    steps_completed: Mapped[int] = mapped_column(sa.Integer, default=0)
    total_steps: Mapped[int] = mapped_column(sa.Integer)
    last_event_id: Mapped[int] = mapped_column(sa.Integer, default=0)

    budget_usd: Mapped[Decimal | None] = mapped_column(Money)
    cost_usd: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    unconfirmed_usd: Mapped[Decimal] = mapped_column(Money, default=Decimal(0), server_default="0")
    input_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    output_tokens: Mapped[int] = mapped_column(sa.BigInteger, default=0)

    queued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int | None] = mapped_column(sa.BigInteger)
    is_stale: Mapped[bool] = mapped_column(default=False)
    stale_reason: Mapped[str | None] = mapped_column(sa.String(100))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        sa.CheckConstraint("priority BETWEEN 0 AND 10", name="priority"),
        sa.CheckConstraint(
            "status IN ('pending','queued','processing','waiting','completed','failed','cancelled')", name="status"
        ),
        # what the claimer reads: ready jobs, most urgent first, then oldest (ids are UUIDv7)
        sa.Index(
            "idx_workflow_jobs_ready",
            sa.text("priority DESC"),
            "id",
            postgresql_where=sa.text("status = 'queued'"),
            sqlite_where=sa.text("status = 'queued'"),
        ),
        sa.Index(  # the same by lane, for claims under limits: see repository/lanes.py
            "idx_workflow_jobs_lanes",
            "tenant_id",
            sa.text("coalesce(user_id, '')"),
            "workflow_name",
            sa.text("priority DESC"),
            "id",
            postgresql_where=sa.text("status = 'queued'"),
            sqlite_where=sa.text("status = 'queued'"),
        ),
        sa.Index(  # those that run alone: see repository/readiness.py
            "idx_workflow_jobs_suspects",
            sa.text("priority DESC"),
            "id",
            postgresql_where=sa.text("status = 'queued' AND retry_count >= 2"),
            sqlite_where=sa.text("status = 'queued' AND retry_count >= 2"),
        ),
        sa.Index(
            "idx_workflow_jobs_owner",
            "owner",
            postgresql_where=sa.text("owner IS NOT NULL"),
            sqlite_where=sa.text("owner IS NOT NULL"),
        ),
        sa.Index(  # what a worker looks at three times a second
            "idx_workflow_jobs_cancel",
            "owner",
            postgresql_where=sa.text("cancel_requested_at IS NOT NULL"),
            sqlite_where=sa.text("cancel_requested_at IS NOT NULL"),
        ),
        sa.Index(  # timers that are due
            "idx_workflow_jobs_wake",
            "wake_at",
            postgresql_where=sa.text("status = 'waiting' AND wake_at IS NOT NULL"),
            sqlite_where=sa.text("status = 'waiting' AND wake_at IS NOT NULL"),
        ),
        sa.Index("idx_workflow_jobs_status", "status"),
        sa.Index("idx_workflow_jobs_user_id", "tenant_id", "user_id", "id"),
        sa.Index("idx_workflow_jobs_workflow_name", "tenant_id", "workflow_name", "id"),
        sa.Index("idx_workflow_jobs_created_at", "created_at"),
        sa.Index("idx_workflow_jobs_definition_hash", "definition_hash"),  # is a bundle still named by a job?
        sa.Index(  # what retention deletes, oldest first, and how long the last ones took
            "idx_workflow_jobs_completed_at",
            "completed_at",
            postgresql_where=sa.text("completed_at IS NOT NULL"),
            sqlite_where=sa.text("completed_at IS NOT NULL"),
        ),
        sa.Index(
            "idx_workflow_jobs_related",
            "tenant_id",
            "related_entity_id",
            "id",
            postgresql_where=sa.text("related_entity_id IS NOT NULL"),
            sqlite_where=sa.text("related_entity_id IS NOT NULL"),
        ),
        sa.Index(
            "idx_workflow_jobs_stale",
            "is_stale",
            postgresql_where=sa.text("is_stale"),
            sqlite_where=sa.text("is_stale"),
        ),
        # Room on each page for the next version of its rows: they change with every step, and a version on the
        # same page touches none of the indexes (695 -> 951 runs/s, bench/run_rate.py).
        {"postgresql_with": {"fillfactor": 50}},
    )


class JobStep(Base):
    """The journal: a row per step instance that ended, and per finished paid call inside it (`path#n`)."""

    __tablename__ = "llm_job_steps"

    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("llm_workflow_jobs.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(sa.Text, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.String(100))
    fence: Mapped[int] = mapped_column(sa.BigInteger)
    step_id: Mapped[str] = mapped_column(sa.String(50))
    step_type: Mapped[str] = mapped_column(sa.String(50))
    status: Mapped[str] = mapped_column(sa.String(20))
    output: Mapped[str | None] = mapped_column(JsonText)
    large_output_bytes: Mapped[int | None] = mapped_column(sa.BigInteger)  # set: the output is a `JobOutput`
    choice: Mapped[str | None] = mapped_column(sa.String(100))
    error: Mapped[str | None] = mapped_column(JsonText)
    attempts: Mapped[int] = mapped_column(sa.Integer)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    duration_ms: Mapped[int] = mapped_column(sa.BigInteger)


class JobWait(Base):
    """What a step of a job waits for: people, a signal, a time. One row per step instance and attempt of the job.

    Rows are written and resolved under their job's row lock, so that a job is never parked past what it waits for.
    """

    __tablename__ = "job_waits"

    id: Mapped[UUID] = mapped_column(primary_key=True)  # an approval's id
    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("llm_workflow_jobs.id", ondelete="CASCADE"))
    tenant_id: Mapped[str] = mapped_column(sa.String(100))
    path: Mapped[str] = mapped_column(sa.Text)
    step_id: Mapped[str] = mapped_column(sa.String(50))
    kind: Mapped[str] = mapped_column(sa.String(20))
    attempt: Mapped[int] = mapped_column(sa.Integer)  # of the job, when the step began to wait
    status: Mapped[str] = mapped_column(sa.String(20))
    name: Mapped[str | None] = mapped_column(sa.String(100))  # of the signal
    title: Mapped[str | None] = mapped_column(sa.Text)
    instructions: Mapped[str | None] = mapped_column(sa.Text)
    form_schema: Mapped[str | None] = mapped_column(JsonText)
    required_answers: Mapped[int] = mapped_column(sa.Integer, default=1)
    tries: Mapped[int] = mapped_column(sa.Integer, default=0)  # of the step, before this back-off
    payload: Mapped[str | None] = mapped_column(JsonText)  # of the signal that ended it
    wake_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when its time is up
    opened_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    taken_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # when a run was told how it ended

    __table_args__ = (
        sa.UniqueConstraint("job_id", "path", "attempt"),
        sa.CheckConstraint("kind IN ('approval','event','timer','back_off')", name="kind"),
        sa.CheckConstraint("status IN ('open','answered','timed_out','closed')", name="status"),
        sa.Index(  # the inbox
            "ix_job_waits_inbox",
            "tenant_id",
            "id",
            postgresql_where=sa.text("status = 'open' AND kind = 'approval'"),
            sqlite_where=sa.text("status = 'open' AND kind = 'approval'"),
        ),
        sa.Index(  # what is left to close when a job ends
            "ix_job_waits_open",
            "job_id",
            postgresql_where=sa.text("status = 'open'"),
            sqlite_where=sa.text("status = 'open'"),
        ),
    )


class JobAnswer(Base):
    """One person's answer to an approval. The key lets each answer once."""

    __tablename__ = "job_answers"

    wait_id: Mapped[UUID] = mapped_column(sa.ForeignKey("job_waits.id", ondelete="CASCADE"), primary_key=True)
    answered_by: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    number: Mapped[int] = mapped_column(sa.Integer)  # in the order in which they came, from 1
    answer: Mapped[str] = mapped_column(JsonText)
    answered_at: Mapped[datetime] = mapped_column(UtcDateTime)


class JobSignal(Base):
    """A signal to a job, kept until a step that waits for its name takes it: first come, first taken."""

    __tablename__ = "job_signals"

    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("llm_workflow_jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(sa.Integer, primary_key=True)  # given under the job's row lock, from 1
    name: Mapped[str] = mapped_column(sa.String(100))
    payload: Mapped[str] = mapped_column(JsonText)
    sent_by: Mapped[str] = mapped_column(sa.String(255))
    sent_at: Mapped[datetime] = mapped_column(UtcDateTime)
    taken_by: Mapped[UUID | None]  # the wait that it ended
    taken_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class JobOutput(Base):
    """An output that is too large for its journal row. It goes when that row goes, so none outlives its step."""

    __tablename__ = "llm_job_outputs"

    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(sa.Text, primary_key=True)
    tenant_id: Mapped[str] = mapped_column(sa.String(100))
    encoding: Mapped[str] = mapped_column(sa.String(20))
    body: Mapped[bytes] = mapped_column(sa.LargeBinary)
    size_bytes: Mapped[int] = mapped_column(sa.BigInteger)  # before it was compressed
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        sa.ForeignKeyConstraint(["job_id", "path"], ["llm_job_steps.job_id", "llm_job_steps.path"], ondelete="CASCADE"),
    )


class JobEvent(Base):
    """What a stream of a job shows. Ids are whole numbers per job, given under the job's row lock."""

    __tablename__ = "job_events"

    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("llm_workflow_jobs.id", ondelete="CASCADE"), primary_key=True)
    event_id: Mapped[int] = mapped_column(sa.Integer, primary_key=True)
    event: Mapped[str] = mapped_column(sa.String(50))
    data: Mapped[str] = mapped_column(JsonText)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Worker(Base):
    """One worker process. Its jobs are its own while `lease_until` lies ahead and `dead_at` is not set."""

    __tablename__ = "workers"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(sa.String(255))
    boot_id: Mapped[str] = mapped_column(sa.String(100))
    pid_namespace: Mapped[str] = mapped_column(sa.String(100))
    pid: Mapped[int] = mapped_column(sa.Integer)
    process_started_at: Mapped[str] = mapped_column(sa.String(50))  # as the system gives it: pids are used again
    slots: Mapped[int] = mapped_column(sa.Integer)  # runs that it can hold in flight
    lease_until: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    dead_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        sa.Index(
            "ix_workers_alive",
            "lease_until",
            postgresql_where=sa.text("dead_at IS NULL AND stopped_at IS NULL"),
            sqlite_where=sa.text("dead_at IS NULL AND stopped_at IS NULL"),
        ),
    )


class BudgetAccount(Base):
    """What counts towards one budget: of a job, or of a user or a tenant in a day or a month (UTC).

    Locked in the order of the keys, after the rows of jobs.
    """

    __tablename__ = "budget_accounts"

    key: Mapped[str] = mapped_column(sa.Text, primary_key=True)  # `Account.key`: the four below
    scope: Mapped[str] = mapped_column(sa.String(20))
    tenant_id: Mapped[str] = mapped_column(sa.String(100))
    subject: Mapped[str] = mapped_column(sa.String(255))
    period: Mapped[str] = mapped_column(sa.String(10))
    job_id: Mapped[UUID | None] = mapped_column(sa.ForeignKey("llm_workflow_jobs.id", ondelete="CASCADE"))
    spent_usd: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    reserved_usd: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    unconfirmed_usd: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        sa.Index("ix_budget_accounts_listed", "tenant_id", "scope", "period", "subject"),
        sa.Index(
            "ix_budget_accounts_job_id",
            "job_id",
            postgresql_where=sa.text("job_id IS NOT NULL"),
            sqlite_where=sa.text("job_id IS NOT NULL"),
        ),
    )


class BudgetReservation(Base):
    """What a call can cost at most, taken from its accounts before it is made; deleted when it is settled.

    One that is `unconfirmed` stays: the call may have been paid, and who paid it may still tell.
    """

    __tablename__ = "budget_reservations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(sa.ForeignKey("llm_workflow_jobs.id", ondelete="CASCADE"), index=True)
    path: Mapped[str] = mapped_column(sa.Text)
    call: Mapped[int] = mapped_column(sa.Integer)
    fence: Mapped[int] = mapped_column(sa.BigInteger)
    state: Mapped[str] = mapped_column(sa.String(20))
    amount_usd: Mapped[Decimal] = mapped_column(Money)
    accounts: Mapped[str] = mapped_column(JsonText)  # the keys that it counts in
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (sa.CheckConstraint("state IN ('open','unconfirmed')", name="state"),)


class SpendingLimit(Base):
    """What a user or a tenant may spend in a day or a month, before what the settings say.

    `user_id` is "" for the tenant itself (a key has no nulls); `limit_usd` NULL lifts the settings' limit.
    """

    __tablename__ = "spending_limits"

    tenant_id: Mapped[str] = mapped_column(sa.String(100), primary_key=True)
    user_id: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    period: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    limit_usd: Mapped[Decimal | None] = mapped_column(Money)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (sa.CheckConstraint("period IN ('day','month')", name="period"),)
