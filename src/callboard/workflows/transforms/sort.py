"""`sort`: a list in order of its items, or of what a path finds in them."""

import heapq
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from callboard.core.json_values import JsonValue
from callboard.workflows.references import describe_type
from callboard.workflows.transforms.allowance import Allowance
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.json_paths import JsonPath
from callboard.workflows.transforms.lists import KeyedListConfig, list_in

_Position: TypeAlias = int
_CHUNK_ITEMS = 20_000  # sorted() lets no other thread run: so many texts take it 8 ms

_KINDS = ((bool, "true or false"), (int, "a number"), (float, "a number"), (str, "text"))


class SortConfig(KeyedListConfig):
    """`key` (or `field`): the path of what is compared in each item, the item without it. `reverse`: largest first."""

    reverse: Annotated[bool, Field(strict=True)] = Field(default=False, description="The largest first.")


class Sort(Transform):
    """Sorts numbers by size, texts by their characters (so dates as YYYY-MM-DD by time), false before true.

    Items that are null, or have nothing at `key`, come last, also when reversed; those that are equal keep
    their order, also when reversed. Numbers, texts and booleans are not compared with each other: that is an
    error, as are objects and lists. A null input is an empty list.
    """

    operation = "sort"
    config_model = SortConfig

    def apply(self, value: JsonValue, config: SortConfig, tools: TransformTools) -> list[JsonValue]:
        items = list_in(self.operation, value, config, tools)
        keys = _keys_of(items, config.key, tools.allowance)
        _refuse_what_has_no_order(keys, config.key)
        there = [position for position, key in enumerate(keys) if key is not None]
        missing = [item for item, key in zip(items, keys, strict=True) if key is None]
        order = _in_order(there, keys.__getitem__, tools.allowance, reverse=config.reverse)
        return [items[position] for position in order] + missing


def _keys_of(items: Sequence[JsonValue], path: JsonPath | None, allowance: Allowance) -> list[Any]:
    if path is None:
        return list(items)
    return [path.first(item, allowance) for item in items]


def _refuse_what_has_no_order(keys: Sequence[JsonValue], path: JsonPath | None) -> None:
    """Raise TransformError where two keys cannot be compared, naming them."""
    first: tuple[int, str] | None = None
    for position, key in enumerate(keys):
        if key is None:
            continue
        kind = next((name for type_, name in _KINDS if isinstance(key, type_)), None)
        where = f"item [{position}]" if path is None else f"{path.text} of item [{position}]"
        if kind is None:
            hint = "name what to compare by `key`" if path is None else "go further down with `key`"
            raise TransformError(f"sort has no order for {describe_type(key)}: {where}. To sort such items, {hint}.")
        first = first or (position, kind)
        if kind != first[1]:
            raise TransformError(
                f"sort cannot compare {kind} ({where}) with {first[1]} (item [{first[0]}]). Make them alike in a "
                "map step first, for instance with string(item) or double(item)."
            )


def _in_order(
    positions: list[_Position], key: Callable[[_Position], Any], allowance: Allowance, *, reverse: bool
) -> list[_Position]:
    """Return `positions` sorted by `key`, in parts between which other threads run."""
    parts = [
        sorted(positions[start : start + _CHUNK_ITEMS], key=key, reverse=reverse)
        for start in allowance.watch(range(0, len(positions), _CHUNK_ITEMS))
    ]
    if len(parts) < 2:
        return parts[0] if parts else []
    return list(allowance.watch(heapq.merge(*parts, key=key, reverse=reverse)))
