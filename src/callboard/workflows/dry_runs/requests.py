"""Dry runs that somebody asked for over HTTP: of a workflow by name, or of a definition in the request.

Called by `workflows/service.py`. They are done in threads of their own and within a time limit, since what a
definition says may be large or slow; the event loop goes on meanwhile.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from callboard.core.json_values import JsonValue, locate_unstorable
from callboard.workflows.call_prices import CallPrices
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.dry_runs.history import History, PastRuns
from callboard.workflows.dry_runs.plans import DryRun
from callboard.workflows.dry_runs.walk import NO_INPUT, DryRunTooSlowError, foresee
from callboard.workflows.files import BrokenWorkflow, LoadedWorkflow, WorkflowFileReader
from callboard.workflows.findings import WorkflowFinding
from callboard.workflows.steps.registry import StepRegistry

MAX_SECONDS = 5.0  # a definition of 500 steps is gone through in a tenth of that
THREADS = 2
INPUT_POINTER = "/input_data"  # what stands before pointers into the input
UNNAMED = "unnamed"  # what stands for a definition without a name

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What was found: every finding in the definition, and the dry run, unless an error among them forbids one."""

    workflow_name: str
    findings: tuple[WorkflowFinding, ...]
    dry_run: DryRun | None

    @property
    def is_valid(self) -> bool:
        """True when a submit of this would be accepted."""
        return self.dry_run is not None and not self.dry_run.input_errors


class DryRuns:
    """Makes dry runs for a server. `history` tells of earlier runs, `defaults_for` as at submit."""

    def __init__(
        self,
        reader: WorkflowFileReader,
        registry: StepRegistry,
        *,
        defaults_for: Callable[[str], Mapping[str, Any]],
        prices: CallPrices,
        history: History,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self._reader, self._registry = reader, registry
        self._defaults_for = defaults_for
        self._prices, self._history = prices, history
        self._max_seconds = max_seconds
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dry-run")

    async def of_workflow(self, workflow: CompiledWorkflow, input_data: JsonValue, *, tenant_id: str) -> Rehearsal:
        """Return the dry run of a workflow for `input_data` (`NO_INPUT`: none). Raises: DryRunTooSlowError."""
        unstorable = None if input_data is NO_INPUT else locate_unstorable(input_data)
        if unstorable is not None:
            pointer, reason = unstorable
            finding = WorkflowFinding(
                pointer=INPUT_POINTER + pointer, message=f"This cannot be stored: {reason}.", code="unreadable"
            )
            return Rehearsal(workflow_name=workflow.name, findings=(*workflow.warnings, finding), dry_run=None)
        past = await self._history.read(workflow.name, tenant_id=tenant_id)
        dry_run = await self._in_thread(lambda: self._foresee(workflow, input_data, past))
        return _rehearsal_of(workflow, dry_run)

    async def of_definition(self, raw: JsonValue, input_data: JsonValue, *, tenant_id: str) -> Rehearsal:
        """Return what is wrong with the definition `raw`, or its dry run. Raises: DryRunTooSlowError."""
        compiled = await self._in_thread(lambda: self._compile(raw))
        if isinstance(compiled, BrokenWorkflow):
            return Rehearsal(workflow_name=compiled.name, findings=compiled.findings, dry_run=None)
        return await self.of_workflow(compiled, input_data, tenant_id=tenant_id)

    async def read_definition(self, raw: JsonValue) -> LoadedWorkflow | BrokenWorkflow:
        """Return the definition `raw` with all that it names, or what is wrong with it. Raises: DryRunTooSlowError."""
        return await self._in_thread(lambda: self._reader.read_value(raw, name=UNNAMED))

    def close(self) -> None:
        """Start nothing more; what runs ends by its own limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _compile(self, raw: JsonValue) -> CompiledWorkflow | BrokenWorkflow:
        read = self._reader.read_value(raw, name=UNNAMED)
        if isinstance(read, BrokenWorkflow):
            return read
        compiled = compile_workflow(read.bundle(self._defaults_for(read.name), self._defaults_for), self._registry)
        return replace(compiled, warnings=read.warnings)  # which know of prices, too

    def _foresee(self, workflow: CompiledWorkflow, input_data: JsonValue, past: PastRuns | None) -> DryRun:
        return asyncio.run(foresee(workflow, input_data, prices=self._prices, past=past, max_seconds=self._max_seconds))

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            async with asyncio.timeout(self._max_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except TimeoutError as error:
            raise DryRunTooSlowError(
                f"The dry run was given up after {self._max_seconds:g} s: the workflow is too large, or its transforms "
                "take too long. Try it with a smaller input, or run `callboard dry-run` where there is no such limit."
            ) from error


def _rehearsal_of(workflow: CompiledWorkflow, dry_run: DryRun) -> Rehearsal:
    return Rehearsal(workflow_name=workflow.name, findings=(*workflow.warnings, *dry_run.warnings), dry_run=dry_run)
