"""What answers about workflows look like."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from callboard.workflows.files import LoadedWorkflow


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


class BrokenWorkflowRead(BaseModel):
    """A file that cannot be submitted."""

    file: str
    name: str
    errors: list[str]


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
                        {"file": "draft.json", "name": "draft", "errors": ["draft.json:3:5: is no valid JSON."]}
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
