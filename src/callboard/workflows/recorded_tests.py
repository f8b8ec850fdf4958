"""Recorded tests as they stand in `*.test.json` files, and what is wrong with such a file.

Read by `callboard test`; `recorded_test_runs.py` runs what is read here. A file is one case, or gives several in
`cases`; a case takes from the file what it does not say itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from callboard.core.json_values import JsonValue
from callboard.core.playback import Match
from callboard.workflows.expectations import check_matchers
from callboard.workflows.findings import WorkflowFinding, pointer_of
from callboard.workflows.json_files import TEST_SUFFIX
from callboard.workflows.shape_faults import findings_of
from callboard.workflows.source_positions import SourceText

INHERITED = (
    "input",
    "input_file",
    "answers",
    "people",
    "signals",
    "match",
    "expect",
)  # what a case may take from its file


class FailedAnswer(BaseModel):
    """How a call fails, in place of an answer."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field("provider_server_error", description="The code that the step's error then has.")
    message: str = "The test says that this call fails."
    retryable: bool = Field(default=True, description="Whether the step's retry tries again.")


class WrittenAnswer(BaseModel):
    """An answer that somebody wrote, for the calls of one step."""

    model_config = ConfigDict(extra="forbid")

    step: str = Field(description="The step's id, its path, or one call of it (`path#2`).")
    content: Any = Field(None, description="What a model answers: text, or JSON that is given as text.")
    data: Any = Field(None, description="What an outside service answers.")
    error: FailedAnswer | None = Field(None, description="How the call fails.")
    model: str | None = None
    provider: str | None = None
    input_tokens: int = Field(0, ge=0)
    output_tokens: int = Field(0, ge=0)
    duration_ms: int = Field(0, ge=0)
    cost_usd: Decimal | None = Field(None, ge=0, description="What the call costs; of models, otherwise by tokens.")
    finish_reason: str = "stop"
    status_code: int = Field(200, ge=100, le=599)

    @model_validator(mode="after")
    def _check_outcome(self) -> "WrittenAnswer":
        given = {"content", "data", "error"} & self.model_fields_set
        if len(given) != 1:
            raise ValueError("an answer has one of content (of a model), data (of a service), error")
        return self


def _kind_of_answers(value: Any) -> str:
    """Return which way `answers` are given, so that only the faults of that way are told."""
    return "file" if isinstance(value, str) else "written"


class ExpectedError(BaseModel):
    """The error that ends the run. What is left out may be anything."""

    model_config = ConfigDict(extra="forbid")

    type: str | None = Field(None, description="The error's code, such as unresolved_reference.")
    step: str | None = Field(None, description="The id of the step that failed.")
    message: str | None = Field(None, description="Text that the message contains.")


class Expectations(BaseModel):
    """What must be so when the run has ended."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["completed", "failed"] | None = Field(
        None, description="Left out: failed with `error`, else completed."
    )
    error: ExpectedError | None = None
    outputs: Any = Field(None, description='The whole result, with rules such as {"$matches": "^Dear"} where wanted.')
    outputs_contain: Any = Field(None, description="A part of the result: objects may have more keys.")
    steps: list[str] = Field(
        default_factory=list, description="Steps (ids or paths) that run, in this order; others may stand between."
    )
    not_taken: list[str] = Field(default_factory=list, description="Steps that are skipped or never reached.")
    max_cost_usd: Decimal | None = Field(None, ge=0, description="What all calls together may cost.")

    @property
    def expected_status(self) -> str:
        return self.status or ("failed" if self.error is not None else "completed")


class RecordedCase(BaseModel):
    """One run, with its answers and what is expected of it."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", description="What people see, and `-k` looks for.")
    description: str = ""
    input: Any = Field(None, description="The input. Left out, with no input_file: {}.")
    input_file: str | None = Field(None, description="A file with the input, beside this one.")
    answers: Annotated[
        Annotated[str, Tag("file")] | Annotated[list[WrittenAnswer], Tag("written")], Discriminator(_kind_of_answers)
    ] = Field(default_factory=list, description="A file that `--record` wrote, beside this one, or answers by step.")
    people: dict[str, Any] = Field(
        default_factory=dict,
        description="What people answer to approvals: by the step's id or path an answer, or a list of them in turn.",
    )
    signals: dict[str, list[Any]] = Field(
        default_factory=dict, description="The payloads of signals by name, in turn; [] when it does not come."
    )
    match: Match = Field(
        "step",
        description="step: a recorded answer also serves a changed request of its step, with a note. request: not.",
    )
    expect: Expectations = Field(default_factory=Expectations)


