"""What the engine asks of the world, and what a step kind is. Called by `engine.py` and every kind.

`Checkpointer` and `StepContext` are implemented by `jobs` (durable) and `workflows/memory.py` (for
`callboard run`, tests and benches). Nothing here or above it in the workflow core knows a database.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, NoReturn, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, WithJsonSchema

from callboard.core.errors import Finding, TemporaryError
from callboard.core.json_values import JsonValue
from callboard.workflows.call_budgets import BoundOf
from callboard.workflows.conditions import Condition, ConditionText, Expression
from callboard.workflows.definition import DEFAULT_CALL_SECONDS, ErrorMode, RetryPolicy, WorkflowDefinition
from callboard.workflows.flows import Flows
from callboard.workflows.prompts import Prompt
from callboard.workflows.references import Reference, Scope, StepView, Template
from callboard.workflows.steps.waiting import Wait, WaitEnd

CHOICE_SUFFIX = "?"  # `path?` is the journal row of what a container chose, written before its first child

STEPS_MARK: dict[str, Any] = {"x-callboard": "step"}  # where models say this, the format's schema has a step
StepList: TypeAlias = Annotated[list[Any], WithJsonSchema({"type": "array", "items": STEPS_MARK})]

ConfigT = TypeVar("ConfigT", bound=BaseModel)
ConfigModel: TypeAlias = type[BaseModel]  # kinds have an attribute `type`, which hides the builtin


class StepOutcome(StrEnum):
    """How a step instance ended. All but `FAILED` are final: a later attempt takes them as they are."""

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    CONTINUED = "continued"
    DEFAULTED = "defaulted"
    FAILED = "failed"

    @property
    def is_replayed(self) -> bool:
        return self is not StepOutcome.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """What one finished outside call used and cost. `service` is "llm" or the outside service's name."""

    service: str
    provider: str
    model: str
    task_name: str
    input_units: int
    output_units: int
    cost_usd: Decimal
    duration_ms: int
    metadata: Mapping[str, Any] = field(default_factory=dict)  # price id, unit price, source, finish reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidCall:
    """The outcome of one outside call: the JSON that the step goes on with, and what it cost."""

    value: JsonValue
    usage: UsageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands, counted in top-level steps."""

    steps_completed: int
    current_step: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A step instance that has ended, as it is journaled.

    `path` = step ids joined by "/", "[i]" per item of a loop. `output_json` is None for containers
    (assembled from their children) and for null. `choice` is what a container decided: the branch
    that was taken, or the hash of a loop's list. `error` = {type, category, message, retryable, details}.
    """

    path: str
    step_id: str
    step_type: str
    outcome: StepOutcome
    started_at: datetime
    completed_at: datetime
    output_json: str | None = None
    choice: str | None = None
    error: Mapping[str, Any] | None = None
    attempts: int = 1
    progress: Progress | None = None  # set on top-level steps


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """A journaled step instance as a replay reads it."""

    outcome: StepOutcome
    output_json: str | None = None
    choice: str | None = None
    error: Mapping[str, Any] | None = None


class RunSuspended(Exception):  # noqa: N818 - nothing failed
    """The worker stops, lost its lease, or parks the run: start nothing more and unwind. No failure of the step.

    Engine and step kinds let it through. A container whose branches raise it first waits for the
    branches that have a call in flight, since what they pay for must be journaled.
    """


