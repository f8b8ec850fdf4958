"""What a run of a transform may use, and how large things are taken for."""

import pytest

from callboard.core.json_values import UnstorableValueError, dumps
from callboard.workflows.transforms.allowance import Allowance, TransformStoppedError, weigh


class TestAllowance:
    def test_lets_work_go_on_until_it_is_stopped(self) -> None:
        allowance = Allowance()
        items = allowance.watch(range(10))
        seen = [next(items), next(items)]

        allowance.stop()

        assert seen == [0, 1]
        with pytest.raises(TransformStoppedError):
            next(items)

    def test_refuses_a_result_that_grew_too_large_in_parts(self) -> None:
        allowance = Allowance(max_chars=10)
        allowance.take("text")  # 1 + 4 characters

        with pytest.raises(UnstorableValueError, match=r"over 10 characters as JSON.*MAX_STEP_OUTPUT_BYTES"):
            allowance.take(["text", 1])  # 5 + 1 + 5 + 1 = 12

    def test_takes_what_just_fits(self) -> None:
        allowance = Allowance(max_chars=10)

        allowance.take("text")
        allowance.take_chars(5)

        with pytest.raises(UnstorableValueError):
            allowance.take_chars(1)


class TestWeigh:
    @pytest.mark.parametrize(
        ("value", "weight"),
        [
            pytest.param(None, 1, id="null"),
            pytest.param("", 1, id="empty text"),
            pytest.param("abc", 4, id="text"),
            pytest.param([], 1, id="empty list"),
            pytest.param([1, [2, "a"]], 6, id="lists"),  # 1 + 1 + 1 + 1 + 2
            pytest.param({"a": {"b": None}}, 3, id="objects"),
        ],
    )
    def test_counts_values_and_characters(self, value: object, weight: int) -> None:
        assert weigh(value, limit=100) == weight
        assert weight <= len(dumps(value))

    def test_ends_at_its_limit(self) -> None:
        assert weigh([0] * 1_000_000, limit=5) == 5
