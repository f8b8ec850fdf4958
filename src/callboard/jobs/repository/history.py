"""What earlier runs of a workflow tell about the next one: the `History` of dry runs, from journal and usage rows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from callboard.core.database import Database, ReadSession
from callboard.core.json_values import JsonValue, loads
from callboard.jobs.models import Job, JobStep
from callboard.jobs.status import JobStatus
from callboard.llm.models import ProviderUsage
from callboard.workflows.dry_runs.history import RUNS_READ, PastRuns, PastStep, Seen
from callboard.workflows.steps.base import CHOICE_SUFFIX, StepOutcome

LLM_SERVICE = "llm"
MAX_SAMPLE_CHARS = 50_000  # a longer output tells no more about the next one than its length does

_IS_CHOICE = JobStep.path.endswith(CHOICE_SUFFIX, autoescape=True)
_IS_INSTANCE = sa.and_(~_IS_CHOICE, ~JobStep.path.contains("#"))
# bytes of what is kept apart: more than characters, and of no use as a sample either way
_OUTPUT_CHARS = sa.func.coalesce(JobStep.large_output_bytes, sa.func.length(sa.cast(JobStep.output, sa.Text)))


class JobHistory:
    """The `History` of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, workflow_name: str, *, tenant_id: str) -> PastRuns | None:
        """Return the last `RUNS_READ` completed runs of this tenant's workflow, or None where there are none."""
        async with self._database.reads() as session:
            durations = await _last_runs(session, workflow_name, tenant_id)
            if not durations:
                return None
            ids = list(durations)
            gathered: dict[str, _Gathered] = defaultdict(_Gathered)
            await _gather_instances(session, ids, gathered)
            await _gather_usage(session, ids, gathered)
            await _gather_choices(session, ids, gathered)
            samples = await _read_samples(session, ids[0])
        duration = Seen.of([duration for duration in durations.values() if duration is not None])
        return PastRuns(
            runs=len(ids),
            duration_ms=duration or Seen(0, 0, 0),
            steps={step_id: each.as_step(samples.get(step_id)) for step_id, each in gathered.items() if each.instances},
        )


@dataclass(slots=True)
class _Gathered:
    """What was found of one step: an entry per run, but for the sums."""

    instances: list[float] = field(default_factory=list)
    all_instances: int = 0
    ran: dict[UUID, int] = field(default_factory=dict)
    chars: list[float] = field(default_factory=list)
    most_chars: float = 0
    duration_ms: list[float] = field(default_factory=list)
    most_ms: float = 0
    calls: list[float] = field(default_factory=list)
    input_tokens: list[float] = field(default_factory=list)
    output_tokens: list[float] = field(default_factory=list)
    cost_usd: Decimal = Decimal(0)
    choices: dict[str, int] = field(default_factory=dict)

    def as_step(self, sample: JsonValue) -> PastStep:
        ran = sum(self.ran.values())
        instances = Seen.of(self.instances)
        assert instances is not None
        return PastStep(
            instances=instances,
            ran_share=ran / self.all_instances,
            output_chars=_with_most(Seen.of(self.chars), self.most_chars),
            duration_ms=_with_most(Seen.of(self.duration_ms), self.most_ms),
            calls=Seen.of(self.calls),
            input_tokens=Seen.of(self.input_tokens),
            output_tokens=Seen.of(self.output_tokens),
            cost_usd=self.cost_usd / ran if ran else None,
            choices=self.choices,
            sample=sample,
        )


async def _last_runs(session: ReadSession, workflow_name: str, tenant_id: str) -> dict[UUID, int | None]:
    query = (
        sa.select(Job.id, Job.duration_ms)
        .where(Job.tenant_id == tenant_id, Job.workflow_name == workflow_name, Job.status == JobStatus.COMPLETED)
        .order_by(Job.id.desc())
        .limit(RUNS_READ)
    )
    return {row.id: row.duration_ms for row in await session.execute(query)}


