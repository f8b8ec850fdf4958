"""How much CEL may be handed and its macros may go over, so that no condition holds the event loop.

Called by `condition_paths.py`, which finds the macros, and by `conditions.py` before they run. CEL holds the
GIL, cannot be stopped, and `map` and `filter` copy their whole result, deeply, for every item.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from callboard.core.json_values import JsonValue

MAX_COPYING_ITEMS = 500
MAX_TESTED_ITEMS = 10_000
MAX_COPIES = 10_000_000  # weight copied by one macro, about 50 ns each: 0.5 s
MAX_BOUND_WEIGHT = 1_500_000  # of all that one condition reads: 80,000 objects of two keys, 0.3 s to take over
COPYING_MACROS = frozenset({"map", "filter"})
MACROS = COPYING_MACROS | {"all", "exists", "exists_one"}

# What a copy costs beside that of a number: 50 ns, text 100, an object of one number 700, ten of them 4,500.
_NUMBER_WEIGHT = 1
_TEXT_WEIGHT = 2
_CHARS_PER_WEIGHT = 512  # of text, on top
_CONTAINER_WEIGHT = 6
_KEY_WEIGHT = 5
_TOKEN_WEIGHT = 3  # of a macro's body: `{"a": x}` are five tokens


@dataclass(frozen=True, slots=True)
class MacroLimit:
    """One macro of a condition: its name, and what its body is made of.

    `size` = tokens of the body; `item_uses` = what it reads of each item, the keys behind the item's name, ()
    for the whole item; `variables` = the names of the values that it reads beside the items.
    """

    macro: str
    size: int
    item_uses: tuple[tuple[str, ...], ...]
    variables: tuple[str, ...]

    def refuse(self, items: JsonValue, values: Mapping[str, JsonValue]) -> str | None:
        """Return why the macro does not go over `items`, or None when it may. `values` = by variable."""
        if not isinstance(items, list | dict):
            return None
        count = len(items)
        limit = MAX_COPYING_ITEMS if self.macro in COPYING_MACROS else MAX_TESTED_ITEMS
        if count > limit:
            return f"{self.macro} goes over at most {limit:,} items here, and there are {count:,}{self._instead()}"
        if self.macro not in COPYING_MACROS or count == 0:
            return None
        # the result grows item by item and is copied each time: half of its final weight, `count` times
        largest = 2 * MAX_COPIES // count
        if self._weigh_result(items, values, largest) > largest:
            return f"the {count:,} items are too large to {self.macro} here{self._instead()}"
        return None

    def _weigh_result(self, items: JsonValue, values: Mapping[str, JsonValue], limit: int) -> int:
        if self.macro == "filter":
            return weigh(items, limit=limit)
        named = weigh([values.get(name) for name in self.variables], limit=limit)
        taken = sum(weigh(_read_each(items, keys), limit=limit) for keys in self.item_uses)
        return len(items) * (self.size * _TOKEN_WEIGHT + named) + taken

    def _instead(self) -> str:
        return f"; a {self.macro} step takes 10,000" if self.macro in COPYING_MACROS else ""


def weigh(values: Iterable[JsonValue], *, limit: int) -> int:
    """Return what a copy of `values`, all levels of them, costs in copies of a number; above `limit` it ends early.

    >>> weigh([{"a": [1, 2]}, "x" * 1024], limit=1_000)
    23
    """
    weight = 0
    stack = list(values)
    while stack and weight <= limit:
        value = stack.pop()
        if isinstance(value, str):
            weight += _TEXT_WEIGHT + len(value) // _CHARS_PER_WEIGHT
        elif isinstance(value, dict):
            weight += _CONTAINER_WEIGHT + _KEY_WEIGHT * len(value)
            stack.extend(value.values())
        elif isinstance(value, list):
            weight += _CONTAINER_WEIGHT
            stack.extend(value)
        else:
            weight += _NUMBER_WEIGHT
    return weight


def find_too_large(values: Mapping[str, JsonValue]) -> list[str]:
    """Return the names of those of `values` that are too much for CEL to take over beside the others."""
    too_large: list[str] = []
    left = MAX_BOUND_WEIGHT
    for name, value in values.items():
        if not isinstance(value, list | dict):
            continue
        weight = weigh([value], limit=left)
        if weight <= left:
            left -= weight
        else:
            too_large.append(name)
            left //= 2  # or many such values would take long to weigh
    return too_large


def _read_each(items: Iterable[JsonValue], keys: tuple[str, ...]) -> Iterator[JsonValue]:
    """Yield what stands at `keys` in each of `items`; an item without them costs nothing, CEL fails there."""
    for item in items:
        value = item
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        yield value
