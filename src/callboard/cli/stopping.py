"""Ends work in good order when the process is asked to end. Called by `demo` and `run`."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def until_stopped(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` gives; SIGTERM and SIGHUP cancel it as Ctrl-C does.

    Raises: CancelledError, when a signal came and `work` has ended.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    return await task
