"""A worker process: runs jobs and answers no HTTP. `callboard worker` calls `run_worker`."""

import asyncio
import signal
from collections.abc import Callable

from callboard.core.config import Settings
from callboard.core.logging import configure_service_logging
from callboard.wiring import Services, build_services, working


async def run_worker(settings: Settings, *, on_start: Callable[[Services], None]) -> None:
    """Run jobs until SIGTERM or SIGINT, then let calls in flight finish and hand the rest back.

    Raises: what `build_services` raises when this process may not start.
    """
    configure_service_logging("worker", settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with build_services(settings) as services, working(services):
        on_start(services)
        await stop.wait()
