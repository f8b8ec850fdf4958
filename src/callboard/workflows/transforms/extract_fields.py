"""`extract_fields`: an object made of what some paths find in the input."""

from typing import Any, ClassVar, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.json_paths import JsonPath, compile_path


class ExtractFieldsConfig(BaseModel):
    """`fields`: {name: path}. `required`: names that must be found and not null; true means all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields_: dict[str, str] = Field(validation_alias=AliasChoices("fields", "paths"), min_length=1)
    required: list[str] | bool = False
    _compiled: dict[str, JsonPath] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _compile(self) -> Self:
        mistakes = []
        for name, path in self.fields_.items():
            try:
                self._compiled[name] = compile_path(path)
            except ValueError as error:
                mistakes.append(f"field {name!r}: {error}")
        unknown = sorted(set(self.required_names) - set(self.fields_))
        if unknown:
            mistakes.append(f"required names no field: {', '.join(unknown)}")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    @property
    def compiled(self) -> dict[str, JsonPath]:
        return self._compiled

    @property
    def required_names(self) -> tuple[str, ...]:
        if isinstance(self.required, bool):
            return tuple(self.fields_) if self.required else ()
        return tuple(self.required)


class ExtractFields(Transform):
    """Takes the named parts out of a value. What a bare path does not find is null, or an error where required."""

    operation = "extract_fields"
    config_model = ExtractFieldsConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"fields", "paths", "required"})
    runs_in_thread = True  # `$..[?...]` over a big value can take seconds

    def apply(self, value: JsonValue, config: ExtractFieldsConfig, tools: TransformTools) -> dict[str, Any]:
        del tools  # everything it needs is in the config
        found = {name: _extract(path, value) for name, path in config.compiled.items()}
        missing = [name for name in config.required_names if found[name] in (None, [])]
        if missing:
            asked = ", ".join(f"{name} ({config.fields_[name]})" for name in missing)
            raise TransformError(
                f"Required fields were not found: {asked}. {_describe(value)}", details={"missing": missing}
            )
        return found


def _extract(path: JsonPath, value: JsonValue) -> JsonValue:
    matches = path.find(value)
    if path.gives_list:
        return matches
    return matches[0] if matches else None


def _describe(value: JsonValue) -> str:
    if isinstance(value, dict):
        return f"The input has the keys: {', '.join(map(str, value)) or 'none'}."
    if isinstance(value, list):
        return f"The input is a list of {len(value)} items."
    return "The input is null." if value is None else f"The input is {type(value).__name__}, not an object or list."
