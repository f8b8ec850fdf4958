"""Estimates of the wait: from the queue, the slots and how long jobs took."""

import pytest

from callboard.jobs import waits
from callboard.jobs.repository.jobs import WaitNumbers
from callboard.jobs.running_limits import ANY_LANE, Lane, RunningLimits
from callboard.jobs.waits import WaitEstimator, estimate_wait_seconds

ANN, BOB, NOBODY = (Lane("default", user, "hello") for user in ("ann", "bob", ""))


class TestEstimateWaitSeconds:
    @pytest.mark.parametrize(
        ("ready", "running", "slots", "mean_seconds", "priority", "seconds"),
        [
            pytest.param({}, 0, 10, 4.0, 0, 0, id="nothing waits"),
            pytest.param({}, 10, 10, 5.0, 0, 1, id="every slot taken"),  # 1 x 5 s / 10 slots = 0.5 s
            pytest.param({0: 9}, 0, 10, 4.0, 0, 0, id="nine waiting for ten free slots"),
            pytest.param({0: 10}, 0, 10, 4.0, 0, 1, id="one more than there are free slots"),  # 1 x 4 s / 10
            pytest.param({0: 100, 5: 3}, 2, 2, 10.0, 5, 20, id="only as urgent ones count"),  # (3 + 1) x 10 s / 2
            pytest.param({9: 3}, 2, 2, 10.0, 0, 20, id="more urgent ones count"),  # (3 + 1) x 10 s / 2
            pytest.param({0: 3}, 0, 0, 10.0, 0, 40, id="no worker lives"),  # as if there were one: (3 + 1) x 10 s
            pytest.param({0: 3}, 2, 2, 0.0, 0, 20, id="nothing known of durations"),  # (3 + 1) x 10 s guessed / 2
        ],
    )
    def test_counts_who_is_ahead(
        self, ready: dict[int, int], running: int, slots: int, mean_seconds: float, priority: int, seconds: int
    ) -> None:
        assert estimate_wait_seconds(_numbers(ready, running, slots, mean_seconds), priority) == seconds

    @pytest.mark.parametrize(
        ("limits", "lane", "seconds"),
        [
            pytest.param(RunningLimits(per_user=5), ANN, 80, id="their own limit"),  # 100 x 4 s / 5
            pytest.param(RunningLimits(per_user=5), BOB, 0, id="not behind the limit of another"),
            pytest.param(RunningLimits(per_user=200), BOB, 20, id="behind all that may start"),  # (99 + 1) x 4 s / 20
            pytest.param(RunningLimits(per_workflow=5), BOB, 80, id="the limit of their workflow"),
            pytest.param(RunningLimits(per_tenant=5), BOB, 80, id="the limit of their tenant"),
            pytest.param(RunningLimits(per_user=1), NOBODY, 0, id="a job of no user"),
        ],
    )
    def test_counts_what_stands_behind_a_limit_only_for_those_it_holds(
        self, limits: RunningLimits, lane: Lane, seconds: int
    ) -> None:
        numbers = WaitNumbers({(ANN, 0): 99}, {ANN: 5 if limits.per_user != 200 else 20}, 20, 4.0)

        assert estimate_wait_seconds(numbers, 0, lane, limits=limits) == seconds


class TestWaitEstimator:
    async def test_reads_once_for_many_submits(self) -> None:
        reads = 0

        async def read() -> WaitNumbers:
            nonlocal reads
            reads += 1
            return _numbers({}, 10, 10, 5.0)

        estimator = WaitEstimator(read)

        assert [await estimator.estimate(0, ANY_LANE) for _ in range(5)] == [1] * 5
        assert reads == 1

    async def test_reads_again_when_the_numbers_are_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waits, "KEEP_SECONDS", -1.0)
        monkeypatch.setattr(waits, "READ_SHARE", -1)
        numbers = [_numbers({}, 0, 10, 5.0), _numbers({}, 10, 10, 5.0)]

        async def read() -> WaitNumbers:
            return numbers.pop(0)

        estimator = WaitEstimator(read)

        assert [await estimator.estimate(0, ANY_LANE), await estimator.estimate(0, ANY_LANE)] == [0, 1]

    async def test_goes_by_the_old_numbers_while_the_database_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waits, "KEEP_SECONDS", -1.0)
        monkeypatch.setattr(waits, "READ_SHARE", -1)
        answers: list[WaitNumbers | Exception] = [
            OSError("away"),
            _numbers({}, 10, 10, 5.0),
            OSError("away"),
        ]

        async def read() -> WaitNumbers:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        estimator = WaitEstimator(read)

        assert [await estimator.estimate(0, ANY_LANE) for _ in range(3)] == [0, 1, 1]


def _numbers(ready: dict[int, int], running: int, slots: int, mean_seconds: float) -> WaitNumbers:
    """Return the numbers of a queue without limits."""
    by_lane = {(ANY_LANE, priority): count for priority, count in ready.items()}
    return WaitNumbers(by_lane, {ANY_LANE: running}, slots, mean_seconds)
