"""What a step is handed in a dry run in the place of a job: it may compute, and ask nobody. Called by `walk.py`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.call_budgets import BoundOf
from callboard.workflows.references import Scope, StepView
from callboard.workflows.steps.base import PaidCall, StepSequence
from callboard.workflows.steps.waiting import Wait, WaitEnd


class CallInDryRunError(PermanentError):
    """A dry run calls nobody, and this step tried to."""

    code = "call_in_dry_run"


class NoCalls:
    """A `StepContext` that refuses everything."""

    job_id = "dry-run"
    tenant_id = "dry-run"

    def __init__(self, path: str) -> None:
        self.path = path

    async def call_once(self, perform: Callable[[], Awaitable[PaidCall]], *, bound: BoundOf | None = None) -> JsonValue:
        del perform, bound
        _refuse()

    async def wait_for(self, wait: Wait) -> WaitEnd:
        del wait
        _refuse()

    def resolve_secret(self, name: str) -> str:
        del name
        _refuse()

    def note_text(self, text: str) -> None:
        """Nobody watches."""


class NoChildren:
    """`Children` of a step that has none."""

    async def choose(self, decide: Callable[[], str]) -> str:
        del decide
        _refuse()

    async def run(self, sequence: StepSequence) -> Sequence[StepView]:
        del sequence
        _refuse()

    async def run_item(
        self, sequence: StepSequence, index: int, *, names: Mapping[str, JsonValue]
    ) -> Sequence[StepView]:
        del sequence, index, names
        _refuse()

    async def run_apart(
        self, sequence: StepSequence, *, input_data: JsonValue, context: Mapping[str, JsonValue]
    ) -> tuple[Scope, Sequence[StepView]]:
        del sequence, input_data, context
        _refuse()


def _refuse() -> NoReturn:
    raise CallInDryRunError
