"""Turns a bundle into steps that the engine can run, or tells everything that is wrong with it at once.

Called by submit (to refuse a bad file), by `jobs/runner.py` (once per bundle and process) and by the
catalogue's check. It knows no step kind: kinds come from a `StepRegistry` and use a `StepCompiler`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from callboard.core.errors import Finding, UnprocessableError
from callboard.core.json_values import JsonValue
from callboard.workflows.bundles import Bundle
from callboard.workflows.conditions import Condition, ConditionText, Expression, compile_condition, compile_expression
from callboard.workflows.definition import (
    PLANNED_STEP_TYPES,
    ErrorMode,
    ReadSteps,
    RetryPolicy,
    StepDefinition,
    WorkflowDefinition,
    findings_of,
    read_definition,
    read_step,
    read_steps,
)
from callboard.workflows.errors import InvalidPromptError, InvalidWorkflowError, NotCompilableError
from callboard.workflows.findings import Severity, WorkflowFinding, pointer_of, suggest
from callboard.workflows.json_schemas import JsonSchema
from callboard.workflows.prompts import BundlePrompts, Prompt, compile_prompt, load_prompt
from callboard.workflows.reachability import Enclosure, Place, StepMap
from callboard.workflows.references import SCOPE_ROOTS, Reference, Template, compile_template
from callboard.workflows.steps.base import CompiledStep, ConfigT, StepSequence
from callboard.workflows.steps.registry import StepRegistry

SECRETS_ROOT = "secrets"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledWorkflow:
    """A workflow, ready to run as often as wanted. It keeps nothing of a run."""

    definition: WorkflowDefinition
    steps: tuple[CompiledStep, ...]
    outputs: Template | None
    input_schema: JsonSchema
    input_defaults: Mapping[str, JsonValue]
    warnings: tuple[WorkflowFinding, ...]

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def context(self) -> Mapping[str, JsonValue]:
        return self.definition.context

    @property
    def timeout_seconds(self) -> float:
        return self.definition.timeout_seconds

    @property
    def total_steps(self) -> int:
        """The number of top-level steps: what progress counts in."""
        return len(self.steps)

    def validate_input(self, value: JsonValue) -> list[Finding]:
        """Return everything in `value` that `input_schema` refuses; pointers start at the input."""
        return self.input_schema.check(self.complete_input(value))

    def complete_input(self, value: JsonValue) -> JsonValue:
        """Return `value` with the defaults that `input_schema` gives for absent top-level properties."""
        if not isinstance(value, dict) or self.input_defaults.keys() <= value.keys():
            return value
        return {**self.input_defaults, **value}


def compile_workflow(bundle: Bundle, registry: StepRegistry) -> CompiledWorkflow:
    """Return the workflow of `bundle`, every template, condition and prompt in it read once.

    Raises: InvalidWorkflowError, with every error and warning at once.
    """
    return _FileCompiler(bundle, registry).compile()


class _StepRefusedError(Exception):
    """This step cannot be compiled; why is among the findings."""


class _FileCompiler:
    """Compiles one file, from top to bottom, and gathers what is wrong."""

    def __init__(self, bundle: Bundle, registry: StepRegistry) -> None:
        self.bundle = bundle
        self.registry = registry
        self.prompts = BundlePrompts(bundle.prompts)
        self.findings: list[WorkflowFinding] = []
        self.default_error_mode = ErrorMode.FAIL
        self._steps = StepMap()

    def compile(self) -> CompiledWorkflow:
        read = read_definition(self.bundle.definition)
        self.findings += read.findings
        self._steps.add_unreadable(read.unreadable_ids)
        raw_name = self.bundle.definition.get("name")
        name = raw_name if isinstance(raw_name, str) else None
        if read.definition is None:
            self._check_steps_of_broken_file()
            raise InvalidWorkflowError(sorted(self.findings, key=_place_in_file), name=name)
        compiled = self._compile(read.definition)
        self.findings += self._steps.judge()
        findings = sorted(self.findings, key=_place_in_file)
        if any(finding.is_error for finding in findings):
            raise InvalidWorkflowError(findings, name=name)
        return replace(compiled, warnings=tuple(findings))

    def _compile(self, definition: WorkflowDefinition) -> CompiledWorkflow:
        self.default_error_mode = definition.default_error_mode
        steps = self.steps(definition.steps, enclosures=(), names=frozenset())
        outputs = None
        if definition.has_outputs:
            outputs = self.template(definition.outputs, "/outputs", place=self._steps.end(), where="outputs")
        else:
            self._warn("", "There are no outputs: the result is what the last step gives.", code="no_outputs")
        return CompiledWorkflow(
            definition=definition,
            steps=steps,
            outputs=outputs,
            input_schema=self._input_schema(definition.input_schema),
            input_defaults=_defaults_of(definition.input_schema),
            warnings=(),
        )

    def _check_steps_of_broken_file(self) -> None:
        """Look at the steps even where the top level cannot be read, so that their faults are told too."""
        raw_steps = self.bundle.definition.get("steps")
        if isinstance(raw_steps, list):
            self.steps(read_steps(raw_steps, pointer="/steps").steps, enclosures=(), names=frozenset())
            self.findings += self._steps.judge()

    def _input_schema(self, schema: Mapping[str, Any]) -> JsonSchema:
        try:
            return JsonSchema(schema)
        except NotCompilableError as error:
            self.report("/input_schema", error.message, code=error.code)
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
            step = _OneStepCompiler(self, definition, place).compile()
            if step is not None:
                compiled.append(step)
        return tuple(compiled)

    def take(self, read: ReadSteps) -> tuple[StepDefinition, ...]:
        """Return the steps of `read` and note what is wrong with the others."""
        self.findings += read.findings
        self._steps.add_unreadable(read.unreadable_ids)
        return read.steps

    def template(
        self,
        value: JsonValue,
        pointer: str,
        *,
        place: Place,
        where: str,
        names: Collection[str] | None = (),
        allows_secrets: bool = False,
    ) -> Template:
        """Return `value` compiled and its references checked; what cannot be read is reported."""
        try:
            template = compile_template(value, where=where)
        except NotCompilableError as error:
            children = _children_of(value)
            if not children:
                self.report(pointer, error.message, code=error.code)
            for key, child in children:  # each text by itself, so that every fault is told at its place
                self.template(
                    child,
                    pointer_of(key, base=pointer),
                    place=place,
                    where=where,
                    names=names,
                    allows_secrets=allows_secrets,
                )
            return compile_template(None)
        self.check_references(template.references, pointer, place=place, names=names, allows_secrets=allows_secrets)
        return template

    def check_references(
        self,
        references: Sequence[Reference],
        pointer: str,
        *,
        place: Place,
        names: Collection[str] | None = (),
        allows_secrets: bool = False,
    ) -> None:
        """Report references to names that do not exist; those to steps are judged at the end."""
        known = {*place.names, *(names or ())}
        for reference in references:
            where = pointer + reference.pointer
            if reference.root in known:
                continue
            if reference.step_id is not None:
                self._steps.note_use(reference, where, place)
            elif reference.root == SECRETS_ROOT:
                if not allows_secrets:
                    message = f"${{{reference.text}}}: secrets are for the config of external_api steps only."
                    self.report(where, message, code="secret_not_allowed")
            elif reference.root not in SCOPE_ROOTS and names is not None:
                hint = suggest(reference.root, [*known, *SCOPE_ROOTS], what="There are:")
                message = f'${{{reference.text}}}: there is nothing called "{reference.root}" here.{hint}'
                self.report(where, message, code="unknown_reference")

    def report(self, pointer: str, message: str, *, code: str) -> None:
        """Note an error."""
        self.findings.append(WorkflowFinding(pointer=pointer, message=message, code=code))

    def _warn(self, pointer: str, message: str, *, code: str) -> None:
        self.findings.append(WorkflowFinding(pointer=pointer, message=message, code=code, severity=Severity.WARNING))


class _OneStepCompiler:
    """The `StepCompiler` of one step; see there."""

    def __init__(self, file: _FileCompiler, definition: StepDefinition, place: Place) -> None:
        self._file = file
        self._definition = definition
        self._place = place
        self._sequences: list[StepSequence] = []

    def compile(self) -> CompiledStep | None:
        """Return the step, or None when it cannot be compiled."""
        definition = self._definition
        when = self._when()
        default_value = self._default_value()
        try:
            kind = self._file.registry.get(definition.type)
            body = kind.compile(self)
        except UnprocessableError as error:
            if definition.type not in PLANNED_STEP_TYPES:  # of those the definition has told already
                self._file.report(pointer_of("type", base=definition.pointer), error.message, code=error.code)
            return None
        except _StepRefusedError:
            return None
        mode = definition.error_mode or self._file.default_error_mode
        retry = definition.retry
        if mode is ErrorMode.RETRY:
            mode, retry = ErrorMode.FAIL, retry or RetryPolicy()
        return CompiledStep(
            id=definition.id,
            type=definition.type,
            body=body,
            is_container=kind.is_container,
            when=when,
            error_mode=mode,
            default_value=default_value,
            retry=retry,
            timeout_seconds=definition.timeout_seconds,
            aliases=definition.outputs,
            sequences=tuple(self._sequences),
        )

    def _when(self) -> Condition | None:
        if self._definition.when is True:
            return None
        return self._condition(self._definition.when, pointer_of("when", base=self._definition.pointer), names=())

    def _default_value(self) -> Template | None:
        definition = self._definition
        pointer = pointer_of("default_value", base=definition.pointer)
        if definition.has_default_value:
            return self._file.template(
                definition.default_value, pointer, place=self._place, where=f'step "{definition.id}"'
            )
        if definition.error_mode is None and self._file.default_error_mode is ErrorMode.DEFAULT:
            message = "The file's default_error_mode is default, so this step needs a default_value (null is one)."
            self._file.report(definition.pointer, message, code="shape")
        return None

    @property
    def raw(self) -> Mapping[str, Any]:
        return self._definition.config

    @property
    def defaults(self) -> Mapping[str, Any]:
        return self._file.bundle.defaults

    @property
    def markdown_schemas(self) -> Mapping[str, Mapping[str, Any]]:
        return self._file.bundle.markdown_schemas

    def config(self, model: type[ConfigT]) -> ConfigT:
        return self.parse(self._definition.config, model)

    def parse(self, raw: Mapping[str, Any], model: type[ConfigT], *place: str | int) -> ConfigT:
        try:
            return model.model_validate(dict(raw))
        except ValidationError as error:
            self._file.findings += self._findings_in_file(error, raw, model, place)
            raise _StepRefusedError from error

    def check(
        self, raw: Mapping[str, Any], model: type[BaseModel], *place: str | int, codes: Collection[str] | None = None
    ) -> None:
        try:
            model.model_validate(dict(raw))
        except ValidationError as error:
            found = self._findings_in_file(error, raw, model, place)
            self._file.findings += [finding for finding in found if codes is None or finding.code in codes]

    def _findings_in_file(
        self, error: ValidationError, raw: Mapping[str, Any], model: type[BaseModel], place: tuple[str | int, ...]
    ) -> list[WorkflowFinding]:
        found = findings_of(error, dict(raw), model=model, pointer=pointer_of(*place))
        return [replace(finding, pointer=self._in_file(finding.pointer)) for finding in found]

    def _in_file(self, pointer: str) -> str:
        """Return the pointer into the file of what stands at `pointer` in the config."""
        if not pointer:
            return self._definition.pointer_to()
        first, slash, rest = pointer[1:].partition("/")
        return self._definition.pointer_to(first.replace("~1", "/").replace("~0", "~")) + slash + rest

    def template(
        self, value: JsonValue, *place: str | int, names: Collection[str] | None = (), allows_secrets: bool = False
    ) -> Template:
        return self._file.template(
            value,
            self._definition.pointer_to(*place),
            place=self._place,
            where=self._where,
            names=names,
            allows_secrets=allows_secrets,
        )

    def condition(self, text: ConditionText, *place: str | int, names: Collection[str] = ()) -> Condition:
        return self._condition(text, self._definition.pointer_to(*place), names=names)

    def _condition(self, text: ConditionText, pointer: str, *, names: Collection[str]) -> Condition:
        try:
            condition = compile_condition(text, where=self._where)
        except NotCompilableError as error:
            self._file.report(pointer, error.message, code=error.code)
            return compile_condition(text=True, where=self._where)
        self._file.check_references(condition.references, pointer, place=self._place, names=names)
        return condition

    def expression(self, text: str, *place: str | int, names: Collection[str] = ()) -> Expression:
        pointer = self._definition.pointer_to(*place)
        try:
            expression = compile_expression(text, where=self._where)
        except NotCompilableError as error:
            self._file.report(pointer, error.message, code=error.code)
            return compile_expression("null", where=self._where)
        self._file.check_references(expression.references, pointer, place=self._place, names=names)
        return expression

    def prompt(self, path: str, *place: str | int, variables: Collection[str]) -> Prompt:
        pointer = self._definition.pointer_to(*place)
        try:
            prompt = load_prompt(self._file.prompts, path)
        except InvalidPromptError as error:
            return self._no_prompt(pointer, error)
        self._check_prompt(prompt, pointer, variables)
        return prompt

    def prompt_text(self, text: str, *place: str | int, variables: Collection[str]) -> Prompt:
        pointer = self._definition.pointer_to(*place)
        try:
            prompt = compile_prompt(text, self._file.prompts, where=self._where)
        except InvalidPromptError as error:
            return self._no_prompt(pointer, error)
        self._check_prompt(prompt, pointer, variables)
        return prompt

    def _no_prompt(self, pointer: str, error: InvalidPromptError) -> Prompt:
        self._file.report(pointer, error.message, code=error.code)
        return compile_prompt("", self._file.prompts)

    def _check_prompt(self, prompt: Prompt, pointer: str, variables: Collection[str]) -> None:
        for problem in prompt.check(variables, local_names=self._place.names):
            self._file.findings.append(
                WorkflowFinding(pointer=pointer, message=problem.message, code=problem.code, severity=problem.severity)
            )
        of_steps = [reference for reference in prompt.references if reference.step_id is not None]
        of_steps += [
            Reference(word, "steps", tuple(word.split(".")[1:])) for word in prompt.words if word.startswith("steps.")
        ]
        self._file.check_references(of_steps, pointer, place=self._place, names=variables)

    def sequence(
        self, raw_steps: JsonValue, *place: str | int, branch: str = "", loop_names: Collection[str] | None = None
    ) -> StepSequence:
        pointer = self._definition.pointer_to(*place)
        definitions = self._file.take(_read_sequence(raw_steps, pointer))
        is_loop = loop_names is not None
        enclosure = Enclosure(self._definition.id, pointer, is_loop)
        steps = self._file.steps(
            definitions,
            enclosures=(*self._place.enclosures, enclosure),
            names=self._place.names.union(loop_names or ()),
        )
        sequence = StepSequence(steps, branch=branch, is_loop=is_loop)
        self._sequences.append(sequence)
        return sequence

    def report(self, message: str, *place: str | int, code: str) -> None:
        self._file.report(self._definition.pointer_to(*place), message, code=code)

    def refuse(self, message: str, *place: str | int, code: str) -> NoReturn:
        self.report(message, *place, code=code)
        raise _StepRefusedError

    @property
    def _where(self) -> str:
        return f'step "{self._definition.id}"'


def _read_sequence(raw_steps: JsonValue, pointer: str) -> ReadSteps:
    if not isinstance(raw_steps, dict):
        return read_steps(raw_steps, pointer=pointer)
    step, findings = read_step(raw_steps, pointer=pointer)
    raw_id = raw_steps.get("id")
    unreadable = frozenset({raw_id}) if step is None and isinstance(raw_id, str) else frozenset[str]()
    return ReadSteps(() if step is None else (step,), tuple(findings), unreadable)


def _children_of(value: JsonValue) -> list[tuple[str | int, JsonValue]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def _place_in_file(finding: WorkflowFinding) -> list[tuple[int, str]]:
    """Return a key that sorts findings by their pointers, `/steps/2` before `/steps/10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in finding.pointer.split("/")]


def _defaults_of(schema: Mapping[str, Any]) -> dict[str, JsonValue]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {
        name: about["default"] for name, about in properties.items() if isinstance(about, dict) and "default" in about
    }
