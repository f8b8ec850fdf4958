"""The server that `submit_latency.py` measures: the product's own application and worker, in a process of its own.

    python -m bench.server        (settings from the environment, as `callboard serve` reads them)

It is `callboard serve --json --port 0`: one JSON line with its address when it listens, and the end when its
standard input closes. Beside the product's routes it has three of its own, under /bench.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Annotated
from unittest import mock

from fastapi import APIRouter, Depends, FastAPI, Request, Response, status

import callboard.cli.serve
from bench.product import CALLER, HOLD, bench_steps
from callboard.accounts.auth import require
from callboard.accounts.caller import Caller
from callboard.core.config import Settings
from callboard.core.ids import new_uuid
from callboard.jobs.schemas import JobAccepted, JobCreate
from callboard.main import create_app
from callboard.wiring import Services, serving
from callboard.workflows.dependencies import Workflows

router = APIRouter(prefix="/bench")


@router.post("/validate", status_code=status.HTTP_202_ACCEPTED)
async def validate_only(
    body: JobCreate,
    _caller: Annotated[Caller, Depends(require("jobs:write"))],
    workflows: Workflows,
    response: Response,
) -> JobAccepted:
    """Do what a submit does up to the point where it stores something: the floor of `POST /workflow`."""
    findings = workflows.prepare(body.workflow_name).compiled.validate_input(body.input_data)
    assert not findings, findings
    job_id = new_uuid()
    response.headers["Location"] = f"/api/v1/status/{job_id}"
    return JobAccepted(
        job_id=job_id, celery_task_id=str(new_uuid()), estimated_wait_seconds=0, status_url=response.headers["Location"]
    )


@router.post("/submits")
async def time_submits(request: Request, count: int, clients: int, hold_seconds: float) -> list[float]:
    """Submit through the service layer, `clients` at a time, and return how long each took, in seconds."""
    services: Services = request.app.state.bench_services
    body = JobCreate(workflow_name=HOLD, input_data={"seconds": hold_seconds})
    times: list[float] = []

    async def client(share: int) -> None:
        for _ in range(share):
            started = time.perf_counter()
            await services.jobs.submit(CALLER, body, idempotency_key=None)
            times.append(time.perf_counter() - started)

    await asyncio.gather(*(client((count + number) // clients) for number in range(clients)))
    return times


@router.get("/running")
async def count_running(request: Request) -> int:
    """Return how many runs this process holds."""
    services: Services = request.app.state.bench_services
    return services.settings.max_running_jobs - services.runner.free_slots


def main() -> None:
    """Serve until standard input closes."""
    with (
        mock.patch.object(callboard.cli.serve, "serving", partial(serving, extra_steps=bench_steps())),
        mock.patch.object(callboard.cli.serve, "create_app", _create_app_with_ours),
    ):
        callboard.cli.serve.serve(port=0, until_stdin_closes=True, is_json=True)


def _create_app_with_ours(
    settings: Settings, open_services: Callable[[Settings], AbstractAsyncContextManager[Services]]
) -> FastAPI:
    """Return the product's application with the routes above."""

    @asynccontextmanager
    async def opened(settings: Settings) -> AsyncIterator[Services]:
        async with open_services(settings) as services:
            app.state.bench_services = services
            yield services

    app = create_app(settings, opened)
    app.include_router(router)
    return app


if __name__ == "__main__":
    main()
