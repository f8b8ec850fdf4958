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
from callboard.jobs.repository.subrun_history import (
    MAX_ROWS,
    Subruns,
    Sums,
    UsageSums,
    find_subruns,
    name_of,
    take_within_limit,
)
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
    """The `History` of a database. Of runs with other workflows inside, no more than `max_rows` rows are read."""

    def __init__(self, database: Database, *, max_rows: int = MAX_ROWS) -> None:
        self._database = database
        self._max_rows = max_rows

    async def read(self, workflow_name: str, *, tenant_id: str) -> PastRuns | None:
        """Return the last `RUNS_READ` completed runs of this tenant's workflow, or None where none can be read."""
        async with self._database.reads() as session:
            durations = await _last_runs(session, workflow_name, tenant_id)
            if not durations:
                return None
            subruns = await find_subruns(session, list(durations))
            plain = [job_id for job_id in durations if job_id not in subruns]
            composed = await take_within_limit(
                session, [job_id for job_id in durations if job_id in subruns], max_rows=self._max_rows
            )
            ids = sorted([*plain, *composed], reverse=True)
            if not ids:
                return None
            gathered: dict[str, _Gathered] = defaultdict(_Gathered)
            await _gather_instances(session, plain, gathered)
            await _gather_instances_by_path(session, composed, subruns, gathered)
            await _gather_usage(session, plain, gathered)
            await _gather_usage_by_path(session, composed, subruns, gathered)
            await _gather_choices(session, plain, gathered)
            await _gather_choices_by_path(session, composed, subruns, gathered)
            samples = await _read_samples(session, ids[0], subruns.get(ids[0], {}))
        duration = Seen.of([each for each in (durations[job_id] for job_id in ids) if each is not None])
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

    def add_instances(self, job_id: UUID, row: Any) -> None:
        """Add those of one run: a grouped row, or `Sums`."""
        self.instances.append(row.instances)
        self.all_instances += row.instances
        if not row.ran:
            return
        self.ran[job_id] = int(row.ran)
        self.duration_ms.append(float(row.ms))
        self.most_ms = max(self.most_ms, row.most_ms)
        if row.chars is not None:
            self.chars.append(float(row.chars))
            self.most_chars = max(self.most_chars, row.most_chars)

    def add_usage(self, job_id: UUID, service: str, row: Any) -> None:
        """Add the calls of one run to one service: a grouped row, or `UsageSums`. Units of services are no tokens."""
        ran = self.ran.get(job_id)
        if not ran:
            return
        self.calls.append(row.calls / ran)
        self.cost_usd += row.cost_usd or Decimal(0)
        if service == LLM_SERVICE:
            self.input_tokens.append(float(row.input_tokens) / ran)
            self.output_tokens.append(float(row.output_tokens) / ran)

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
        gathered[row.step_id].add_instances(row.job_id, row)


async def _gather_instances_by_path(
    session: ReadSession, ids: Sequence[UUID], subruns: Subruns, gathered: Mapping[str, _Gathered]
) -> None:
    """Add the instances of runs in which an id may be that of several steps."""
    query = sa.select(
        JobStep.job_id,
        JobStep.path,
        JobStep.step_id,
        JobStep.status,
        JobStep.duration_ms,
        _OUTPUT_CHARS.label("chars"),
    ).where(JobStep.job_id.in_(ids), _IS_INSTANCE)
    sums: dict[tuple[UUID, str], Sums] = defaultdict(Sums)
    for row in await session.execute(query):
        each = sums[row.job_id, name_of(row.path, row.step_id, subruns[row.job_id])]
        each.add(has_run=row.status != StepOutcome.SKIPPED, chars=row.chars, duration_ms=row.duration_ms)
    for (job_id, name), each in sums.items():
        gathered[name].add_instances(job_id, each)


async def _gather_usage(session: ReadSession, ids: Sequence[UUID], gathered: Mapping[str, _Gathered]) -> None:
    """Add what each step called, per instance that ran."""
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
        gathered[row.task_name].add_usage(row.job_id, row.service, row)


async def _gather_usage_by_path(
    session: ReadSession, ids: Sequence[UUID], subruns: Subruns, gathered: Mapping[str, _Gathered]
) -> None:
    query = sa.select(
        ProviderUsage.job_id,
        ProviderUsage.path,
        ProviderUsage.task_name,
        ProviderUsage.service,
        ProviderUsage.input_tokens,
        ProviderUsage.output_tokens,
        ProviderUsage.cost_usd,
    ).where(ProviderUsage.job_id.in_(ids))
    sums: dict[tuple[UUID, str, str], UsageSums] = defaultdict(UsageSums)
    for row in await session.execute(query):
        name = name_of(row.path, row.task_name, subruns[row.job_id])
        sums[row.job_id, name, row.service].add(row.input_tokens, row.output_tokens, row.cost_usd)
    for (job_id, name, service), each in sums.items():
        gathered[name].add_usage(job_id, service, each)


async def _gather_choices(session: ReadSession, ids: Sequence[UUID], gathered: Mapping[str, _Gathered]) -> None:
    """Add how often each branch was taken. A loop's choice is the hash of its list, which no branch is called."""
    query = (
        sa.select(JobStep.step_id, JobStep.choice, sa.func.count().label("times"))
        .where(JobStep.job_id.in_(ids), _IS_CHOICE, JobStep.choice.is_not(None))
        .group_by(JobStep.step_id, JobStep.choice)
    )
    for row in await session.execute(query):
        gathered[row.step_id].choices[row.choice] = row.times


async def _gather_choices_by_path(
    session: ReadSession, ids: Sequence[UUID], subruns: Subruns, gathered: Mapping[str, _Gathered]
) -> None:
    query = sa.select(JobStep.job_id, JobStep.path, JobStep.step_id, JobStep.choice).where(
        JobStep.job_id.in_(ids), _IS_CHOICE, JobStep.choice.is_not(None)
    )
    for row in await session.execute(query):
        choices = gathered[name_of(row.path, row.step_id, subruns[row.job_id])].choices
        choices[row.choice] = choices.get(row.choice, 0) + 1


async def _read_samples(session: ReadSession, job_id: UUID, subruns: Mapping[str, str]) -> dict[str, Any]:
    """Return an output of each step of a run, if it is short."""
    is_short = sa.and_(
        JobStep.job_id == job_id,
        _IS_INSTANCE,
        JobStep.status == StepOutcome.SUCCEEDED,
        _OUTPUT_CHARS <= MAX_SAMPLE_CHARS,
    )
    first: Any = sa.select(sa.func.min(JobStep.path)).where(is_short).group_by(JobStep.step_id)
    if subruns:
        paths = sa.select(JobStep.path, JobStep.step_id).where(is_short).order_by(JobStep.path.desc())
        by_name = {name_of(row.path, row.step_id, subruns): row.path for row in await session.execute(paths)}
        first = list(by_name.values())
    query = sa.select(JobStep.path, JobStep.step_id, JobStep.output).where(
        JobStep.job_id == job_id, JobStep.path.in_(first)
    )
    return {name_of(row.path, row.step_id, subruns): loads(row.output) for row in await session.execute(query)}


def _with_most(seen: Seen | None, most: float) -> Seen | None:
    """Return `seen`, which is of means, with the most that one instance had."""
    return None if seen is None else Seen(seen.low, seen.mean, max(seen.high, float(most)))
