"""Estimates of the wait: from the queue, the slots and how long jobs took."""

import pytest

from callboard.jobs import waits
from callboard.jobs.repository.jobs import WaitNumbers
from callboard.jobs.waits import WaitEstimator, estimate_wait_seconds


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
        assert estimate_wait_seconds(WaitNumbers(ready, running, slots, mean_seconds), priority) == seconds


class TestWaitEstimator:
    async def test_reads_once_for_many_submits(self) -> None:
        reads = 0

        async def read() -> WaitNumbers:
            nonlocal reads
            reads += 1
            return WaitNumbers({}, 10, 10, 5.0)

        estimator = WaitEstimator(read)

        assert [await estimator.estimate(0) for _ in range(5)] == [1] * 5
        assert reads == 1

    async def test_reads_again_when_the_numbers_are_old(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waits, "KEEP_SECONDS", -1.0)
        numbers = [WaitNumbers({}, 0, 10, 5.0), WaitNumbers({}, 10, 10, 5.0)]

        async def read() -> WaitNumbers:
            return numbers.pop(0)

        estimator = WaitEstimator(read)

        assert [await estimator.estimate(0), await estimator.estimate(0)] == [0, 1]

    async def test_goes_by_the_old_numbers_while_the_database_is_away(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(waits, "KEEP_SECONDS", -1.0)
        answers: list[WaitNumbers | Exception] = [
            OSError("away"),
            WaitNumbers({}, 10, 10, 5.0),
            OSError("away"),
        ]

        async def read() -> WaitNumbers:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        estimator = WaitEstimator(read)

        assert [await estimator.estimate(0) for _ in range(3)] == [0, 1, 1]
