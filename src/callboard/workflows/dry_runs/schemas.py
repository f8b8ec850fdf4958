"""What requests and answers about dry runs look like. `callboard dry-run --json` prints the same."""

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from callboard.core.errors import Finding
from callboard.core.storable_text import StorableText
from callboard.workflows.dry_runs.plans import Load, PlanBranch, PlannedCall, PlanStep, Span
from callboard.workflows.dry_runs.requests import INPUT_POINTER, Rehearsal
from callboard.workflows.dry_runs.walk import NO_INPUT
from callboard.workflows.findings import Severity, WorkflowFinding
from callboard.workflows.schemas import FindingRead

MONEY_DECIMALS = 6


class WorkflowValidate(BaseModel):
    """What to check: a workflow of the server by its name, or a definition; and an input for it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"workflow_name": "hello", "input_data": {"name": "Ada"}}]},
    )

    workflow_name: StorableText | None = Field(
        None, min_length=1, max_length=100, description="A workflow of this server; see GET /workflows."
    )
    definition: dict[str, Any] | None = Field(
        None, description="A workflow file. The key needs the scope workflows:write. At most 500 steps."
    )
    input_data: Any = Field(None, description="The input; without one, all of it counts as not known.")

    @model_validator(mode="after")
    def _one_of_two(self) -> "WorkflowValidate":
        if (self.workflow_name is None) == (self.definition is None):
            raise ValueError("give either workflow_name or definition")
        return self

    @property
    def given_input(self) -> Any:
        """The input, or NO_INPUT where the request has none."""
        return self.input_data if "input_data" in self.model_fields_set else NO_INPUT


class EstimateRead(BaseModel):
    """A number that is not known yet. `high` is a bound where models are told `max_tokens`."""

    low: float
    likely: float
    high: float

    @classmethod
    def of(cls, span: Span, *, decimals: int = 0) -> "EstimateRead":
        low, likely, high = (_rounded(end, decimals) for end in (span.low, span.likely, span.high))
        return cls(low=low, likely=likely, high=high)


class LoadRead(BaseModel):
    """What something takes: tokens, US dollars (null where a price is not known), seconds."""

    input_tokens: EstimateRead
    output_tokens: EstimateRead
    cost_usd: EstimateRead | None
    duration_seconds: EstimateRead

    @classmethod
    def of(cls, load: Load) -> "LoadRead":
        return cls(**_load_values(load))


class PlannedMessageRead(BaseModel):
    """A message to a model. `«path: unknown, about N characters»` stands for what is not known yet."""

    role: str
    text: str
    tokens: int = Field(description="What it likely comes to, at 4 characters a token.")


class FallbackRead(BaseModel):
    """A model that is asked when the one before it cannot answer."""

    provider: str
    model: str


class PlannedCallRead(LoadRead):
    """One outside call, retries and re-asks left out."""

    service: str = Field(description='"llm", or the outside service.')
    provider: str = Field(description="Who would answer.")
    model: str | None
    method: str | None = Field(description="Of an outside service.")
    fallbacks: list[FallbackRead]
    max_tokens: int | None
    messages: list[PlannedMessageRead]

    @classmethod
    def of_call(cls, call: PlannedCall) -> "PlannedCallRead":
        return cls(
            **_load_values(call.load),
            service=call.service,
            provider=call.provider,
            model=call.model,
            method=call.method,
            fallbacks=[FallbackRead(provider=provider, model=model) for provider, model in call.fallbacks],
            max_tokens=call.max_tokens,
            messages=[PlannedMessageRead(role=each.role, text=each.text, tokens=each.tokens) for each in call.messages],
        )


class PlannedLoopRead(BaseModel):
    """A loop: over what, what its items are called, and how many there are."""

    over: str = Field(description="The path of the list; empty where the list stands in the file.")
    item_name: str
    count: EstimateRead
    is_count_known: bool


class PlanBranchRead(BaseModel):
    """Steps inside a step."""

    name: str = Field(description="The branch, or the workflow that the step runs; empty for a loop.")
    condition: str | None
    certainty: Literal["certain", "possible", "never"]
    share: float = Field(description="How likely it is taken, 0 to 1.")
    steps: list["PlanStepRead"]


class PlanStepRead(LoadRead):
    """A step of the plan. What it takes is for all its `times` together, the steps inside it included."""

    id: str
    type: str
    display_name: str | None
    certainty: Literal["certain", "possible", "never"]
    when: str | None
    times: EstimateRead = Field(description="How often it runs in the whole run.")
    basis: Literal["history", "prompt"]
    problem: str | None = Field(description="Why it would fail.")
    waits: str | None = Field(description="What it waits for; that time is no part of duration_seconds.")
    calls: list[PlannedCallRead] = Field(description="Those of its first instances.")
    loop: PlannedLoopRead | None
    branches: list[PlanBranchRead]

    @classmethod
    def of_step(cls, step: PlanStep) -> "PlanStepRead":
        return cls(
            **_load_values(step.load),
            id=step.id,
            type=step.type,
            display_name=step.display_name,
            certainty=step.certainty.value,
            when=step.when,
            times=EstimateRead.of(step.times, decimals=2),
            basis=step.basis,
            problem=step.problem,
            waits=step.waits,
            calls=[PlannedCallRead.of_call(call) for call in step.calls],
            loop=None
            if step.loop is None
            else PlannedLoopRead(
                over=step.loop.over,
                item_name=step.loop.item_name,
                count=EstimateRead.of(step.loop.count, decimals=2),
                is_count_known=step.loop.is_count_known,
            ),
            branches=[_branch(branch) for branch in step.branches],
        )


class ValidationRead(BaseModel):
    """What is wrong, and what a run would do and take. Nothing was called."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "valid": True,
                    "workflow_name": "hello",
                    "errors": None,
                    "warnings": [],
                    "plan": [],
                    "estimated_tokens": 160,
                    "estimated_cost_usd": 0.0018,
                    "estimated_duration_seconds": 3.0,
                    "basis": "prompt",
                    "runs_seen": 0,
                    "assumptions": ["How long models answer is not known from earlier runs."],
                    "input_tokens": {"low": 50, "likely": 60, "high": 100},
                    "output_tokens": {"low": 25, "likely": 100, "high": 200},
                    "cost_usd": {"low": 0.0005, "likely": 0.0018, "high": 0.0033},
                    "duration_seconds": {"low": 1.5, "likely": 3.0, "high": 120.0},
                }
            ]
        }
    )

    valid: bool = Field(description="Whether a submit of this would be accepted.")
    workflow_name: str
    errors: list[FindingRead] | None = Field(
        description="Everything that forbids a run; pointers into the definition, or /input_data for the input."
    )
    warnings: list[FindingRead]
    plan: list[PlanStepRead] | None = Field(description="The steps in order; null where the definition is broken.")
    estimated_tokens: int | None = Field(description="What is likely, in and out.")
    estimated_cost_usd: float | None = Field(description="What is likely; null where a price is not known.")
    estimated_duration_seconds: float | None = Field(description="What is likely.")
    basis: Literal["history", "prompt"] | None = Field(
        description="Earlier completed runs of this workflow, or its prompts and guesses alone."
    )
    runs_seen: int = Field(description="Earlier runs that the estimate rests on.")
    assumptions: list[str] = Field(description="What was guessed.")
    input_tokens: EstimateRead | None
    output_tokens: EstimateRead | None
    cost_usd: EstimateRead | None
    duration_seconds: EstimateRead | None

    @classmethod
    def of(cls, rehearsal: Rehearsal) -> "ValidationRead":
        dry_run = rehearsal.dry_run
        input_errors = () if dry_run is None else dry_run.input_errors
        errors = [finding for finding in rehearsal.findings if finding.is_error] + list(map(_input_error, input_errors))
        load = None if dry_run is None else LoadRead.of(dry_run.load)
        return cls(
            valid=rehearsal.is_valid,
            workflow_name=rehearsal.workflow_name,
            errors=[FindingRead.of(each) for each in errors] or None,
            warnings=[FindingRead.of(each) for each in rehearsal.findings if not each.is_error],
            plan=None if dry_run is None else [PlanStepRead.of_step(step) for step in dry_run.plan],
            estimated_tokens=None if load is None else int(load.input_tokens.likely + load.output_tokens.likely),
            estimated_cost_usd=None if load is None or load.cost_usd is None else load.cost_usd.likely,
            estimated_duration_seconds=None if load is None else load.duration_seconds.likely,
            basis=None if dry_run is None else dry_run.basis,
            runs_seen=0 if dry_run is None else dry_run.runs_seen,
            assumptions=[] if dry_run is None else list(dry_run.assumptions),
            input_tokens=None if load is None else load.input_tokens,
            output_tokens=None if load is None else load.output_tokens,
            cost_usd=None if load is None else load.cost_usd,
            duration_seconds=None if load is None else load.duration_seconds,
        )


def _branch(branch: PlanBranch) -> PlanBranchRead:
    return PlanBranchRead(
        name=branch.name,
        condition=branch.condition,
        certainty=branch.certainty.value,
        share=_rounded(branch.share, 4),
        steps=[PlanStepRead.of_step(step) for step in branch.steps],
    )


def _load_values(load: Load) -> dict[str, Any]:
    return {
        "input_tokens": EstimateRead.of(load.input_tokens),
        "output_tokens": EstimateRead.of(load.output_tokens),
        "cost_usd": None if load.cost_usd is None else EstimateRead.of(load.cost_usd, decimals=MONEY_DECIMALS),
        "duration_seconds": EstimateRead.of(load.seconds, decimals=2),
    }


def _input_error(error: Finding) -> WorkflowFinding:
    return WorkflowFinding(
        pointer=INPUT_POINTER + error.pointer, message=error.message, code=error.code, severity=Severity.ERROR
    )


def _rounded(number: Decimal, decimals: int) -> float:
    return float(round(number, decimals))
