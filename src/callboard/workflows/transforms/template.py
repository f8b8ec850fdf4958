"""`template`: a text filled in once, or once per item of a list."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from callboard.core.json_values import JsonValue, dumps
from callboard.workflows.transforms.base import Transform, TransformTools

# The roots of every reference: a key of an item by such a name is reached as `${item.input}`.
_RESERVED_NAMES = frozenset({"input", "steps", "context", "secrets", "item", "index"})


class TemplateConfig(BaseModel):
    """`template` is text with `${}`; `variables` are names that it may use beside those of the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str
    variables: dict[str, Any] = Field(default_factory=dict)


class Template(Transform):
    """Renders the text with the input's keys in scope, and the input itself as `item`.

    A list gives a list of texts, one per item, with its number as `index`. Where a variable and a key
    have the same name the variable wins: what the file says is not overruled by data.
    """

    operation = "template"
    config_model = TemplateConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"template"})
    needs_input = False

    def apply(self, value: JsonValue, config: TemplateConfig, tools: TransformTools) -> JsonValue:
        if not isinstance(value, list):
            return _as_text(tools.render(config.template, _names_of(value, config.variables)))
        return [
            _as_text(tools.render(config.template, {**_names_of(item, config.variables), "index": index}))
            for index, item in enumerate(value)
        ]


def _names_of(item: JsonValue, variables: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    keys = item if isinstance(item, dict) else {}
    return {
        **{key: value for key, value in keys.items() if key not in _RESERVED_NAMES},
        **variables,
        "item": item,
    }


def _as_text(rendered: JsonValue) -> str:
    """A template that is one reference keeps the value's type elsewhere; this operation promises text."""
    if isinstance(rendered, str):
        return rendered
    return "" if rendered is None else dumps(rendered)
