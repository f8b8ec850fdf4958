"""`template`: a text filled in once, or once per item of a list."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from callboard.core.json_values import JsonValue, dumps
from callboard.workflows.transforms.base import ITEM_NAMES, Notation, Transform, TransformTools
from callboard.workflows.transforms.items import each_item, names_of


class TemplateConfig(BaseModel):
    """`template` is text with `${}`; `variables` are names that it may use beside those of the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str = Field(description="Text with `${}`; the input's keys are names in it, the input itself is `item`.")
    variables: dict[str, Any] = Field(
        default_factory=dict, description="Further names; they win over the input's keys."
    )


class Template(Transform):
    """Renders the text with the input's keys in scope, and the input itself as `item`.

    A list gives a list of texts, one per item, with its number as `index`. Where a variable and a key
    have the same name the variable wins: what the file says is not overruled by data.
    """

    operation = "template"
    config_model = TemplateConfig
    item_fields: ClassVar[Mapping[str, Notation]] = {"template": Notation.TEMPLATE}
    needs_input = False

    def names_in(self, field_name: str, config: Mapping[str, Any], *, has_input: bool) -> Collection[str] | None:
        del field_name
        variables = config.get("variables", {})
        if has_input or not isinstance(variables, dict):
            return None  # the input's keys are names too
        return variables

    def apply(self, value: JsonValue, config: TemplateConfig, tools: TransformTools) -> JsonValue:
        if value is None:  # there is no item of its own then: `item` is that of the loop around the step
            return _fill({}, config, tools)
        if not isinstance(value, list):
            return _fill(names_of(value), config, tools)
        return list(each_item(value, tools, lambda item, index: _fill(names_of(item, index), config, tools)))


def _fill(names: Mapping[str, JsonValue], config: TemplateConfig, tools: TransformTools) -> str:
    ours = {key: names[key] for key in ITEM_NAMES & names.keys()}
    text = _as_text(tools.render("template", {**names, **config.variables, **ours}))
    tools.allowance.take(text)
    return text


def _as_text(rendered: JsonValue) -> str:
    """A template that is one reference keeps the value's type elsewhere; this operation promises text."""
    if isinstance(rendered, str):
        return rendered
    return "" if rendered is None else dumps(rendered)
