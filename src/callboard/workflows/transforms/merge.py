"""`merge`: one object out of several."""

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.json_paths import JsonPath, compile_path

_RUN_PATH = re.compile(r"(input|steps|context)[.\[]")


class MergeSource(BaseModel):
    """One object to merge: a `value`, or the `path` at which it stands in the step's input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: Any = None
    path: str | None = None
    _compiled: JsonPath | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _compile(self) -> Self:
        if self.path is not None:
            self._compiled = compile_path(self.path)
        return self

    def read(self, whole: JsonValue) -> JsonValue:
        """Return the object that this source stands for, out of the step's input `whole` where it is a path."""
        if self._compiled is None:
            return self.value
        found = self._compiled.find(whole)
        return found[0] if found else None


class MergeConfig(BaseModel):
    """`sources` in order, later ones win; without them the input is the list of objects."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: list[MergeSource] = Field(default_factory=list)
    strategy: Literal["shallow", "deep"] = "shallow"


class Merge(Transform):
    """Merges objects: `shallow` replaces whole keys, `deep` goes into objects on both sides; lists are replaced.

    A null source is left out, so that a branch that failed and was continued takes nothing away.
    """

    operation = "merge"
    config_model = MergeConfig
    needs_input = False

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Write sources out as {value} or {path}: text that a reference brings is never read as a path."""
        sources = config.get("sources")
        if not isinstance(sources, list):
            return dict(config)
        return {**config, "sources": [_write_out(source) for source in sources]}

    def apply(self, value: JsonValue, config: MergeConfig, tools: TransformTools) -> dict[str, Any]:
        del tools  # its references were filled in before
        merged: dict[str, Any] = {}
        for index, source in enumerate(_sources_of(value, config)):
            if source is None:
                continue
            if not isinstance(source, dict):
                raise TransformError(f"merge takes objects; source {index + 1} is {type(source).__name__}.")
            merged = _merge_deep(merged, source) if config.strategy == "deep" else {**merged, **source}
        return merged


def _write_out(source: Any) -> Any:
    if not isinstance(source, str):
        return {"value": source}
    if "${" in source:
        return {"value": source}
    if _RUN_PATH.match(source):
        return {"value": f"${{{source}}}"}
    return {"path": source}


def _sources_of(value: JsonValue, config: MergeConfig) -> list[JsonValue]:
    if config.sources:
        return [source.read(value) for source in config.sources]
    if isinstance(value, list):
        return value
    raise TransformError("merge has no `sources`, and its input is no list of objects.")


def _merge_deep(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(left)
    for key, value in right.items():
        there = merged.get(key)
        go_deeper = isinstance(there, dict) and isinstance(value, dict)
        merged[key] = _merge_deep(there or {}, value) if go_deeper else value
    return merged
