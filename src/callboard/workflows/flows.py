"""Counts the flows of one run that can go on, and tells when none can: the moment to park the run.

A flow is a line of steps that run one after the other: the file's own, and one per branch or loop item that
has begun. `steps/branch_tasks.py` counts branches; whoever waits for a person, a signal or a long timer
stands aside (`jobs/parking.py`). Everything happens on one event loop.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Flows:
    """The flows of one run. `on_idle` is called when the last one that could go on has stood aside."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        self._on_idle = on_idle
        self._going = 1  # the file's own line of steps

    def begin(self) -> None:
        """Count a branch that begins."""
        self._going += 1

    def end(self) -> None:
        """Count a branch that has ended, one way or another."""
        self._going -= 1
        if self._going == 0:
            # A container whose last branch ended goes on within this turn of the loop: judge after it.
            asyncio.get_running_loop().call_soon(self._tell_if_idle)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Stand aside while the block lasts: this flow goes on only when something else has happened."""
        self.end()
        try:
            yield
        finally:
            self.begin()

    def _tell_if_idle(self) -> None:
        if self._going == 0:
            self._on_idle()
