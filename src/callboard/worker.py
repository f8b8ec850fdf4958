"""Worker processes: they run jobs and answer no HTTP.

    callboard worker                                  calls `run_worker`
    celery -A callboard.worker:celery_app worker      loads `celery_app`; so do beat and Flower
    arq callboard.worker.WorkerSettings               loads `WorkerSettings`

The last two are made when they are asked for: each needs an extra, and the settings of its process.
"""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from callboard.core.config import WORKER_COMMANDS, Settings, SettingsError, load_settings
from callboard.core.logging import configure_service_logging
from callboard.queues.arq import build_worker_settings
from callboard.queues.celery import build_celery_app
from callboard.wiring import PERIODIC_TASKS, Services, build_services, token_worker, working

ENTRIES: dict[str, tuple[str, Callable[..., Any]]] = {  # the QUEUE_BACKEND of each, and who makes it
    "celery_app": ("celery", build_celery_app),
    "WorkerSettings": ("arq", build_worker_settings),
}


async def run_worker(settings: Settings, *, on_start: Callable[[Services], None]) -> None:
    """Run jobs until SIGTERM or SIGINT, then let calls in flight finish and hand the rest back.

    Raises: SettingsError, where workers are a broker's; what `build_services` raises when this process may not start.
    """
    _refuse_other_backend(settings, "embedded")
    configure_service_logging("worker", settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with build_services(settings) as services, working(services):
        on_start(services)
        await stop.wait()


def __getattr__(name: str) -> Any:
    """Return `celery_app` or `WorkerSettings`, made when first asked for. Raises: MissingExtraError, SettingsError."""
    if name not in ENTRIES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    backend, build = ENTRIES[name]
    settings = load_settings()
    _refuse_other_backend(settings, backend)
    made = build(settings, open_worker=lambda slots: token_worker(settings, slots), schedule=PERIODIC_TASKS)
    globals()[name] = made
    return made


def _refuse_other_backend(settings: Settings, wanted: str) -> None:
    if settings.queue_backend != wanted:
        raise SettingsError(
            f"QUEUE_BACKEND is {settings.queue_backend}, whose workers are started by `{settings.worker_command}`; "
            f"`{WORKER_COMMANDS[wanted]}` is for QUEUE_BACKEND={wanted}."
        )
