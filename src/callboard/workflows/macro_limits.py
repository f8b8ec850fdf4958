"""What CEL's macros may go over, so that no condition holds the event loop.

Called by `condition_paths.py`, which finds the macros, and by `conditions.py` before they run. CEL holds the
GIL, cannot be stopped, and `map` and `filter` copy their whole result, deeply, for every item.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from callboard.core.json_values import JsonValue

MAX_COPYING_ITEMS = 500
MAX_TESTED_ITEMS = 10_000
MAX_COPIES = 20_000_000  # values copied by one macro: 44 ns each, so 0.9 s at most
COPYING_MACROS = frozenset({"map", "filter"})
MACROS = COPYING_MACROS | {"all", "exists", "exists_one"}

_CHARS_PER_VALUE = 512  # text is copied at 14 GB/s: so much of it costs what one value costs


@dataclass(frozen=True, slots=True)
class MacroLimit:
    """One macro of a condition. `item_uses` and `variables` count what its body names, `size` its tokens."""

    macro: str
    size: int
    item_uses: int
    variables: tuple[str, ...]

    def refuse(self, items: JsonValue, values: Mapping[str, JsonValue]) -> str | None:
        """Return why the macro does not go over `items`, or None when it may. `values` = by variable."""
        if not isinstance(items, list | dict):
            return None
        count = len(items)
        limit = MAX_COPYING_ITEMS if self.macro in COPYING_MACROS else MAX_TESTED_ITEMS
        if count > limit:
            return f"{self.macro} goes over at most {limit:,} items here, and there are {count:,}{self._instead()}"
        if self.macro not in COPYING_MACROS:
            return None
        # the result grows item by item and is copied each time: half of its final weight, `count` times
        if count * self._weigh_result(items, values) // 2 > MAX_COPIES:
            return f"the {count:,} items are too large to {self.macro} here{self._instead()}"
        return None

    def _weigh_result(self, items: JsonValue, values: Mapping[str, JsonValue]) -> int:
        if self.macro == "filter":
            return weigh([items])
        named = weigh(values.get(name) for name in self.variables)
        return len(items) * (self.size + named) + self.item_uses * weigh([items])

    def _instead(self) -> str:
        return f"; a {self.macro} step takes 10,000" if self.macro in COPYING_MACROS else ""


def weigh(values: Iterable[JsonValue]) -> int:
    """Return how many values there are in `values`, all levels counted; long text counts as several.

    >>> weigh([{"a": [1, 2]}, "x" * 1024])
    7
    """
    weight = 0
    stack = list(values)
    while stack and weight <= MAX_COPIES:
        value = stack.pop()
        weight += 1
        if isinstance(value, str):
            weight += len(value) // _CHARS_PER_VALUE
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return weight
