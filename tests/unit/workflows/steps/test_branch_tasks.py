"""Branches side by side: their order, their number, and how they unwind."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import pytest

from callboard.workflows.flows import Flows
from callboard.workflows.steps.base import RunSuspended, StepFailedError
from callboard.workflows.steps.branch_tasks import run_branches

Start: TypeAlias = Callable[[], Coroutine[Any, Any, str]]


class Branches:
    """Branches that take turns of the event loop, and what became of them."""

    def __init__(self) -> None:
        self.finished: list[str] = []
        self.cancelled: list[str] = []
        self.most_at_once = 0
        self._running = 0

    def start(self, name: str, *, turns: int = 1, error: BaseException | None = None) -> Start:
        async def branch() -> str:
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
            try:
                for _ in range(turns):
                    await asyncio.sleep(0)
                if error is not None:
                    raise error
                self.finished.append(name)
            except asyncio.CancelledError:
                self.cancelled.append(name)
                raise
            finally:
                self._running -= 1
            return name

        return branch


def failure(message: str = "broken") -> StepFailedError:
    return StepFailedError({"message": message}, is_temporary=False)


class TestRunBranches:
    async def test_returns_results_in_the_order_of_the_branches(self) -> None:
        branches = Branches()
        starts = [branches.start("a", turns=9), branches.start("b"), branches.start("c", turns=4)]

        results = await run_branches(starts, flows=Flows(on_idle=lambda: None), max_concurrency=10, fail_fast=True)

        assert results == ["a", "b", "c"]
        assert branches.finished == ["b", "c", "a"]

    async def test_runs_no_more_at_once_than_allowed(self) -> None:
        branches = Branches()

        await run_branches(
            [branches.start(str(n), turns=3) for n in range(20)],
            flows=Flows(on_idle=lambda: None),
            max_concurrency=4,
            fail_fast=True,
        )

        assert branches.most_at_once == 4
        assert len(branches.finished) == 20

    async def test_of_nothing_is_nothing(self) -> None:
        assert await run_branches([], flows=Flows(on_idle=lambda: None), max_concurrency=1, fail_fast=True) == []

    async def test_the_first_failure_cancels_the_others(self) -> None:
        branches = Branches()
        starts = [branches.start("a", turns=99), branches.start("b", error=failure()), branches.start("c")]

        with pytest.raises(StepFailedError):
            await run_branches(starts, flows=Flows(on_idle=lambda: None), max_concurrency=2, fail_fast=True)

        assert branches.cancelled == ["a"]
        assert branches.finished == []  # c was never started

    async def test_without_fail_fast_the_others_run_to_their_end(self) -> None:
        branches = Branches()
        starts = [
            branches.start("a", turns=9),
            branches.start("b", turns=5, error=failure("first in order")),
            branches.start("c", error=failure("first in time")),
            branches.start("d"),
        ]

        with pytest.raises(StepFailedError, match="first in order"):
            await run_branches(starts, flows=Flows(on_idle=lambda: None), max_concurrency=3, fail_fast=False)

        assert sorted(branches.finished) == ["a", "d"]
        assert not branches.cancelled

    async def test_a_suspended_run_lets_the_others_finish_and_starts_nothing_more(self) -> None:
        branches = Branches()
        starts = [
            branches.start("a", turns=9),
            branches.start("b", error=RunSuspended()),
            branches.start("c", turns=5, error=failure()),
            branches.start("d"),
        ]

        with pytest.raises(RunSuspended):
            await run_branches(starts, flows=Flows(on_idle=lambda: None), max_concurrency=3, fail_fast=True)

        assert branches.finished == ["a"]
        assert not branches.cancelled

    async def test_a_bug_in_a_branch_cancels_the_others_whatever_fail_fast_says(self) -> None:
        branches = Branches()
        starts = [branches.start("a", turns=99), branches.start("b", error=KeyError("bug"))]

        with pytest.raises(KeyError):
            await run_branches(starts, flows=Flows(on_idle=lambda: None), max_concurrency=2, fail_fast=False)

        assert branches.cancelled == ["a"]

    async def test_a_cancelled_run_leaves_no_branch_behind(self) -> None:
        branches = Branches()
        starts = [branches.start("a", turns=9999), branches.start("b", turns=9999), branches.start("c")]
        run = asyncio.ensure_future(
            run_branches(starts, flows=Flows(on_idle=lambda: None), max_concurrency=2, fail_fast=False)
        )
        for _ in range(3):
            await asyncio.sleep(0)

        run.cancel()

        with pytest.raises(asyncio.CancelledError):
            await run
        assert sorted(branches.cancelled) == ["a", "b"]
        assert len(asyncio.all_tasks()) == 1

    async def test_a_branch_that_ends_as_cancelled_is_no_failure(self) -> None:
        branches = Branches()
        starts = [branches.start("a", error=asyncio.CancelledError()), branches.start("b", turns=99)]

        with pytest.raises(asyncio.CancelledError):
            await run_branches(starts, flows=Flows(on_idle=lambda: None), max_concurrency=2, fail_fast=False)

        assert "b" in branches.cancelled
