"""An event loop in a thread of its own, for a program whose tasks run in threads. `celery.py` hosts jobs on it."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from callboard.core.event_loop import run_on_fast_loop

Opened = TypeVar("Opened")
Answer = TypeVar("Answer")


class LoopStoppedError(Exception):
    """The loop has ended, or never began."""


class LoopThread(Generic[Opened]):
    """Holds `opening` open on its own loop between `start` and `stop`."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[Opened]]) -> None:
        self._opening = opening
        self._opened: Future[Opened] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="job-loop")

    def start(self) -> Opened:
        """Return what was opened. Raises: what opening raises."""
        self._thread.start()
        return self._opened.result()

    def submit(self, work: Callable[[], Coroutine[Any, Any, Answer]]) -> "Future[Answer]":
        """Begin `work` on the loop and return its future. Raises: LoopStoppedError."""
        loop = self._loop
        if loop is None:
            raise LoopStoppedError
        begun = work()
        try:
            return asyncio.run_coroutine_threadsafe(begun, loop)
        except RuntimeError as error:  # closed in this moment
            begun.close()
            raise LoopStoppedError from error

    def begin_stop(self) -> None:
        """Begin to close what was opened; `submit` still works until that is done."""
        loop, end = self._loop, self._end
        if loop is not None and end is not None:
            loop.call_soon_threadsafe(end.set)

    def stop(self) -> None:
        """Close what was opened, in good order, and return when that is done. Raises: what closing raises."""
        self.begin_stop()
        if self._thread.ident is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            run_on_fast_loop(self._hold_open())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the thread that started this one
            if self._opened.done():
                self._failure = error
            else:
                self._opened.set_exception(error)
        finally:
            self._loop = None

    async def _hold_open(self) -> None:
        self._end = asyncio.Event()
        async with self._opening() as opened:
            self._loop = asyncio.get_running_loop()
            self._opened.set_result(opened)
            await self._end.wait()
