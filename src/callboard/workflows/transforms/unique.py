"""`unique`: a list without what it holds twice."""

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import Transform, TransformTools
from callboard.workflows.transforms.json_equality import Identity, identity_of
from callboard.workflows.transforms.lists import KeyedListConfig, list_in


class UniqueConfig(KeyedListConfig):
    """`key` (or `field`): the path of what makes two items the same; the whole item without it."""


class Unique(Transform):
    """Keeps the first of the items that are the same JSON value, in their order.

    Objects are compared whatever the order of their keys; 1 and 1.0 are the same, true and 1 are not. Items
    that have nothing at `key` cannot be compared by it, so all of them are kept. A null input is an empty list.
    """

    operation = "unique"
    config_model = UniqueConfig

    def apply(self, value: JsonValue, config: UniqueConfig, tools: TransformTools) -> list[JsonValue]:
        seen: set[Identity] = set()
        kept = []
        for item in tools.allowance.watch(list_in(self.operation, value, config, tools)):
            keys = [item] if config.key is None else list(config.key.find(item, tools.allowance))
            identity = identity_of(keys[0]) if keys else None
            if not keys or identity not in seen:
                kept.append(item)
                seen |= {identity} if keys else set()
        return kept
