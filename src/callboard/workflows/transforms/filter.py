"""`filter`: the items of a list for which a condition holds."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import Notation, Transform, TransformTools
from callboard.workflows.transforms.items import each_item, limited_list_in
from callboard.workflows.transforms.lists import ListConfig


class FilterConfig(ListConfig):
    """`condition`: CEL over `item` and `index` (from 0), beside what the step itself can reach."""

    condition: str | bool = Field(description="CEL over `item` and `index`; the items for which it holds are kept.")


class Filter(Transform):
    """Keeps the items for which the condition holds, in their order. A null input is an empty list."""

    operation = "filter"
    config_model = FilterConfig
    item_fields: ClassVar[Mapping[str, Notation]] = {"condition": Notation.CONDITION}
    runs_in_thread = True  # CEL cannot be stopped; between two items the loop goes on

    def apply(self, value: JsonValue, config: FilterConfig, tools: TransformTools) -> list[JsonValue]:
        items = limited_list_in(self.operation, value, config, tools)
        holds = each_item(items, tools, lambda item, index: tools.render("condition", {"item": item, "index": index}))
        return [item for item, kept in zip(items, holds, strict=True) if kept]
