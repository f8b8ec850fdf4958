"""`map`: a list made of what an expression, a template or some paths give for each item."""

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, PlainValidator, WithJsonSchema

from callboard.core.json_values import JsonValue
from callboard.workflows.config_rules import RuledConfig
from callboard.workflows.transforms.base import ITEM_NAMES, Notation, Transform, TransformTools
from callboard.workflows.transforms.items import each_item, limited_list_in, names_of
from callboard.workflows.transforms.json_paths import JsonPath, compile_path
from callboard.workflows.transforms.lists import ListConfig

_WAYS = ("expression", "transform", "template", "fields")


def _read_field(text: Any) -> JsonPath | None:
    """Return the path that `text` is, or None where it holds references and is filled in as a template."""
    return None if isinstance(text, str) and "${" in text else compile_path(text)


_MapField: TypeAlias = Annotated[JsonPath | None, PlainValidator(_read_field), WithJsonSchema({"type": "string"})]


class MapConfig(RuledConfig, ListConfig):
    """One of three: `expression` (CEL), `template` (JSON with `${}`), `fields` ({name: path or text with `${}`})."""

    expression: str | None = Field(None, description="CEL over `item` and `index`.")
    transform: str | None = Field(None, description="The same as `expression`.")
    template: Any = Field(None, description="Any JSON with `${}`; the keys of the item are names in it.")
    fields_: dict[str, _MapField] | None = Field(
        default=None,
        alias="fields",
        min_length=1,
        description="An object by name: paths inside the item, or text with `${}`.",
    )

    @classmethod
    def broken_rules(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield where there are several ways to make an item, and where there is none."""
        ways = [name for name in given if name in _WAYS]
        if len(ways) > 1:
            yield ways[1], f"Map takes one of expression, template and fields; given: {', '.join(sorted(ways))}."
        elif not ways:
            yield "", "Map takes one of expression, template and fields; given: none."


class Map(Transform):
    """Gives for each item what the config says, in order. A null input is an empty list.

    `expression` sees `item` and `index`. In `template` and in `fields` the item's keys are names too. A path
    in `fields` begins inside the item; where the item has no such key, `item` and `index` are names there too.
    """

    operation = "map"
    config_model = MapConfig
    item_fields: ClassVar[Mapping[str, Notation]] = {
        "expression": Notation.EXPRESSION,
        "transform": Notation.EXPRESSION,
        "template": Notation.TEMPLATE,
        "fields": Notation.TEMPLATE,
    }
    runs_in_thread = True  # CEL cannot be stopped; between two items the loop goes on

    def names_in(self, field_name: str, config: Mapping[str, Any], *, has_input: bool) -> Collection[str] | None:
        del config, has_input
        return ITEM_NAMES if field_name in {"expression", "transform"} else None

    def apply(self, value: JsonValue, config: MapConfig, tools: TransformTools) -> list[JsonValue]:
        results = []
        for result in each_item(
            limited_list_in(self.operation, value, config, tools),
            tools,
            lambda item, index: _work_out(item, index, config, tools),
        ):
            tools.allowance.take(result)
            results.append(result)
        return results


def _work_out(item: JsonValue, index: int, config: MapConfig, tools: TransformTools) -> JsonValue:
    if config.expression is not None or config.transform is not None:
        written_as = "transform" if config.expression is None else "expression"
        return tools.render(written_as, {"item": item, "index": index})
    if config.fields_ is None:
        return tools.render("template", names_of(item, index))
    filled_in = tools.render("fields", names_of(item, index))
    return {
        name: filled_in[name] if path is None else path.extract(_holder_of(path, item, index), tools.allowance)
        for name, path in config.fields_.items()
    }


def _holder_of(path: JsonPath, item: JsonValue, index: int) -> JsonValue:
    """Return what `path` begins in: the item, or where it says `item` and the item has no such key, its names."""
    is_name_of_ours = path.root in ITEM_NAMES and not (isinstance(item, dict) and path.root in item)
    return {"item": item, "index": index} if is_name_of_ours else item
