"""The HTTP face of workflows: what can be submitted, and what a submission needs."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from starlette.responses import PlainTextResponse

from callboard.accounts.auth import check_scope, require
from callboard.accounts.caller import Caller
from callboard.core.problems import BODY_PROBLEMS, problem_responses
from callboard.core.storable_text import StorableText
from callboard.workflows.dependencies import Workflows
from callboard.workflows.dry_runs.schemas import ValidationRead, WorkflowValidate
from callboard.workflows.schemas import BrokenWorkflowRead, WorkflowList, WorkflowRead, WorkflowSummary

router = APIRouter(prefix="/api/v1", tags=["workflows"])

Reader = Annotated[Caller, Depends(require("jobs:read"))]
WorkflowName = Annotated[StorableText, Path(max_length=100, description="Its name, as GET /workflows lists it.")]
DIAGRAM_EXAMPLE = 'flowchart TD\n    step_greet{{"Write the greeting"}}\n'


@router.get("/workflows", summary="List workflows", responses=problem_responses(401, 403, 503))
async def list_workflows(_caller: Reader, workflows: Workflows) -> WorkflowList:
    """List every workflow by name, and beside them the files that are broken, with their errors."""
    return WorkflowList(
        items=[WorkflowSummary.of(each, workflows.provider_of(each.name)) for each in workflows.list_all()],
        broken=[BrokenWorkflowRead.of(each) for each in workflows.broken()],
    )


@router.get(
    "/workflows/schema", summary="Get the JSON Schema of workflow files", responses=problem_responses(401, 403, 503)
)
async def read_file_schema(_caller: Reader, workflows: Workflows) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the workflow format, for editors: what this server's steps take."""
    return dict(workflows.file_schema)


@router.get("/workflows/{name}", summary="Get a workflow", responses=problem_responses(401, 403, 404, 422, 503))
async def read_workflow(
    name: WorkflowName,
    _caller: Reader,
    workflows: Workflows,
) -> WorkflowRead:
    """Return a workflow with its `input_schema` and its file. 422: its file is broken; the errors are listed."""
    return WorkflowRead.of(workflows.get(name), workflows.provider_of(name))


@router.get(
    "/workflows/{name}/diagram",
    summary="Get a workflow as a diagram",
    response_class=PlainTextResponse,
    responses={
        200: {"content": {"text/plain": {"example": DIAGRAM_EXAMPLE}}},
        **problem_responses(401, 403, 404, 422, 503),
    },
)
async def read_diagram(name: WorkflowName, _caller: Reader, workflows: Workflows) -> PlainTextResponse:
    """Return the workflow as a Mermaid flowchart, as text. 422: its file is broken; the errors are listed."""
    return PlainTextResponse(workflows.draw(name))


@router.post(
    "/workflow/validate",
    summary="Check a workflow and estimate a run",
    responses=problem_responses(401, 403, 404, 503, *BODY_PROBLEMS),
)
async def validate_workflow(body: WorkflowValidate, caller: Reader, workflows: Workflows) -> ValidationRead:
    """Return what is wrong with a workflow and its input, the plan of a run, and its tokens, cost and duration.

    Nothing is called and nothing is stored. What is wrong is no error of this request: the answer is 200, with
    `valid` false. 403: a `definition` needs the scope workflows:write. 422: it takes too long to go through.
    """
    if body.definition is None:
        return ValidationRead.of(
            await workflows.rehearse(str(body.workflow_name), body.given_input, tenant_id=caller.tenant_id)
        )
    check_scope(caller, "workflows:write")
    return ValidationRead.of(
        await workflows.dry_runs.of_definition(body.definition, body.given_input, tenant_id=caller.tenant_id)
    )
