"""`join`: one text out of a list."""

from typing import Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

from callboard.core.json_values import JsonValue, dumps
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.json_paths import JsonPath, compile_path


class JoinConfig(BaseModel):
    """`separator` stands between two items; `field` is the path of what is taken from each item."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    separator: str = ", "
    field: str | None = None
    _compiled: JsonPath | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _compile(self) -> Self:
        if self.field is not None:
            self._compiled = compile_path(self.field)
        return self

    @property
    def path(self) -> JsonPath | None:
        return self._compiled


class Join(Transform):
    """Joins the items of a list: texts as they are, other values as compact JSON, nulls left out.

    A null input is an empty list, so that a step that was skipped leaves an empty text.
    """

    operation = "join"
    config_model = JoinConfig

    def apply(self, value: JsonValue, config: JoinConfig, tools: TransformTools) -> str:
        del tools  # it renders nothing
        if value is None:
            return ""
        if not isinstance(value, list):
            raise TransformError(f"join takes a list, not {type(value).__name__}.")
        path = config.path
        items = value if path is None else [found for item in value for found in path.find(item)]
        return config.separator.join(
            item if isinstance(item, str) else dumps(item) for item in items if item is not None
        )
