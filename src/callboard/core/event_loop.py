"""The loop that servers and workers run on. Called by `cli/serve.py` and `cli/worker.py`."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

Answer = TypeVar("Answer")


def run_on_fast_loop(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Return what `work` gives, run on uvloop: most of a worker's time goes through the loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
