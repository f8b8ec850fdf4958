"""What the workflow router is given: the service that `main.py` put into the application."""

from typing import Annotated

from fastapi import Depends, Request

from callboard.workflows.service import WorkflowService


def workflow_service(request: Request) -> WorkflowService:
    """Return the process's WorkflowService."""
    service: WorkflowService = request.app.state.catalogue
    return service


Workflows = Annotated[WorkflowService, Depends(workflow_service)]
