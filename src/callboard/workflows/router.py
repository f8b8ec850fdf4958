"""The HTTP face of workflows: what can be submitted, and what a submission needs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from callboard.accounts.auth import require
from callboard.accounts.caller import Caller
from callboard.core.problems import problem_responses
from callboard.core.storable_text import StorableText
from callboard.workflows.dependencies import Workflows
from callboard.workflows.schemas import BrokenWorkflowRead, WorkflowList, WorkflowRead, WorkflowSummary

router = APIRouter(prefix="/api/v1/workflows", tags=["workflows"])

Reader = Annotated[Caller, Depends(require("jobs:read"))]


@router.get("", summary="List workflows", responses=problem_responses(401, 403, 503))
async def list_workflows(_caller: Reader, workflows: Workflows) -> WorkflowList:
    """List every workflow by name, and beside them the files that are broken, with their errors."""
    return WorkflowList(
        items=[WorkflowSummary.of(each, workflows.provider_of(each.name)) for each in workflows.list_all()],
        broken=[
            BrokenWorkflowRead(
                file=each.path.name, name=each.name, errors=[f.describe() for f in each.findings if f.is_error]
            )
            for each in workflows.broken()
        ],
    )


@router.get("/{name}", summary="Get a workflow", responses=problem_responses(401, 403, 404, 422, 503))
async def read_workflow(
    name: Annotated[StorableText, Path(max_length=100, description="Its name, as GET /workflows lists it.")],
    _caller: Reader,
    workflows: Workflows,
) -> WorkflowRead:
    """Return a workflow with its `input_schema` and its file. 422: its file is broken; the errors are listed."""
    return WorkflowRead.of(workflows.get(name), workflows.provider_of(name))
