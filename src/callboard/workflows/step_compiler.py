"""Compiles one step: the `StepCompiler` that step kinds are handed. `compiler.py` calls it once per step.

What the steps of a file share it asks of the `FileCompiler`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, Protocol

from pydantic import BaseModel, ValidationError

from callboard.core.errors import UnprocessableError
from callboard.core.json_values import JsonValue
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.conditions import Condition, ConditionText, Expression, compile_condition, compile_expression
from callboard.workflows.definition import (
    ErrorMode,
    ReadSteps,
    RetryPolicy,
    StepDefinition,
    read_step,
    read_steps,
)
from callboard.workflows.errors import InvalidConditionError, InvalidPromptError, UnusableWorkflowError
from callboard.workflows.findings import WorkflowFinding, pointer_of
from callboard.workflows.prompts import (
    Prompt,
    PromptSource,
    compile_prompt,
    findings_of_prompt,
    load_prompt,
)
from callboard.workflows.reachability import Enclosure, Place
from callboard.workflows.reference_checks import Use
from callboard.workflows.references import (
    Reference,
    Template,
    read_every_reference,
    texts_in,
)
from callboard.workflows.shape_faults import findings_of
from callboard.workflows.step_doubts import doubts_of_step
from callboard.workflows.steps.base import CompiledStep, ConfigT, StepBody, StepSequence
from callboard.workflows.steps.registry import StepRegistry

_LIKELY_PLACES = frozenset({("input",), ("source",), ("for_each",), ("variables",)})  # of references

ABOUT_NAMES = frozenset({"unknown_field", "missing_field"})  # findings that no reference can mend


class _StepRefusedError(Exception):
    """This step cannot be compiled; why is among the findings."""


class FileCompiler(Protocol):
    """What the steps of a file share while it is compiled: its bundle, its findings, and who may read whom."""

    findings: list[WorkflowFinding]

    @property
    def bundle(self) -> Bundle: ...

    @property
    def registry(self) -> StepRegistry: ...

    @property
    def prompts(self) -> PromptSource: ...

    @property
    def default_error_mode(self) -> ErrorMode: ...

    @property
    def run_seconds(self) -> float: ...

    def steps(
        self, definitions: Sequence[StepDefinition], *, enclosures: tuple[Enclosure, ...], names: frozenset[str]
    ) -> tuple[CompiledStep, ...]:
        """Return the steps that could be compiled."""

    def skip(self, definition: StepDefinition) -> None:
        """Note a step that cannot be compiled: references to what may stand in it are no mistakes as well."""

    def take(self, read: ReadSteps) -> tuple[StepDefinition, ...]:
        """Return the steps of `read` and note what is wrong with the others."""

    def workflow(self, name: str, *, step_id: str) -> CompiledWorkflow:
        """Return the workflow `name`, which a step runs. Raises: UnusableWorkflowError."""

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

    def note_use(self, use: Use, *, names: Collection[str] | None = (), allows_secrets: bool = False) -> None:
        """Report a reference to a name that does not exist; what it leads to is judged at the end."""

    def report(self, pointer: str, message: str, *, code: str, offset: int | None = None) -> None:
        """Note an error."""

    def warn(self, pointer: str, message: str, *, code: str, offset: int | None = None) -> None:
        """Note a doubt."""


class OneStepCompiler:
    """The `StepCompiler` of one step; see there."""

    def __init__(self, file: FileCompiler, definition: StepDefinition, place: Place) -> None:
        self._file = file
        self._definition = definition
        self._place = place
        self._sequences: list[StepSequence] = []
        self._budget_usd: float | None = None
        self._reads: list[Reference] = []
        self._told: set[str] = set()  # places of faults in sequences, which the config's model refuses again

    def compile(self) -> CompiledStep | None:
        """Return the step, or None when it cannot be compiled."""
        definition = self._definition
        when = self._when()
        default_value = self._default_value()
        try:
            kind = self._file.registry.get(definition.type)
            body = kind.compile(self)
        except UnprocessableError as error:
            self._file.report(pointer_of("type", base=definition.pointer), error.message, code=error.code)
            self._file.skip(self._definition)
            return None
        except _StepRefusedError:
            self._file.skip(self._definition)
            return None
        mode = definition.error_mode or self._file.default_error_mode
        self._file.findings += doubts_of_step(
            definition,
            mode=mode,
            is_container=kind.is_container,
            may_give_default=body.may_give_default(),
            run_seconds=self._file.run_seconds,
        )
        if body.may_give_default() and not definition.has_default_value:
            message = 'on_timeout "default" needs a default_value on the step (null is one).'
            self._file.report(definition.pointer_to("on_timeout"), message, code="shape")
        self._doubt_aliases(body)
        retry = definition.retry
        if mode is ErrorMode.RETRY:
            mode, retry = ErrorMode.FAIL, retry or RetryPolicy()
        return CompiledStep(
            id=definition.id,
            type=definition.type,
            body=body,
            display_name=definition.display_name,
            pointer=definition.pointer,
            reads=tuple(self._reads),
            is_container=kind.is_container,
            when=when,
            error_mode=mode,
            default_value=default_value,
            retry=retry,
            timeout_seconds=definition.timeout_seconds,
            aliases=definition.outputs,
            sequences=tuple(self._sequences),
            budget_usd=self._budget_usd,
        )

    def _doubt_aliases(self, body: StepBody) -> None:
        keys = body.output_shape().get("properties", {})
        for index, alias in enumerate(self._definition.outputs):
            if alias in keys:
                message = (
                    f'The alias "{alias}" hides the key of that name in the step\'s output; '
                    f"that one is then ${{steps.{self._definition.id}.output.{alias}}}."
                )
                pointer = pointer_of("outputs", index, base=self._definition.pointer)
                self._file.warn(pointer, message, code="alias_hides_key")

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
    def step_name(self) -> str:
        return self._definition.display_name or self._definition.id

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

    def check(self, raw: Mapping[str, Any], model: type[BaseModel], *place: str | int) -> None:
        try:
            model.model_validate(dict(raw))
        except ValidationError as error:
            found = findings_of(error, dict(raw), model=model, pointer="")
            known = [finding for finding in found if finding.code in ABOUT_NAMES or _is_known(raw, finding.pointer)]
            base = pointer_of(*place)
            self._file.findings += [replace(each, pointer=self._in_file(base + each.pointer)) for each in known]

    def _findings_in_file(
        self, error: ValidationError, raw: Mapping[str, Any], model: type[BaseModel], place: tuple[str | int, ...]
    ) -> list[WorkflowFinding]:
        found = findings_of(error, dict(raw), model=model, pointer=pointer_of(*place))
        placed = [replace(finding, pointer=self._in_file(finding.pointer)) for finding in found]
        return [finding for finding in placed if finding.pointer not in self._told]

    def _in_file(self, pointer: str) -> str:
        """Return the pointer into the file of what stands at `pointer` in the config."""
        if not pointer:
            return self._definition.pointer_to()
        first, slash, rest = pointer[1:].partition("/")
        return self._definition.pointer_to(first.replace("~1", "/").replace("~0", "~")) + slash + rest

    def template(
        self, value: JsonValue, *place: str | int, names: Collection[str] | None = (), allows_secrets: bool = False
    ) -> Template:
        template = self._file.template(
            value,
            self._definition.pointer_to(*place),
            place=self._place,
            where=self._where,
            names=names,
            allows_secrets=allows_secrets,
            is_likely=place[:1] in _LIKELY_PLACES,
            may_be_bare=place[:1] != ("config",),  # operations take paths of their input there
        )
        self._reads += template.references
        return template

    def condition(self, text: ConditionText, *place: str | int, names: Collection[str] = ()) -> Condition:
        if text is True and place == ("condition",):
            self.warn("The condition is always true, so if_false is never taken.", *place, code="constant_condition")
        condition = self._condition(text, self._definition.pointer_to(*place), names=names)
        self._reads += condition.references
        return condition

    def _condition(self, text: ConditionText, pointer: str, *, names: Collection[str]) -> Condition:
        try:
            condition = compile_condition(text, where=self._where)
        except InvalidConditionError as error:
            self._report_each(error, pointer)
            return compile_condition(text=True, where=self._where)
        constant = condition.constant_value()
        if constant is not None and text is not True:
            words = "true: it decides nothing" if constant else "false: what depends on it never runs"
            self._file.warn(pointer, f"The condition is always {words}.", code="constant_condition")
        self._file.check_references(condition.references, pointer, place=self._place, names=names)
        return condition

    def expression(self, text: str, *place: str | int, names: Collection[str] = ()) -> Expression:
        pointer = self._definition.pointer_to(*place)
        try:
            expression = compile_expression(text, where=self._where)
        except InvalidConditionError as error:
            self._report_each(error, pointer)
            return compile_expression("null", where=self._where)
        self._file.check_references(expression.references, pointer, place=self._place, names=names)
        self._reads += expression.references
        return expression

    def _report_each(self, error: InvalidConditionError, pointer: str) -> None:
        for fault in error.faults:
            self._file.report(pointer, fault.message, code=fault.code, offset=fault.position)

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
            readable, _ = read_every_reference(text, where=self._where)
            self._file.check_references(readable, pointer, place=self._place, names=variables)
            return self._no_prompt(pointer, error)
        self._check_prompt(prompt, pointer, variables)
        return prompt

    def _no_prompt(self, pointer: str, error: InvalidPromptError) -> Prompt:
        self._file.findings += findings_of_prompt(error, pointer)
        return compile_prompt("", self._file.prompts)

    def _check_prompt(self, prompt: Prompt, pointer: str, variables: Collection[str]) -> None:
        for problem in prompt.check(variables, local_names=self._place.names):
            self._file.findings.append(problem.as_finding(pointer))
        for file, reference in prompt.uses_of_scope(variables):
            place = partial(prompt.place_in, file, reference)
            offset = None if file else reference.position
            self._file.note_use(Use(reference, pointer, self._place, offset, place if file else None), names=variables)
            self._reads.append(reference)

    def sequence(
        self, raw_steps: JsonValue, *place: str | int, branch: str = "", loop_names: Collection[str] | None = None
    ) -> StepSequence:
        pointer = self._definition.pointer_to(*place)
        read = _read_sequence(raw_steps, pointer)
        self._told |= {finding.pointer for finding in read.findings}
        definitions = self._file.take(read)
        is_loop = loop_names is not None
        self._doubt_loop_names(loop_names or ())
        enclosure = Enclosure(self._definition.id, pointer, is_loop)
        steps = self._file.steps(
            definitions,
            enclosures=(*self._place.enclosures, enclosure),
            names=self._place.names.union(loop_names or ()),
        )
        sequence = StepSequence(steps, branch=branch, is_loop=is_loop)
        self._sequences.append(sequence)
        return sequence

    def workflow(self, name: str, *place: str | int) -> CompiledWorkflow:
        try:
            workflow = self._file.workflow(name, step_id=self._definition.id)
        except UnusableWorkflowError as error:
            self.refuse(error.message, *place, code=error.code)
        self._sequences.append(workflow.sequence)
        self._budget_usd = workflow.definition.budget_usd
        return workflow

    def _doubt_loop_names(self, names: Collection[str]) -> None:
        for name in sorted(self._place.names.intersection(names) - {"index"}):
            message = f'The loop around this one calls its item "{name}" too, which is hidden here. Name one by "as".'
            self.warn(message, "as" if "as" in self.raw else "for_each", code="name_hidden")

    def report(self, message: str, *place: str | int, code: str) -> None:
        self._file.report(self._definition.pointer_to(*place), message, code=code)

    def warn(self, message: str, *place: str | int, code: str) -> None:
        self._file.warn(self._definition.pointer_to(*place), message, code=code)

    def refuse(self, message: str, *place: str | int, code: str) -> NoReturn:
        self.report(message, *place, code=code)
        raise _StepRefusedError

    @property
    def _where(self) -> str:
        return f'step "{self._definition.id}"'


def _is_known(raw: JsonValue, pointer: str) -> bool:
    """Whether what stands at `pointer` in `raw`, or around it, holds no reference: it is now what it will be."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(raw, dict) and name in raw:
            raw = raw[name]
        elif isinstance(raw, list) and name.isdigit() and int(name) < len(raw):
            raw = raw[int(name)]
        else:
            break  # a field by another of its names
    return not any("${" in text for text, _ in texts_in(raw))


def _read_sequence(raw_steps: JsonValue, pointer: str) -> ReadSteps:
    """Return the steps of a list, or the one step that stands where a list should: the config's model tells that."""
    if raw_steps is None:
        return ReadSteps((), ())
    if not isinstance(raw_steps, dict) or not raw_steps.keys() & {"id", "type"}:
        return read_steps(raw_steps, pointer=pointer)
    step, findings = read_step(raw_steps, pointer=pointer)
    raw_id = raw_steps.get("id")
    unreadable = frozenset({raw_id}) if step is None and isinstance(raw_id, str) else frozenset[str]()
    return ReadSteps(() if step is None else (step,), tuple(findings), unreadable)
