"""What answers about workflows look like."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from callboard.workflows.files import BrokenWorkflow, LoadedWorkflow
from callboard.workflows.findings import Severity, WorkflowFinding


class WorkflowSummary(BaseModel):
    """A workflow in a list."""

    name: str
    version: str
    description: str
    total_steps: int = Field(description="Top-level steps.")
    provider: str = Field(description="Who serves llm steps that name no provider; resolved again at each submit.")

    @classmethod
    def of(cls, workflow: LoadedWorkflow, provider: str) -> "WorkflowSummary":
        return cls(**_summary_values(workflow, provider))


class WorkflowRead(WorkflowSummary):
    """A workflow, with what it takes and how it is defined."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "hello",
                    "version": "1.0.0",
                    "description": "Says hello.",
                    "total_steps": 1,
                    "provider": "replay",
                    "input_schema": {"type": "object"},
                    "definition": {"name": "hello", "steps": []},
                    "warnings": [],
                }
            ]
        }
    )

    input_schema: Any = Field(description="JSON Schema of `input_data`.")
    definition: dict[str, Any] = Field(description="The workflow file.")
    warnings: list[str] = Field(description="What is doubtful about the file, and keeps it from nothing.")

    @classmethod
    def of(cls, workflow: LoadedWorkflow, provider: str) -> "WorkflowRead":
        return cls(
            **_summary_values(workflow, provider),
            input_schema=workflow.definition.input_schema,
            definition=workflow.raw,
            warnings=[finding.describe() for finding in workflow.warnings],
        )


class RelatedPlaceRead(BaseModel):
    """A place in another file that a finding is about, such as a line of a prompt."""

    file: str = Field(description="Its path in the folder of prompts, or of Markdown schemas.")
    line: int
    column: int


class FindingRead(BaseModel):
    """One thing that is wrong, or doubtful, in a workflow file."""

    severity: Severity
    code: str = Field(description="The kind of mistake, for programs.")
    message: str = Field(description="What is wrong, and what to do.")
    pointer: str = Field(description='JSON pointer into the definition; "" is the whole of it.')
    file: str | None = Field(None, description="The workflow file; null for a definition that came in a request.")
    line: int | None = Field(None, description="Line in that file, from 1.")
    column: int | None = Field(None, description="Character in that line, from 1.")
    related: RelatedPlaceRead | None = None

    @classmethod
    def of(cls, finding: WorkflowFinding) -> "FindingRead":
        place = finding.related
        related = None if place is None else RelatedPlaceRead(file=place.file, line=place.line, column=place.column)
        return cls(
            severity=finding.severity,
            code=finding.code,
            message=finding.message,
            pointer=finding.pointer,
            file=finding.file,
            line=finding.line,
            column=finding.column,
            related=related,
        )


class BrokenWorkflowRead(BaseModel):
    """A file that cannot be submitted."""

    file: str
    name: str
    errors: list[str] = Field(description="The errors among `findings`, each as one line.")
    findings: list[FindingRead] = Field(description="Everything that is wrong or doubtful, in the file's order.")

    @classmethod
    def of(cls, broken: BrokenWorkflow) -> "BrokenWorkflowRead":
        return cls(
            file=broken.path.name,
            name=broken.name,
            errors=[finding.describe() for finding in broken.findings if finding.is_error],
            findings=[FindingRead.of(finding) for finding in broken.findings],
        )


class WorkflowList(BaseModel):
    """All workflows, by name, and the files that are broken."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "name": "hello",
                            "version": "1.0.0",
                            "description": "Says hello.",
                            "total_steps": 1,
                            "provider": "replay",
                        }
                    ],
                    "broken": [
                        {
                            "file": "draft.json",
                            "name": "draft",
                            "errors": ["draft.json:3:5: A comma too many. Remove it."],
                            "findings": [
                                {
                                    "severity": "error",
                                    "code": "not_json",
                                    "message": "A comma too many. Remove it.",
                                    "pointer": "",
                                    "file": "draft.json",
                                    "line": 3,
                                    "column": 5,
                                    "related": None,
                                }
                            ],
                        }
                    ],
                    "next_cursor": None,
                }
            ]
        }
    )

    items: list[WorkflowSummary]
    broken: list[BrokenWorkflowRead]
    next_cursor: None = Field(None, description="Always null: all stand on one page.")


def _summary_values(workflow: LoadedWorkflow, provider: str) -> dict[str, Any]:
    return {
        "name": workflow.name,
        "version": workflow.definition.version,
        "description": workflow.definition.description,
        "total_steps": len(workflow.definition.steps),
        "provider": provider,
    }
