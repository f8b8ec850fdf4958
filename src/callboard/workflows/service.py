"""What other domains ask of workflows: one ready to be submitted, and one ready to be run.

`jobs/service.py` calls `WorkflowService.prepare`; `jobs/runner.py` calls `BundleStore.load`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from callboard.core.database import Database
from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.bundles import Bundle
from callboard.workflows.catalogue import WorkflowCatalogue
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.diagram import draw_diagram
from callboard.workflows.dry_runs.requests import DryRuns, Rehearsal
from callboard.workflows.errors import InvalidWorkflowError
from callboard.workflows.files import BrokenWorkflow, LoadedWorkflow
from callboard.workflows.repository import find_bundle
from callboard.workflows.steps.registry import StepRegistry

KEPT_BUNDLES = 256  # compiled workflows that a process keeps; a small one takes some 100 kB


class MissingBundleError(PermanentError):
    """The bundle that this job was submitted with is not in the database."""

    code = "bundle_missing"
    category = "internal"


@dataclass(frozen=True, slots=True)
class PreparedWorkflow:
    """A workflow as a job keeps it: compiled, and as the bundle that is stored under `bundle_hash`."""

    compiled: CompiledWorkflow
    bundle_hash: str
    content: str
    provider: str

    @property
    def name(self) -> str:
        return self.compiled.name

    @property
    def version(self) -> str:
        return self.compiled.definition.version


class WorkflowService:
    """The workflows that can be submitted. `defaults_for` resolves provider and model for one by its name.

    `file_schema` makes the JSON Schema of their format.
    """

    def __init__(
        self,
        catalogue: WorkflowCatalogue,
        registry: StepRegistry,
        *,
        defaults_for: Callable[[str], Mapping[str, Any]],
        file_schema: Callable[[], Mapping[str, Any]],
        dry_runs: DryRuns,
    ) -> None:
        self.dry_runs = dry_runs
        self._make_file_schema = file_schema
        self._catalogue = catalogue
        self._registry = registry
        self._defaults_for = defaults_for
        self._prepared: dict[str, tuple[LoadedWorkflow, Mapping[str, Mapping[str, Any]], PreparedWorkflow]] = {}

    @cached_property
    def file_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of workflow files, with what this process has of services, operations and step types."""
        return self._make_file_schema()

    def prepare(self, name: str) -> PreparedWorkflow:
        """Return the workflow `name` with all that a run of it will read.

        Raises: WorkflowNotFoundError, with the nearest name; InvalidWorkflowError, when its file is broken.
        """
        loaded = self._catalogue.get(name)
        defaults = self._defaults_of(loaded)
        kept = self._prepared.get(name)
        if kept is not None and kept[0] is loaded and kept[1] == defaults:
            return kept[2]
        prepared = self._prepare(loaded, defaults)
        self._prepared[name] = (loaded, defaults, prepared)
        return prepared

    def _defaults_of(self, loaded: LoadedWorkflow) -> dict[str, Mapping[str, Any]]:
        """Return the defaults of a workflow and of those that it runs, by name."""
        return {name: self._defaults_for(name) for name in (loaded.name, *loaded.workflows)}

    def _prepare(self, loaded: LoadedWorkflow, defaults: Mapping[str, Mapping[str, Any]]) -> PreparedWorkflow:
        own = defaults[loaded.name]
        bundle = loaded.bundle(own, defaults.__getitem__)
        compiled = compile_workflow(bundle, self._registry)
        return PreparedWorkflow(compiled, bundle.content_hash, bundle.to_json(), str(own["provider"]))

    async def prepare_definition(self, raw: Mapping[str, Any]) -> PreparedWorkflow:
        """Return the definition `raw`, which came in a request, with all that a run of it will read.

        Raises: InvalidWorkflowError, with every finding; DryRunTooSlowError.
        """
        read = await self.dry_runs.read_definition(dict(raw))
        if isinstance(read, BrokenWorkflow):
            raise InvalidWorkflowError(read.findings, name=read.name)
        return self._prepare(read, self._defaults_of(read))

    async def rehearse(self, name: str, input_data: JsonValue, *, tenant_id: str) -> Rehearsal:
        """Return what a run of `name` would do, or what is wrong with its file.

        Raises: WorkflowNotFoundError, with the nearest name; DryRunTooSlowError.
        """
        try:
            prepared = self.prepare(name)
        except InvalidWorkflowError as error:
            return Rehearsal(workflow_name=name, findings=error.findings, dry_run=None)
        compiled = replace(prepared.compiled, warnings=self.get(name).warnings)  # with their places in the file
        return await self.dry_runs.of_workflow(compiled, input_data, tenant_id=tenant_id)

    def draw(self, name: str) -> str:
        """Return the workflow `name` as a Mermaid flowchart. Raises: as `prepare`."""
        return draw_diagram(self.get(name).definition)

    def get(self, name: str) -> LoadedWorkflow:
        """Return the workflow `name` as its file says. Raises: as `prepare`."""
        return self._catalogue.get(name)

    def list_all(self) -> Sequence[LoadedWorkflow]:
        """Return the workflows that can be submitted, by name."""
        return self._catalogue.list()

    def names(self) -> Sequence[str]:
        """Return the names of the workflows that can be submitted."""
        return self._catalogue.names()

    def broken(self) -> Sequence[BrokenWorkflow]:
        """Return the files that cannot be submitted, each with its findings."""
        return self._catalogue.broken()

    def provider_of(self, name: str) -> str:
        """Return the provider that serves llm steps of `name` which name none."""
        return str(self._defaults_for(name)["provider"])


class BundleStore:
    """Compiled workflows by the hash of their bundle: a run keeps what it was submitted with."""

    def __init__(self, database: Database, registry: StepRegistry) -> None:
        self._database = database
        self._registry = registry
        self._kept: OrderedDict[str, CompiledWorkflow] = OrderedDict()
        self._loading: dict[str, asyncio.Task[CompiledWorkflow]] = {}

    async def read(self, bundle_hash: str) -> str:
        """Return a stored bundle as JSON text. Raises: MissingBundleError."""
        content = await find_bundle(self._database, bundle_hash)
        if content is None:
            raise MissingBundleError(f"The bundle {bundle_hash} that this job was submitted with is gone.")
        return content

    async def load(self, bundle_hash: str) -> CompiledWorkflow:
        """Return the workflow of the bundle `bundle_hash`.

        Raises: MissingBundleError; InvalidWorkflowError, when this version of Callboard cannot run it.
        """
        kept = self._kept.get(bundle_hash)
        if kept is not None:
            self._kept.move_to_end(bundle_hash)
            return kept
        loading = self._loading.get(bundle_hash)
        if loading is None:  # a hundred claimed jobs of one workflow read and compile it once
            loading = self._loading[bundle_hash] = asyncio.create_task(self._load(bundle_hash))
            loading.add_done_callback(lambda _: self._loading.pop(bundle_hash, None))
        return await asyncio.shield(loading)  # a run that is cancelled leaves it to the others

    async def _load(self, bundle_hash: str) -> CompiledWorkflow:
        bundle = Bundle.from_json(await self.read(bundle_hash))
        compiled = self._kept[bundle_hash] = compile_workflow(bundle, self._registry)
        if len(self._kept) > KEPT_BUNDLES:
            self._kept.popitem(last=False)
        return compiled