class Checkpointer(Protocol):
    """Makes a run durable, one step instance at a time. One object per run."""

    def find(self, path: str) -> RecordedStep | None:
        """Return what an earlier attempt journaled for `path`, never a failed one."""
        ...

    async def save(self, record: StepRecord) -> None:
        """Return once `record` is durable. Saving the same record twice is success.

        Raises: RunSuspended, when this run is no longer ours to write.
        """
        ...

    def note_started(self, path: str, step_type: str, progress: Progress | None) -> None:
        """Tell whoever watches that a step began. Never waits; may be dropped when it ends at once."""
        ...

    def note_retrying(self, path: str, *, attempt: int, delay_seconds: float, error: Mapping[str, Any]) -> None:
        """Tell whoever watches that a step is tried again after `delay_seconds`. Never waits."""
        ...

    @property
    def flows(self) -> Flows:
        """The flows of this run; a run none of whose flows can go on is parked."""
        ...

    async def back_off(self, path: str, *, seconds: float, attempts: int) -> None:
        """Return after `seconds`, when the step at `path` may be tried again after its `attempts`.

        A long back-off may park the run; `attempts_before` then tells the next one.

        Raises: RunSuspended, at once when the worker begins to stop, or when the run is parked.
        """
        ...

    def attempts_before(self, path: str) -> int:
        """Return how often the step at `path` was tried before the run was parked in its back-off; 0: it was not.

        `back_off` with these attempts returns when that back-off is over.
        """
        ...

    async def may_begin(self) -> None:
        """Return when a new step may begin: at once, or when what is to be written has been.

        Raises: RunSuspended, when none may.
        """
        ...

    def ensure_running(self) -> None:
        """Return when a step may be tried again. Raises: RunSuspended otherwise."""
        ...


class StepContext(Protocol):
    """What a step may ask of the job it runs in. One object per attempt of a step instance."""

    @property
    def job_id(self) -> str: ...

    @property
    def tenant_id(self) -> str:
        """Whose job it is: what is kept for one tenant is never shown to another."""
        ...

    @property
    def path(self) -> str: ...

    async def call_once(self, perform: Callable[[], Awaitable[PaidCall]], *, bound: BoundOf | None = None) -> JsonValue:
        """Return the value of this step's next outside call, performing it only if no attempt ever did.

        The n-th use within a step instance is journaled as `path#n`, together with its usage row, before
        this returns; a replay returns the journaled value and performs nothing. The value came through
        `loads(dumps(value))`. An exception of `perform` passes through and is not journaled.

        Where a budget applies, the most that the call can cost is reserved before it is performed, and what it did
        cost is settled with the usage row; `bound` says how much that is. Without one nobody knows the price.

        Raises: BudgetExceededError, BudgetPriceUnknownError, before performing.
        Raises: RunSuspended, before performing, when no new call may be started.
        Raises: UnstorableValueError, after recording the usage, when the value cannot be stored.
        """
        ...

    async def wait_for(self, wait: Wait) -> WaitEnd:
        """Return how `wait` ended, now or in an earlier attempt of this step instance.

        Meanwhile other branches go on; when none can, the run is parked and holds no worker.

        Raises: RunSuspended, when the run is parked or its worker stops: the next one asks again.
        """
        ...

    def resolve_secret(self, name: str) -> str:
        """Return the secret `name` from settings. Raises: PermanentError, naming it, when there is none."""
        ...

    def note_text(self, text: str) -> None:
        """Tell whoever watches that the answer under way has grown by `text`. Never waits; may be dropped.

        A call that is made again (a retry, a re-ask) begins with nothing.
        """
        ...


ContextFactory: TypeAlias = Callable[[str], StepContext]  # path -> the context of one step instance


class StepTimeoutError(TemporaryError):
    """The step took longer than its timeout_seconds."""

    code = "step_timeout"
    category = "timeout"


class StepFailedError(Exception):
    """A step inside a container failed for good; the container's own retry and error mode decide next.

    Raised by the engine out of `Children`; container bodies let it through. `error` is the JSON that
    users see, `is_temporary` whether trying again makes sense, and `retry_after_seconds` how soon.
    """

    def __init__(
        self,
        error: Mapping[str, Any],
        *,
        is_temporary: bool,
        retry_after_seconds: float | None = None,
        error_mode: ErrorMode | None = None,
    ) -> None:
        """`error_mode` is what the error itself says should become of it: it wins over the step's own."""
        super().__init__(error["message"])
        self.error = error
        self.is_temporary = is_temporary
        self.retry_after_seconds = retry_after_seconds
        self.error_mode = error_mode


