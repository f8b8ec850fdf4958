"""Working through a list item by item: its limit, the names each item brings, and which item was at fault.

Called by the operations whose config is worked out per item: filter, map, template.
"""

from collections.abc import Callable, Iterator, Sequence

from callboard.core.errors import PermanentError
from callboard.core.json_values import JsonValue, UnstorableValueError
from callboard.workflows.transforms.allowance import TransformStoppedError
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.lists import ListConfig, list_in

MAX_ITEMS = 10_000  # for each one CEL or a template runs

# The roots of every reference: a key of an item by such a name is reached as `${item.input}`.
_RESERVED_NAMES = frozenset({"input", "steps", "context", "secrets", "item", "index"})


def limited_list_in(operation: str, value: JsonValue, config: ListConfig, tools: TransformTools) -> list[JsonValue]:
    """Return the list that `operation` goes over, found as `list_in` does.

    Raises: TransformError, when there is none or it has over `MAX_ITEMS`.
    """
    items = list_in(operation, value, config, tools)
    if len(items) > MAX_ITEMS:
        raise TransformError(
            f"{operation} goes over at most {MAX_ITEMS:,} items, and its input has {len(items):,}. Make the list "
            "shorter first: extract_fields with a slice such as $[0:10000] or a filter such as $[?@.n > 3] "
            "takes longer lists."
        )
    return items


def each_item(
    items: Sequence[JsonValue], tools: TransformTools, work: Callable[[JsonValue, int], JsonValue]
) -> Iterator[JsonValue]:
    """Yield what `work` makes of each item and its number, from 0.

    Raises: TransformError, naming the item; TransformStoppedError; UnstorableValueError.
    """
    for index, item in enumerate(tools.allowance.watch(items)):
        try:
            yield work(item, index)
        except (TransformStoppedError, UnstorableValueError):
            raise
        except PermanentError as error:
            raise TransformError(f"Item [{index}] of {len(items):,}: {error.message}") from error


def names_of(item: JsonValue, index: int | None = None) -> dict[str, JsonValue]:
    """Return the names that a template may use for `item`: its keys, `item` itself, and its number as `index`.

    >>> names_of({"name": "A", "input": 1}, 0)
    {'name': 'A', 'item': {'name': 'A', 'input': 1}, 'index': 0}
    """
    keys = item if isinstance(item, dict) else {}
    names = {key: value for key, value in keys.items() if key not in _RESERVED_NAMES}
    return names | {"item": item} | ({} if index is None else {"index": index})
