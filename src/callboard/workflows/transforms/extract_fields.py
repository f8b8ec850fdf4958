"""`extract_fields`: an object made of what some paths find in the input."""

from typing import Any, ClassVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from callboard.core.json_values import JsonValue
from callboard.workflows.findings import suggest
from callboard.workflows.references import describe_type
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.json_paths import PathField


class ExtractFieldsConfig(BaseModel):
    """`fields`: {name: path}. `required`: names that must be found and not null; true means all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields_: dict[str, PathField] = Field(
        alias="fields",
        validation_alias=AliasChoices("fields", "paths"),
        min_length=1,
        description="Paths by the name of what they find; a bare path such as `data.name`, or JSONPath from `$` on.",
    )
    required: list[str] | bool = Field(
        default=False, description="Names that must be found and not null, else the step fails; true: all of them."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_one_name_is_used(cls, config: Any) -> Any:
        if isinstance(config, dict) and {"fields", "paths"} <= config.keys():
            raise ValueError('"fields" and "paths" are two names of one thing; put all the paths into "fields"')
        return config

    @field_validator("required", mode="before")
    @classmethod
    def _check_required(cls, required: Any, info: ValidationInfo) -> Any:
        if isinstance(required, bool):
            return required
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise ValueError(f'"required" is true, false or a list of names of fields, not {describe_type(required)}')
        known = info.data.get("fields_", required)  # where the fields have faults, those are told instead
        unknown = [name for name in required if name not in known]
        if unknown:
            hint = suggest(unknown[0], known, what="Fields:")
            raise ValueError(f'"required" names what is no field: {", ".join(unknown)}.{hint}')
        return required

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
    runs_in_thread = True  # a query's filter may search small text for long

    def apply(self, value: JsonValue, config: ExtractFieldsConfig, tools: TransformTools) -> dict[str, Any]:
        found = {name: path.extract(value, tools.allowance) for name, path in config.fields_.items()}
        missing = [name for name in config.required_names if found[name] in (None, [])]
        if missing:
            asked = ", ".join(f"{name} ({config.fields_[name].text})" for name in missing)
            raise TransformError(
                f"Required fields were not found: {asked}. The input is {describe_type(value)}.",
                details={"missing": missing},
            )
        return found