@dataclass(frozen=True, slots=True)
class StepSequence:
    """Steps that run one after the other inside a container. `branch` is their segment of the path, "" for none.

    Those of another workflow are `is_apart`: they see nothing of what is around the container.
    """

    steps: "tuple[CompiledStep, ...]"
    branch: str = ""
    is_loop: bool = False
    is_apart: bool = False

    @property
    def is_closed(self) -> bool:
        """True where no step outside can read these."""
        return self.is_loop or self.is_apart

    def prefix(self, container_path: str, index: int | None = None) -> str:
        """Return what stands before a step's id in the paths of this sequence.

        >>> StepSequence((), branch="hospitals").prefix("places")
        'places/hospitals/'
        >>> StepSequence((), is_loop=True).prefix("each", 3)
        'each[3]/'
        """
        if index is not None:
            return f"{container_path}[{index}]/"
        return f"{container_path}/{self.branch}/" if self.branch else f"{container_path}/"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledStep:
    """One step of a file, ready to run as often as wanted. `sequences` are those inside it, loops too.

    `reads` are the paths that its own config reads, those of its `when` and of the steps inside it left out.
    """

    id: str
    type: str
    body: "StepBody"
    display_name: str | None = None
    pointer: str = ""  # of the step in its file
    reads: tuple[Reference, ...] = ()
    is_container: bool = False
    when: Condition | None = None
    error_mode: ErrorMode = ErrorMode.FAIL
    default_value: Template | None = None
    retry: RetryPolicy | None = None
    timeout_seconds: float = DEFAULT_CALL_SECONDS
    aliases: tuple[str, ...] = ()
    sequences: tuple[StepSequence, ...] = ()
    budget_usd: float | None = None  # of the workflow that it runs


class Subworkflow(Protocol):
    """A workflow as the step runs it that names it. Every compiled workflow is one."""

    @property
    def name(self) -> str: ...

    @property
    def definition(self) -> WorkflowDefinition: ...

    @property
    def sequence(self) -> StepSequence: ...

    @property
    def outputs(self) -> Template | None: ...

    @property
    def context(self) -> Mapping[str, JsonValue]:
        """The constants of its file."""
        ...

    @property
    def timeout_seconds(self) -> float: ...

    def complete_input(self, value: JsonValue) -> JsonValue:
        """Return `value` with the defaults that its `input_schema` gives for what is absent."""
        ...

    def validate_input(self, value: JsonValue) -> list[Finding]:
        """Return everything in `value` that its `input_schema` refuses; pointers start at the input."""
        ...

    def result(self, scope: Scope, last_output: JsonValue) -> dict[str, JsonValue]:
        """Return its outputs in `scope`, or what its last step gave. Raises: UnresolvedReferenceError."""
        ...


class Children(Protocol):
    """What a container may ask of the engine while it runs. Bound to one attempt of one step instance."""

    async def choose(self, decide: Callable[[], str]) -> str:
        """Return what `decide` said when this instance first ran; it is durable before this returns."""
        ...

    async def run(self, sequence: StepSequence) -> Sequence[StepView]:
        """Run the steps of a branch and return how each ended. Raises: StepFailedError, RunSuspended."""
        ...

    async def run_item(
        self, sequence: StepSequence, index: int, *, names: Mapping[str, JsonValue]
    ) -> Sequence[StepView]:
        """Run the steps of a loop for one item, with `names` beside the container's own scope."""
        ...

    async def run_apart(
        self, sequence: StepSequence, *, input_data: JsonValue, context: Mapping[str, JsonValue]
    ) -> tuple[Scope, Sequence[StepView]]:
        """Run the steps of another workflow in a scope of their own, and return it with how each of them ended."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepExecution:
    """One attempt of one step instance: all that a body needs for its work."""

    step_id: str
    path: str
    scope: Scope
    context: StepContext
    timeout_seconds: float
    children: Children
    flows: Flows


class StepBody(ABC):
    """A step of a file as its kind compiled it. One object serves every run, so it keeps nothing of a run."""

    @abstractmethod
    async def run(self, execution: StepExecution) -> JsonValue:
        """Return the step's output.

        Raises: TemporaryError or PermanentError; the engine alone decides what follows.
        """

    def alias_value(self, output: JsonValue) -> JsonValue:
        """Return what the names in the step's `outputs` stand for: the whole output, unless a kind says else."""
        return output

    def is_for_its_output(self) -> bool:
        """Return whether the step does nothing but give its output, so that not to read it is a mistake."""
        return False

    def may_give_default(self) -> bool:
        """Return whether the step's own config sends it to its `default_value`, whatever its error mode is."""
        return False

    def output_shape(self) -> Mapping[str, Any]:
        """Return the JSON Schema of what `run` gives, as far as the file tells it: what references are checked by."""
        return {}


