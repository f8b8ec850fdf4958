"""`markdown_to_json`: data out of Markdown, as models write it, by a named schema or by a general reading.

A schema says what to look for (`markdown/schema.py`); nothing here knows any particular one. The readers
are tolerant: they take what they recognise and list the rest in `warnings`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from callboard.core.errors import Finding
from callboard.core.json_values import JsonValue
from callboard.workflows.findings import suggest
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools
from callboard.workflows.transforms.markdown.general import GENERAL_READINGS, read_general
from callboard.workflows.transforms.markdown.items import MissingError, read_items
from callboard.workflows.transforms.markdown.schema import MarkdownSchema, describe_faults
from callboard.workflows.transforms.markdown.source import read_source
from callboard.workflows.transforms.markdown.warnings import Warnings

_KEYS_SHOWN = 8
_KINDS = {bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


class MarkdownToJsonConfig(BaseModel):
    """`schema` (also `format`): a general reading, or the name of a file in `workflows/markdown_schemas/`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_name: str = Field(
        validation_alias=AliasChoices("schema", "format"),
        description="`sections`, `tables`, `lists`, `key_values` or `auto` (all four); or the name of a schema, "
        "without `.json`.",
    )


class MarkdownToJson(Transform):
    """Reads Markdown into an object, always with `warnings` ([text], each with its line).

    By a named schema: {output of each section: [items]}. By a general reading, under its own name:

    - `sections`: [{title, level, text, children[]}], and `preamble`, the text before the first heading
    - `tables`: [[{header: text}]]
    - `lists`: [[text]]
    - `key_values`: {key: text}
    - `auto`: all of these

    So `${steps.x.sections[0].title}` is the first title. The input is text, or the whole output of an llm
    step; null, as a skipped step leaves it, is read as an empty text.
    """

    operation = "markdown_to_json"
    config_model = MarkdownToJsonConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"schema", "format"})
    runs_in_thread = True  # a long answer takes tens of milliseconds

    def check(
        self, config: MarkdownToJsonConfig, markdown_schemas: Mapping[str, Mapping[str, Any]]
    ) -> Sequence[Finding]:
        if config.schema_name in GENERAL_READINGS:
            return ()
        try:
            _find_schema(config.schema_name, markdown_schemas)
        except TransformError as error:
            return (Finding(pointer="/schema", message=error.message, code=error.code),)
        return ()

    def apply(self, value: JsonValue, config: MarkdownToJsonConfig, tools: TransformTools) -> dict[str, JsonValue]:
        warnings = Warnings()
        source = read_source(_text_of(value, warnings))
        if source.unread:
            first = len(source.lines) + 1
            last = first + len(source.unread) - 1
            warnings.left_out(first, "text beyond the limit of what is read at once", source.unread[0], last=last)
        if config.schema_name in GENERAL_READINGS:
            result = read_general(config.schema_name, source, warnings)
        else:
            schema = _find_schema(config.schema_name, tools.markdown_schemas)
            try:
                result = read_items(schema, source, warnings)
            except MissingError as error:
                raise TransformError(
                    f"The text lacks what the Markdown schema {config.schema_name!r} requires: {error}."
                ) from error
        return {**result, "warnings": warnings.as_list()}


def _text_of(value: JsonValue, warnings: Warnings) -> str:
    if value is None:
        warnings.add_general("the input is null, as a step leaves it that was skipped or failed")
        return ""
    content = value.get("content") if isinstance(value, dict) and "finish_reason" in value else None
    if isinstance(content, str):
        if value["finish_reason"] == "length":
            warnings.add_general("the model stopped at its limit (max_tokens): the last block may be incomplete")
        return content
    if isinstance(value, str):
        return value
    kind = _KINDS[type(value)]
    keys = f" with the keys {', '.join(sorted(value)[:_KEYS_SHOWN])}" if isinstance(value, dict) else ""
    raise TransformError(
        f"markdown_to_json takes text, not {kind}{keys}; of an llm step the text is `${{steps.<id>.content}}`."
    )


def _find_schema(name: str, schemas: Mapping[str, Mapping[str, Any]]) -> MarkdownSchema:
    raw = schemas.get(name)
    if raw is None:
        hint = suggest(name, [*schemas, *GENERAL_READINGS], what="There are:")
        raise TransformError(f"There is no Markdown schema {name!r}.{hint}")
    try:
        return MarkdownSchema.read(raw)
    except ValidationError as error:
        faults = " ".join(describe_faults(error))
        raise TransformError(f"The Markdown schema {name!r} is not valid: {faults}") from error
