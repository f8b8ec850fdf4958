"""`merge`: one object out of several."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from callboard.core.json_values import JsonValue
from callboard.workflows.references import describe_type
from callboard.workflows.transforms.allowance import Allowance
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.json_paths import JsonPath, compile_path

_RUN_PATH = re.compile(r"(input|steps|context)[.\[]")


@dataclass(frozen=True, slots=True)
class _PathText:
    """A source that the file names by its path in the step's input, as distinct from text that was filled in."""

    text: str


def _read_source(source: Any) -> Any:
    return compile_path(source.text) if isinstance(source, _PathText) else source


_Source: TypeAlias = Annotated[Any, PlainValidator(_read_source), WithJsonSchema({})]


class MergeConfig(BaseModel):
    """`sources` in order, later ones win; without them the input is the list of objects."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: list[_Source] | None = Field(
        None, description="References, paths in the input, or objects; later ones win. Without it: the input, a list."
    )
    strategy: Literal["shallow", "deep"] = Field(
        "shallow", description="shallow replaces whole keys; deep goes into objects that both sides have."
    )


class Merge(Transform):
    """Merges objects: `shallow` replaces whole keys, `deep` goes into objects on both sides; lists are replaced.

    A source is a reference, a path in the input, or an object as it stands. A null source, and a path that
    leads to nothing, are left out, so that a branch that failed and was continued takes nothing away.
    """

    operation = "merge"
    config_model = MergeConfig
    needs_input = False

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Tell paths from references: text that a reference brings is never read as a path."""
        sources = config.get("sources")
        if not isinstance(sources, list):
            return dict(config)
        return {**config, "sources": [_tell_apart(source) for source in sources]}

    def apply(self, value: JsonValue, config: MergeConfig, tools: TransformTools) -> dict[str, Any]:
        merged: dict[str, Any] = _Merged()
        for index, given in enumerate(tools.allowance.watch(_sources_of(value, config))):
            source = given.first(value, tools.allowance) if isinstance(given, JsonPath) else given
            if source is None:
                continue
            if not isinstance(source, dict):
                place = f"item [{index}] of its input" if config.sources is None else f"sources[{index}]"
                place += f" ({given.text})" if isinstance(given, JsonPath) else ""
                raise TransformError(f"merge takes objects, and {place} is {describe_type(source)}.")
            if config.strategy == "deep":
                _merge_deep(merged, source, tools.allowance)
            else:
                merged.update(source)
        return merged


class _Merged(dict[str, Any]):
    """An object that this merge made and may change, as distinct from those that it was given."""


def _tell_apart(source: Any) -> Any:
    if not isinstance(source, str) or "${" in source:
        return source
    if _RUN_PATH.match(source):
        return f"${{{source}}}"
    return _PathText(source)


def _sources_of(value: JsonValue, config: MergeConfig) -> Sequence[JsonValue]:
    if "sources" in config.model_fields_set:
        return config.sources or ()  # null: what the reference leads to was skipped
    if isinstance(value, list):
        return value
    raise TransformError(
        f"merge needs `sources`, or a list of objects as its input, and its input is {describe_type(value)}."
    )


def _merge_deep(merged: dict[str, Any], source: Mapping[str, Any], allowance: Allowance) -> None:
    """Put `source` into `merged`; an object in it that was given is copied before anything is put into it."""
    for key, value in allowance.watch(source.items()):
        there = merged.get(key)
        if not isinstance(there, dict) or not isinstance(value, dict):
            merged[key] = value
            continue
        if not isinstance(there, _Merged):
            there = merged[key] = _Merged(there)
        _merge_deep(there, value, allowance)