class StepCompiler(Protocol):
    """What a kind may ask while one step of a file is compiled. Mistakes are collected, not raised.

    `place` is where something stands in the step's `config`: keys and indexes. What cannot be compiled is
    reported and gives a harmless constant, so that a kind goes on and every mistake is found at once.
    """

    @property
    def raw(self) -> Mapping[str, Any]:
        """The step's `config` as the file has it, short forms written out."""
        ...

    @property
    def step_name(self) -> str:
        """What people know the step by: its `display_name`, else its id."""
        ...

    @property
    def defaults(self) -> Mapping[str, Any]:
        """What the settings said at submit: `provider`, `model`, `model_aliases`."""
        ...

    @property
    def markdown_schemas(self) -> Mapping[str, Mapping[str, Any]]: ...

    def config(self, model: type[ConfigT]) -> ConfigT:
        """Return `raw` read by `model`. What does not fit is reported and ends this step's compilation."""
        ...

    def parse(self, raw: Mapping[str, Any], model: type[ConfigT], *place: str | int) -> ConfigT:
        """Return `raw`, which stands at `place`, read by `model`. As `config` otherwise."""
        ...

    def check(self, raw: Mapping[str, Any], model: type[BaseModel], *place: str | int) -> None:
        """Report what `model` refuses of `raw`, but nothing of a value that references are still to bring."""
        ...

    def template(
        self, value: JsonValue, *place: str | int, names: Collection[str] | None = (), allows_secrets: bool = False
    ) -> Template:
        """Return `value` compiled; `names` are known in it beside the step's own scope, None for any name."""
        ...

    def condition(self, text: ConditionText, *place: str | int, names: Collection[str] = ()) -> Condition: ...

    def expression(self, text: str, *place: str | int, names: Collection[str] = ()) -> Expression: ...

    def prompt(self, path: str, *place: str | int, variables: Collection[str]) -> Prompt: ...

    def prompt_text(self, text: str, *place: str | int, variables: Collection[str]) -> Prompt: ...

    def sequence(
        self, raw_steps: JsonValue, *place: str | int, branch: str = "", loop_names: Collection[str] | None = None
    ) -> StepSequence:
        """Return the steps of a branch; with `loop_names`, of a loop whose items go by those names.

        `raw_steps` is the list at `place`, or the one step there.
        """
        ...

    def workflow(self, name: str, *place: str | int) -> Subworkflow:
        """Return the workflow `name`, whose steps are this step's from now on.

        One that cannot be run is reported and ends this step's compilation.
        """
        ...

    def report(self, message: str, *place: str | int, code: str) -> None:
        """Note a mistake at `place`."""
        ...

    def warn(self, message: str, *place: str | int, code: str) -> None:
        """Note what is doubtful at `place`, and keeps the step from nothing."""
        ...

    def refuse(self, message: str, *place: str | int, code: str) -> NoReturn:
        """Note a mistake at `place` that ends this step's compilation."""
        ...


class StepKind(Protocol):
    """A `type` that steps may have. `wiring` hands the kinds to a `StepRegistry`, each with what it needs."""

    @property
    def type(self) -> str: ...

    @property
    def config_model(self) -> ConfigModel: ...

    @property
    def is_container(self) -> bool: ...

    def compile(self, step: StepCompiler) -> StepBody: ...