class RecordedTestFile(RecordedCase):
    """A `*.test.json` file."""

    schema_url: str | None = Field(None, alias="$schema")
    workflow: str | None = Field(
        None, description="The workflow's file, beside this one. Left out: `x.json` of `x.test.json`."
    )
    cases: list[RecordedCase] | None = Field(
        None, min_length=1, description="Several runs; each takes from above what it does not say."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTests:
    """A test file as it was read: its cases, or why there are none. `raw` is the file as parsed."""

    path: Path
    workflow: Path
    cases: tuple[RecordedCase, ...] = ()
    findings: tuple[WorkflowFinding, ...] = ()
    raw: JsonValue = None
    text: str = field(default="", repr=False)

    def case_pointer(self, index: int) -> str:
        """Return where the case stands in the file."""
        has_cases = isinstance(self.raw, dict) and "cases" in self.raw
        return pointer_of("cases", index) if has_cases else ""

    def locate(self, finding: WorkflowFinding) -> WorkflowFinding:
        """Return `finding` with this file's name, and the line and column of its place."""
        spot = SourceText(self.text).locate(finding.pointer, at_key=finding.is_about_key)
        return replace(finding, file=self.path.name, line=spot.line, column=spot.column)


def read_tests(path: Path) -> ReadTests:
    """Return what the test file `path` holds, with every finding at its line."""
    unread = ReadTests(path=path, workflow=_usual_workflow(path))
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        raw = orjson.loads(data)
    except OSError as error:
        return _with(unread, f"The test cannot be read: {error.strerror or error}.", code="unreadable")
    except orjson.JSONDecodeError as error:
        fault = f"The test is no valid JSON: {error.msg.partition(': line ')[0]}."
        return _with(unread, fault, code="not_json", line=error.lineno, column=error.colno)
    read = replace(unread, raw=raw, text=data.decode())
    try:
        parsed = RecordedTestFile.model_validate(raw)
    except ValidationError as error:
        findings = findings_of(error, raw, model=RecordedTestFile, pointer="")
        return replace(read, findings=tuple(map(read.locate, findings)))
    cases = tuple(_complete(case, parsed) for case in parsed.cases) if parsed.cases else (parsed,)
    read = replace(read, cases=cases, workflow=path.parent / parsed.workflow if parsed.workflow else read.workflow)
    return replace(read, findings=tuple(map(read.locate, _check_rules(read))))


def read_input_of(case: RecordedCase, path: Path) -> JsonValue:
    """Return the input of a case of the test file `path`. Raises: OSError, ValueError."""
    if case.input_file is not None:
        return orjson.loads((path.parent / case.input_file).read_bytes())
    return case.input if "input" in case.model_fields_set else {}


def _usual_workflow(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(TEST_SUFFIX) + ".json")


def _complete(case: RecordedCase, file: RecordedTestFile) -> RecordedCase:
    """Return `case` with what it takes from its file. An input of its own stands for both ways to give one."""
    own = set(case.model_fields_set)
    if own & {"input", "input_file"}:
        own |= {"input", "input_file"}
    taken = {name: getattr(file, name) for name in INHERITED if name in file.model_fields_set - own}
    return case.model_copy(update=taken)


def _check_rules(read: ReadTests) -> Iterator[WorkflowFinding]:
    for index, case in enumerate(read.cases):
        base = pointer_of("expect", base=read.case_pointer(index))
        for name in ("outputs", "outputs_contain"):
            yield from check_matchers(getattr(case.expect, name), pointer_of(name, base=base))


def _with(read: ReadTests, message: str, *, code: str, line: int | None = None, column: int | None = None) -> ReadTests:
    finding = WorkflowFinding(pointer="", message=message, code=code, file=read.path.name, line=line, column=column)
    return replace(read, findings=(finding,))
