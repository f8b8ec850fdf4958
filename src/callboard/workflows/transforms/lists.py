"""The list that a transform works on: read from its input, or refused with the way to the list inside.

Called by the operations that take lists: filter, map, sort, unique, join.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from callboard.core.json_values import JsonValue
from callboard.workflows.reference_syntax import show_key
from callboard.workflows.references import describe_type
from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.json_paths import JsonPath, KeyField, compile_array_path

_SEARCH_DEPTH = 4
_MAX_SHOWN = 3
_MAX_VISITED = 1_000  # values looked at for a hint

_ArrayPathField: TypeAlias = Annotated[JsonPath, PlainValidator(compile_array_path), WithJsonSchema({"type": "string"})]


class _Nothing(Enum):
    NOTHING = "nothing"


_NOTHING: Final = _Nothing.NOTHING


class ListConfig(BaseModel):
    """What every operation on a list takes. `array_path`: where in the input the list stands."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    array_path: _ArrayPathField | None = Field(
        None, description="The path to the list inside the input; without it, the input is the list."
    )


class KeyedListConfig(ListConfig):
    """What an operation takes that looks at one thing in each item: `key`, which may be written `field`."""

    key: KeyField | None = Field(
        None,
        validation_alias=AliasChoices("key", "field"),
        description="The path of what is compared in each item; without it, the item itself.",
    )

    @model_validator(mode="before")
    @classmethod
    def _check_one_name_is_used(cls, config: Any) -> Any:
        if isinstance(config, dict) and {"key", "field"} <= config.keys():
            raise ValueError('"key" and "field" are two names of one thing; keep one of them')
        return config


def list_in(operation: str, value: JsonValue, config: ListConfig, tools: TransformTools) -> list[JsonValue]:
    """Return the list that `operation` works on: `value`, or what stands in it at `array_path`; null is an empty one.

    Raises: TransformError, saying what there is instead and where in it lists are.
    """
    path = config.array_path
    if path is None or value is None:
        return list_of(operation, value)
    if path.gives_list:
        return list(path.extract(value, tools.allowance))
    found = next(path.find(value, tools.allowance), _NOTHING)
    if found is None or isinstance(found, list):
        return found or []
    if found is _NOTHING:
        there = f"there is nothing in its input, {describe_type(value)}"
    else:
        there = f"there is {describe_type(found)}"
    raise TransformError(f"{operation} takes a list, and at its array_path {path.text} {there}.{_lists_to_name(value)}")


def list_of(operation: str, value: JsonValue) -> list[JsonValue]:
    """Return `value` as the list that `operation` works on; null is an empty list.

    Raises: TransformError, saying what there is instead and where in it lists are.
    """
    if value is None:
        return []
    if isinstance(value, list):
        return value
    raise TransformError(f"{operation} takes a list, and its input is {describe_type(value)}.{_hint(value)}")


def _hint(value: JsonValue) -> str:
    if isinstance(value, str):
        return " Text becomes a list by regex_extract with all_matches, or by an llm step's output_schema."
    shown = _show_lists(value)
    return f" Add the way to the list inside to the input's reference; there are: {shown}." if shown else ""


def _lists_to_name(value: JsonValue) -> str:
    shown = _show_lists(value)
    return f" Lists stand at: {shown}." if shown else " No list stands in it."


def _show_lists(value: JsonValue) -> str:
    """Return the ways to the lists in `value` with their lengths, or nothing where there are none."""
    found = list(_lists_inside(value))
    shown = ", ".join(f"{path} ({len(items):,})" for path, items in found[:_MAX_SHOWN])
    return f"{shown} and more" if len(found) > _MAX_SHOWN else shown


def _lists_inside(value: JsonValue) -> Iterator[tuple[str, list[JsonValue]]]:
    """Yield the path and value of each list in an object, those near the top first."""
    level: list[tuple[str, JsonValue]] = [("", value)]
    visited = 0
    for _ in range(_SEARCH_DEPTH):
        below: list[tuple[str, JsonValue]] = []
        for path, item in level:
            visited += 1
            if isinstance(item, list):
                yield path, item
            elif isinstance(item, dict) and visited < _MAX_VISITED:
                below.extend((path + show_key(str(key)), child) for key, child in item.items())
        level = below
