"""Turns a bundle into steps that the engine can run, or tells everything that is wrong with it at once.

Called by submit (to refuse a bad file), by `jobs/runner.py` (once per bundle and process) and by the
catalogue's check. It knows no step kind: kinds come from a `StepRegistry` and use a `StepCompiler`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from callboard.core.json_values import JsonValue
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiled_workflow import MAX_NESTED_WORKFLOWS, CompiledWorkflow
from callboard.workflows.definition import (
    DEFAULT_RUN_SECONDS,
    RESERVED_CONTEXT,
    ErrorMode,
    ReadSteps,
    StepDefinition,
    WorkflowDefinition,
    ids_in,
    read_definition,
)
from callboard.workflows.errors import InvalidWorkflowError, NotCompilableError, UnusableWorkflowError
from callboard.workflows.findings import Severity, WorkflowFinding, pointer_of, without_repetition
from callboard.workflows.json_schemas import InvalidSchemaError, JsonSchema, find_schema_doubts
from callboard.workflows.prompts import (
    BundlePrompts,
    PromptSource,
)
from callboard.workflows.reachability import Enclosure, Place, StepMap
from callboard.workflows.reference_checks import ReferenceChecks, Use
from callboard.workflows.references import (
    Reference,
    Template,
    compile_template,
    read_every_reference,
    texts_in,
)
from callboard.workflows.step_compiler import OneStepCompiler
from callboard.workflows.step_doubts import doubts_of_text
from callboard.workflows.step_outlets import StepOutlets
from callboard.workflows.steps.base import CompiledStep
from callboard.workflows.steps.registry import StepRegistry


def compile_workflow(
    bundle: Bundle, registry: StepRegistry, *, prompts: PromptSource | None = None
) -> CompiledWorkflow:
    """Return the workflow of `bundle`, every template, condition and prompt in it read once.

    `prompts` are read in the place of the bundle's, so that what is not in the bundle can be told.

    Raises: InvalidWorkflowError, with every error and warning at once.
    """
    source = prompts or BundlePrompts(bundle.prompts)
    return _FileCompiler(bundle, registry, source, _Others(bundle.workflows)).compile()


@dataclass(frozen=True, slots=True)
class _Others:
    """The workflows that steps run, each compiled once. `chain` are those around the file that is compiled."""

    bundles: Mapping[str, Bundle]
    compiled: dict[str, CompiledWorkflow] = field(default_factory=dict)
    chain: tuple[str, ...] = ()

    def inside(self, name: str) -> "_Others":
        """Return the same for a file that the workflow `name` runs."""
        return replace(self, chain=(*self.chain, name))


class _FileCompiler:
    """Compiles one file, from top to bottom, and gathers what is wrong."""

    def __init__(self, bundle: Bundle, registry: StepRegistry, prompts: PromptSource, others: _Others) -> None:
        self.bundle = bundle
        self.registry = registry
        self.prompts = prompts
        self._others = others.inside(str(bundle.definition.get("name")))
        self.findings: list[WorkflowFinding] = []
        self.default_error_mode = ErrorMode.FAIL
        self.run_seconds = float(DEFAULT_RUN_SECONDS)
        self._steps = StepMap()
        self._references = ReferenceChecks(self._steps)
        self._outlets = StepOutlets()

    def compile(self) -> CompiledWorkflow:
        read = read_definition(self.bundle.definition)
        self.findings += read.findings
        self._steps.add_unreadable(read.unreadable_ids)
        raw_name = self.bundle.definition.get("name")
        name = raw_name if isinstance(raw_name, str) else None
        if read.definition is None:
            raise InvalidWorkflowError(self._told(), name=name)
        compiled = self._compile(read.definition)
        if read.definition.steps:  # else every step is unknown, and why is told
            self.findings += self._references.judge()
        if not any(finding.is_error for finding in self.findings):
            self.findings += self._outlets.find_unused(self._references.read_step_ids())
            if compiled.outputs is None:
                message = 'There are no "outputs": the result is what the last step gives.'
                self.warn("", message, code="no_outputs")
        findings = self._told()
        if any(finding.is_error for finding in findings):
            raise InvalidWorkflowError(findings, name=name)
        return replace(compiled, warnings=findings)

    def _told(self) -> tuple[WorkflowFinding, ...]:
        """Return the findings in the order of the file, each once."""
        return tuple(sorted(without_repetition(self.findings), key=_place_in_file))

    def _compile(self, definition: WorkflowDefinition) -> CompiledWorkflow:
        self.default_error_mode = definition.default_error_mode
        self.run_seconds = definition.timeout_seconds
        self._references.note_input_schema(definition.input_schema)
        self._references.note_context({*definition.context, *RESERVED_CONTEXT})
        steps = self.steps(definition.steps, enclosures=(), names=frozenset())
        outputs = None
        if definition.has_outputs:
            self._outlets.has_outputs = True
            where = "outputs" if len(self._others.chain) == 1 else f'outputs of the workflow "{definition.name}"'
            outputs = self.template(
                definition.outputs, "/outputs", place=self._steps.end(), where=where, is_likely=True
            )
        return CompiledWorkflow(
            definition=definition,
            steps=steps,
            outputs=outputs,
            input_schema=self._input_schema(definition.input_schema),
            input_defaults=_defaults_of(definition.input_schema),
            warnings=(),
        )

    def _input_schema(self, schema: Mapping[str, Any]) -> JsonSchema:
        if "input_schema" in self.bundle.definition:
            for fault in find_schema_doubts(schema):
                self.warn(f"/input_schema{fault.pointer}", fault.message, code=fault.code)
        try:
            return JsonSchema(schema)
        except InvalidSchemaError as error:
            for fault in error.faults:
                self.report(f"/input_schema{fault.pointer}", fault.message, code=error.code)
            return JsonSchema({})

    def steps(
        self, definitions: Sequence[StepDefinition], *, enclosures: tuple[Enclosure, ...], names: frozenset[str]
    ) -> tuple[CompiledStep, ...]:
        """Return the steps that could be compiled."""
        compiled = []
        for definition in definitions:
            is_new = definition.id not in self._steps
            place = self._steps.add(definition.id, enclosures=enclosures, names=names)
            if not is_new:
                message = f'The id "{definition.id}" is there twice; ids are unique in the whole file.'
                self.report(pointer_of("id", base=definition.pointer), message, code="duplicate_id")
            step = OneStepCompiler(self, definition, place).compile()
            if step is not None:
                compiled.append(step)
                self._outlets.add(step, definition, container=enclosures[-1].step_id if enclosures else None)
                shape = step.body.output_shape() if is_new and not definition.has_default_value else {}
                self._references.note_output(step.id, shape, step.aliases)
        self._outlets.end_sequence(compiled)
        return tuple(compiled)

    def skip(self, definition: StepDefinition) -> None:
        """Note a step that cannot be compiled: references to what may stand in it are no mistakes as well."""
        self._steps.add_unreadable(ids_in(definition.config))

    def take(self, read: ReadSteps) -> tuple[StepDefinition, ...]:
        """Return the steps of `read` and note what is wrong with the others."""
        self.findings += read.findings
        self._steps.add_unreadable(read.unreadable_ids)
        return read.steps

    def workflow(self, name: str, *, step_id: str) -> CompiledWorkflow:
        """Return the workflow `name`, which the step `step_id` runs. Raises: UnusableWorkflowError."""
        others = self._others
        if name in others.chain:
            raise UnusableWorkflowError.recursion([*others.chain[others.chain.index(name) :], name])
        if name not in others.bundles:
            raise UnusableWorkflowError.unknown(name, known=others.bundles)
        if len(others.chain) > MAX_NESTED_WORKFLOWS:
            raise UnusableWorkflowError.too_deep([*others.chain, name], limit=MAX_NESTED_WORKFLOWS)
        if name not in others.compiled:
            bundle = others.bundles[name]
            inner = _FileCompiler(bundle, self.registry, BundlePrompts(bundle.prompts), others)
            try:
                others.compiled[name] = inner.compile()
            except InvalidWorkflowError as error:
                raise UnusableWorkflowError(error.message, code="broken_workflow") from error
        compiled = others.compiled[name]
        self._steps.add_apart(_ids_of(compiled.steps), step_id)
        return compiled

    def template(
        self,
        value: JsonValue,
        pointer: str,
        *,
        place: Place,
        where: str,
        names: Collection[str] | None = (),
        allows_secrets: bool = False,
        is_likely: bool = False,
        may_be_bare: bool = True,
    ) -> Template:
        """Return `value` compiled and its references checked; what cannot be read is reported."""
        self.findings += doubts_of_text(value, pointer, is_likely=is_likely, may_be_bare=may_be_bare)
        try:
            template = compile_template(value, where=where)
        except NotCompilableError as error:
            for text, below in texts_in(value):  # each text by itself, so that every fault is told at its place
                references, faults = read_every_reference(text, where=where)
                self._report_each(faults, pointer + below)
                self.check_references(
                    references, pointer + below, place=place, names=names, allows_secrets=allows_secrets
                )
            if error.position is None:
                self.report(pointer, error.message, code=error.code)
            return compile_template(None)
        self.check_references(template.references, pointer, place=place, names=names, allows_secrets=allows_secrets)
        return template

    def _report_each(self, faults: Sequence[NotCompilableError], pointer: str) -> None:
        for fault in faults:
            self.report(pointer, fault.message, code=fault.code, offset=fault.position)

    def check_references(
        self,
        references: Sequence[Reference],
        pointer: str,
        *,
        place: Place,
        names: Collection[str] | None = (),
        allows_secrets: bool = False,
    ) -> None:
        """Report references to names that do not exist; what they lead to is judged at the end."""
        for reference in references:
            use = Use(reference, pointer + reference.pointer, place, offset=reference.position)
            self.note_use(use, names=names, allows_secrets=allows_secrets)

    def note_use(self, use: Use, *, names: Collection[str] | None = (), allows_secrets: bool = False) -> None:
        """Report a reference to a name that does not exist; what it leads to is judged at the end."""
        finding = self._references.note(use, names=names, allows_secrets=allows_secrets)
        if finding is not None:
            self.findings.append(finding)

    def report(self, pointer: str, message: str, *, code: str, offset: int | None = None) -> None:
        """Note an error."""
        self.findings.append(WorkflowFinding(pointer=pointer, message=message, code=code, offset=offset))

    def warn(self, pointer: str, message: str, *, code: str, offset: int | None = None) -> None:
        """Note a doubt."""
        self.findings.append(
            WorkflowFinding(pointer=pointer, message=message, code=code, severity=Severity.WARNING, offset=offset)
        )


def _place_in_file(finding: WorkflowFinding) -> list[tuple[int, str]]:
    """Return a key that sorts findings by their pointers, `/steps/2` before `/steps/10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in finding.pointer.split("/")]


def _ids_of(steps: Sequence[CompiledStep]) -> Iterator[str]:
    """Yield the ids of a file's steps, but of none in a workflow that they run."""
    for step in steps:
        yield step.id
        for sequence in step.sequences:
            if not sequence.is_apart:
                yield from _ids_of(sequence.steps)


def _defaults_of(schema: Mapping[str, Any]) -> dict[str, JsonValue]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {
        name: about["default"] for name, about in properties.items() if isinstance(about, dict) and "default" in about
    }
