"""What is doubtful in a file that could run: settings without effect, and text that was meant as a reference.

Called by the compiler. All of it is warnings.
"""

import re
from collections.abc import Iterator

from callboard.core.json_values import JsonValue
from callboard.workflows.definition import ErrorMode, StepDefinition
from callboard.workflows.findings import Severity, WorkflowFinding, pointer_of

WAITING_TYPES = frozenset({"approval", "wait"})  # they fail when their time is up, and that is not tried again
_ROOTS = "input|steps|context|item"
_KEYS = r"(?:\.[\w-]+|\[\d+\]|\[\*\])"
_BARE_STEP = re.compile(rf"\s*(steps\.[\w-]+{_KEYS}+)\s*")
_BARE_PATH = re.compile(rf"\s*((?:input|context|item){_KEYS}+)\s*")
_BRACES = re.compile(r"(?<!\$)\{\{\s*([\w-]+(?:\.[\w-]+)*)\s*\}\}")
_ONE_BRACE = re.compile(rf"(?<![{{$])\{{\s*((?:{_ROOTS}){_KEYS}+)\s*\}}(?!\}})")
_NO_BRACE = re.compile(rf"(?<![\w$])\$((?:{_ROOTS}){_KEYS}+)")
_SPELLINGS = ((_BRACES, "{{%s}}"), (_ONE_BRACE, "{%s}"), (_NO_BRACE, "$%s"))


def doubts_of_step(
    step: StepDefinition, *, mode: ErrorMode, is_container: bool, may_give_default: bool, run_seconds: float
) -> Iterator[WorkflowFinding]:
    """Yield what a step says that has no effect. `mode` is the error mode that counts for it.

    `may_give_default`: its config sends it to its default_value, too.
    """
    if step.has_default_value and mode is not ErrorMode.DEFAULT and not may_give_default:
        message = f'default_value is used under error_mode "default" only; this step\'s is "{mode.value}".'
        yield _doubt(pointer_of("default_value", base=step.pointer), message)
    if step.type in WAITING_TYPES and (step.retry is not None or step.error_mode is ErrorMode.RETRY):
        pointer = pointer_of("error_mode" if step.retry is None else "retry", base=step.pointer)
        message = "A time-out is not tried again: give it more time, or say what follows with on_timeout."
        yield _doubt(pointer, message)
    if step.retry is not None and step.retry.max_attempts == 1:
        message = "max_attempts counts the first attempt too: with 1 nothing is tried again. Write 2 or more."
        yield _doubt(pointer_of("retry", "max_attempts", base=step.pointer), message)
    if step.retry is not None and step.retry.delay_seconds > step.retry.max_delay_seconds:
        message = f"The delay is cut to max_delay_seconds, which is {step.retry.max_delay_seconds:g}. Raise that too."
        yield _doubt(pointer_of("retry", "delay_seconds", base=step.pointer), message)
    if "timeout_seconds" in step.model_fields_set:
        pointer = pointer_of("timeout_seconds", base=step.pointer)
        if is_container:
            yield _doubt(pointer, "timeout_seconds limits one call or transform; set it on the steps inside.")
        elif step.timeout_seconds > run_seconds:
            yield _doubt(
                pointer, f"The whole run ends after {run_seconds:g} s (timeout_seconds at the top of the file)."
            )


def doubts_of_text(
    value: JsonValue, pointer: str, *, is_likely: bool, may_be_bare: bool = True
) -> Iterator[WorkflowFinding]:
    """Yield each text in `value` that looks like a reference and is none.

    `is_likely`: a reference is what one expects here. `may_be_bare`: paths without `${}` have a meaning here.
    """
    stack: list[tuple[JsonValue, str]] = [(value, pointer)]
    while stack:
        item, where = stack.pop()
        if isinstance(item, str):
            yield from _doubts_of(item, where, is_likely=is_likely, may_be_bare=may_be_bare)
        elif isinstance(item, dict):
            stack.extend((child, pointer_of(key, base=where)) for key, child in item.items())
        elif isinstance(item, list):
            stack.extend((child, f"{where}/{index}") for index, child in enumerate(item))


def _doubts_of(text: str, pointer: str, *, is_likely: bool, may_be_bare: bool) -> Iterator[WorkflowFinding]:
    if may_be_bare:
        bare = _BARE_STEP.fullmatch(text) or (_BARE_PATH.fullmatch(text) if is_likely else None)
        if bare is not None:
            yield _misspelt(text, bare.group(1), pointer, bare.start(1))
            return
    if "{" not in text and "$" not in text:
        return
    for pattern, spelling in _SPELLINGS:
        for match in pattern.finditer(text):
            yield _misspelt(spelling % match.group(1), match.group(1), pointer, match.start())


def _misspelt(text: str, path: str, pointer: str, offset: int) -> WorkflowFinding:
    message = f"{text.strip()[:80]} is plain text here. In the definition references are written ${{{path}}}."
    return WorkflowFinding(
        pointer=pointer, message=message, code="not_a_reference", severity=Severity.WARNING, offset=offset
    )


def _doubt(pointer: str, message: str) -> WorkflowFinding:
    return WorkflowFinding(pointer=pointer, message=message, code="no_effect", severity=Severity.WARNING)