async def _gather_instances(session: ReadSession, ids: Sequence[UUID], gathered: Mapping[str, _Gathered]) -> None:
    has_run = JobStep.status != StepOutcome.SKIPPED
    chars, duration = sa.case((has_run, _OUTPUT_CHARS)), sa.case((has_run, JobStep.duration_ms))
    query = (
        sa.select(
            JobStep.job_id,
            JobStep.step_id,
            sa.func.count().label("instances"),
            sa.func.sum(sa.case((has_run, 1), else_=0)).label("ran"),
            sa.func.avg(chars).label("chars"),
            sa.func.max(chars).label("most_chars"),
            sa.func.avg(duration).label("ms"),
            sa.func.max(duration).label("most_ms"),
        )
        .where(JobStep.job_id.in_(ids), _IS_INSTANCE)
        .group_by(JobStep.job_id, JobStep.step_id)
    )
    for row in await session.execute(query):
        step = gathered[row.step_id]
        step.instances.append(row.instances)
        step.all_instances += row.instances
        if not row.ran:
            continue
        step.ran[row.job_id] = int(row.ran)
        step.duration_ms.append(float(row.ms))
        step.most_ms = max(step.most_ms, row.most_ms)
        if row.chars is not None:
            step.chars.append(float(row.chars))
            step.most_chars = max(step.most_chars, row.most_chars)


async def _gather_usage(session: ReadSession, ids: Sequence[UUID], gathered: Mapping[str, _Gathered]) -> None:
    """Add what each step called, per instance that ran. Units of outside services are no tokens."""
    query = (
        sa.select(
            ProviderUsage.job_id,
            ProviderUsage.task_name,
            ProviderUsage.service,
            sa.func.count().label("calls"),
            sa.func.sum(ProviderUsage.input_tokens).label("input_tokens"),
            sa.func.sum(ProviderUsage.output_tokens).label("output_tokens"),
            sa.func.sum(ProviderUsage.cost_usd).label("cost_usd"),
        )
        .where(ProviderUsage.job_id.in_(ids))
        .group_by(ProviderUsage.job_id, ProviderUsage.task_name, ProviderUsage.service)
    )
    for row in await session.execute(query):
        step = gathered[row.task_name]
        ran = step.ran.get(row.job_id)
        if not ran:
            continue
        step.calls.append(row.calls / ran)
        step.cost_usd += row.cost_usd or Decimal(0)
        if row.service == LLM_SERVICE:
            step.input_tokens.append(float(row.input_tokens) / ran)
            step.output_tokens.append(float(row.output_tokens) / ran)


async def _gather_choices(session: ReadSession, ids: Sequence[UUID], gathered: Mapping[str, _Gathered]) -> None:
    """Add how often each branch was taken. A loop's choice is the hash of its list, which no branch is called."""
    query = (
        sa.select(JobStep.step_id, JobStep.choice, sa.func.count().label("times"))
        .where(JobStep.job_id.in_(ids), _IS_CHOICE, JobStep.choice.is_not(None))
        .group_by(JobStep.step_id, JobStep.choice)
    )
    for row in await session.execute(query):
        gathered[row.step_id].choices[row.choice] = row.times


async def _read_samples(session: ReadSession, job_id: UUID) -> dict[str, Any]:
    """Return an output of each step of a run, if it is short."""
    first = (
        sa.select(sa.func.min(JobStep.path))
        .where(
            JobStep.job_id == job_id,
            _IS_INSTANCE,
            JobStep.status == StepOutcome.SUCCEEDED,
            _OUTPUT_CHARS <= MAX_SAMPLE_CHARS,
        )
        .group_by(JobStep.step_id)
    )
    query = sa.select(JobStep.step_id, JobStep.output).where(JobStep.job_id == job_id, JobStep.path.in_(first))
    return {row.step_id: loads(row.output) for row in await session.execute(query)}


def _with_most(seen: Seen | None, most: float) -> Seen | None:
    """Return `seen`, which is of means, with the most that one instance had."""
    return None if seen is None else Seen(seen.low, seen.mean, max(seen.high, float(most)))
