"""`join`: one text out of a list."""

from collections.abc import Iterator

from pydantic import Field

from callboard.core.json_values import JsonValue, dumps
from callboard.workflows.transforms.base import Transform, TransformTools
from callboard.workflows.transforms.json_paths import JsonPath, PathField
from callboard.workflows.transforms.lists import ListConfig, list_in


class JoinConfig(ListConfig):
    """`separator` stands between two items; `field` is the path of what is taken from each item."""

    separator: str = Field(", ", description="What stands between two items.")
    field: PathField | None = Field(
        None, description="The path of what is taken from each item; without it, all of it."
    )


class Join(Transform):
    """Joins the items of a list: texts as they are, other values as compact JSON, nulls left out.

    With `field`, all that the path matches in each item. A null input is an empty list, so that a step that
    was skipped leaves an empty text.
    """

    operation = "join"
    config_model = JoinConfig

    def apply(self, value: JsonValue, config: JoinConfig, tools: TransformTools) -> str:
        texts = []
        for part in _parts_of(list_in(self.operation, value, config, tools), config.field, tools):
            if part is None:
                continue
            text = part if isinstance(part, str) else dumps(part)
            tools.allowance.take_chars(len(text) + len(config.separator))
            texts.append(text)
        return config.separator.join(texts)


def _parts_of(items: list[JsonValue], path: JsonPath | None, tools: TransformTools) -> Iterator[JsonValue]:
    for item in tools.allowance.watch(items):
        if path is None:
            yield item
        else:
            yield from path.find(item, tools.allowance)
