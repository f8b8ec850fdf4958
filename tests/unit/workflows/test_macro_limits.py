"""What a condition may read and copy: what counts how much, and that no condition at its limit holds the loop."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.conditions import compile_expression
from callboard.workflows.errors import ConditionError
from callboard.workflows.macro_limits import MAX_BOUND_WEIGHT, MAX_COPYING_ITEMS, find_too_large, weigh
from callboard.workflows.references import Scope
from tests.fixtures.machine_speed import slowness

MAX_HOLD_SECONDS = 1.5  # measured: 0.3-0.5 s; twice as much and more beside other work

PLACE = {
    "name": "Harborview",
    "address": "1 Main St",
    "geometry": {"location": {"lat": 47.6, "lng": -122.3}},
    "types": ["hospital", "health"],
    "rating": 4.5,
}


def evaluate(text: str, value: JsonValue) -> JsonValue:
    return compile_expression(text).evaluate(Scope(input={"x": value}))


def most_that_are_taken(text: str, item: JsonValue) -> int:
    """Return the largest number of items, up to 500, that `text` goes over."""
    for count in range(MAX_COPYING_ITEMS, 0, -20):
        try:
            evaluate(text, [item] * count)
        except ConditionError:
            continue
        return count
    return 0


class TestWeigh:
    @pytest.mark.parametrize(
        ("value", "weight"),
        [
            pytest.param(1, 1, id="number"),
            pytest.param(None, 1, id="null"),
            pytest.param("a", 2, id="text"),
            pytest.param("a" * 5_120, 12, id="long text"),  # 2 + 5120 / 512
            pytest.param([], 6, id="empty list"),
            pytest.param([1, 2], 8, id="list"),  # 6 + 2
            pytest.param({"a": 1}, 12, id="object"),  # 6 + 5 + 1
            pytest.param({"a": {"b": "x"}}, 24, id="nested object"),  # 2 * (6 + 5) + 2
        ],
    )
    def test_counts_what_a_copy_costs(self, value: JsonValue, weight: int) -> None:
        assert weigh([value], limit=1_000) == weight

    def test_ends_early_above_the_limit(self) -> None:
        began = time.perf_counter()

        assert 10 < weigh([[1] * 1_000_000], limit=10) < 20
        assert time.perf_counter() - began < 0.1 * slowness()


class TestMacroLimit:
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("size(input.x.filter(p, p.rating > 4))", id="filter of whole places"),
            pytest.param("size(input.x.map(p, p.name + p.address))", id="map to some of each"),
            pytest.param("size(input.x.map(p, {'name': p.name, 'rating': p.rating}))", id="map to objects"),
            pytest.param("size(input.x.map(p, p.geometry.location.lat))", id="map to what is deep inside"),
            pytest.param("size(input.x.map(p, p.name.size()))", id="map to what a method gives"),
        ],
    )
    def test_lets_500_items_of_usual_size_pass(self, text: str) -> None:
        assert evaluate(text, [PLACE] * 500) == 500

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("size(input.x.filter(p, true))", id="filter"),
            pytest.param("size(input.x.map(p, p))", id="map to the item"),
            pytest.param("size(input.x.map(p, p['big']))", id="map to a key of it"),
            pytest.param("size(input.x.map(p, p.big))", id="map to a name of it"),
            pytest.param("size(input.x.map(p, input.x[0]))", id="map to something else"),
        ],
    )
    def test_refuses_what_would_be_copied_for_too_long(self, text: str) -> None:
        large = {"big": {f"key{number}": {"n": number} for number in range(10)}}

        with pytest.raises(ConditionError, match=r"the 500 items are too large to (filter|map) here"):
            evaluate(text, [large] * 500)

    def test_counts_only_the_keys_that_a_map_takes(self) -> None:
        large = {"small": 1, "big": list(range(1_000))}

        assert evaluate("size(input.x.map(p, p.small))", [large] * 500) == 500

    def test_counts_nothing_for_an_item_without_the_key(self) -> None:
        with pytest.raises(ConditionError, match="there is no key 'b'"):
            evaluate("input.x.map(p, p.a.b)", [{"a": {}}])

    def test_goes_over_the_keys_of_an_object(self) -> None:
        assert (
            evaluate("size(input.x.filter(key, key != 'k1'))", {f"k{n}": list(range(900)) for n in range(500)}) == 499
        )

    @pytest.mark.parametrize(
        ("text", "item"),
        [
            pytest.param("size(input.x.filter(p, true))", PLACE, id="places"),
            pytest.param("size(input.x.filter(p, true))", {f"k{n}": n for n in range(10)}, id="objects"),
            pytest.param("size(input.x.filter(p, true))", [{"a": 1}] * 6, id="lists of objects"),
            pytest.param("size(input.x.map(p, [p, p, {'a': p}]))", {"a": {"b": "c"}}, id="built objects"),
        ],
    )
    def test_holds_nobody_long_at_the_limit(self, text: str, item: JsonValue) -> None:
        count = most_that_are_taken(text, item)
        value = [item] * count

        longest = _longest_hold(lambda: evaluate(text, value))

        assert count >= 100
        assert longest < MAX_HOLD_SECONDS * slowness()


class TestFindTooLarge:
    def test_takes_what_fits_together(self) -> None:
        values: dict[str, Any] = {"a": list(range(100_000)), "b": [{"n": 1}] * 100_000, "c": "text", "d": 1}

        assert find_too_large(values) == []

    def test_names_what_is_too_much_beside_the_others(self) -> None:
        half = [1] * (MAX_BOUND_WEIGHT // 2)

        assert find_too_large({"a": half, "b": half, "c": [1]}) == ["b"]

    def test_ends_soon_however_many_are_too_large(self) -> None:
        large = [1] * (MAX_BOUND_WEIGHT + 1)
        began = time.perf_counter()

        found = find_too_large({str(number): large for number in range(200)})

        assert len(found) == 200
        assert time.perf_counter() - began < 5 * slowness()

    def test_a_condition_says_which_path_it_is(self) -> None:
        with pytest.raises(ConditionError, match=r"input\.x is too large to be read here; an earlier step can"):
            evaluate("input.x[size(input.x) - 1].n > 1", [{"n": 1}] * 300_000)

    def test_a_condition_that_does_not_need_it_holds(self) -> None:
        assert evaluate("true || input.x == []", [{"n": 1}] * 300_000) is True

    def test_what_is_only_counted_may_be_as_large_as_it_likes(self) -> None:
        assert evaluate("size(input.x) == 300000 && has(input.x)", [{"n": 1}] * 300_000) is True


def _longest_hold(work: Callable[[], object]) -> float:
    """Return the longest time in seconds for which another thread could not run while `work` did."""
    gaps = [0.0]
    is_done = threading.Event()
    is_ticking = threading.Event()

    def tick() -> None:
        last = time.perf_counter()
        while not is_done.wait(0.005):
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
            is_ticking.set()
        gaps.append(time.perf_counter() - last)

    ticker = threading.Thread(target=tick)
    ticker.start()
    is_ticking.wait()
    work()
    is_done.set()
    ticker.join()
    return max(gaps)
