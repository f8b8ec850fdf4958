"""`markdown_to_json`: the lists that a named schema finds in Markdown, as models write it.

The schema says what to look for (`markdown/schema.py`); nothing here knows any particular one. The
reader is tolerant: it takes what it recognises and lists the rest in `warnings`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from callboard.core.errors import Finding
from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.base import Transform, TransformError, TransformTools, suggest_name
from callboard.workflows.transforms.markdown.items import read_items
from callboard.workflows.transforms.markdown.lines import read_lines
from callboard.workflows.transforms.markdown.schema import MarkdownSchema

# Names of the workflow format that are no files; this version does not have them yet.
_GENERAL_READINGS = frozenset({"sections", "tables", "lists", "key_values", "auto"})


class MarkdownToJsonConfig(BaseModel):
    """`schema` (also `format`): the name of a file in `workflows/markdown_schemas/`, without `.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_name: str = Field(validation_alias=AliasChoices("schema", "format"))


class MarkdownToJson(Transform):
    """Reads Markdown by a named schema: {output of each section: [items], "warnings": [text]}."""

    operation = "markdown_to_json"
    config_model = MarkdownToJsonConfig
    raw_fields: ClassVar[frozenset[str]] = frozenset({"schema", "format"})
    runs_in_thread = True  # a long answer takes tens of milliseconds

    def check(
        self, config: MarkdownToJsonConfig, markdown_schemas: Mapping[str, Mapping[str, Any]]
    ) -> Sequence[Finding]:
        try:
            _find_schema(config.schema_name, markdown_schemas)
        except TransformError as error:
            return (Finding(pointer="/schema", message=error.message, code=error.code),)
        return ()

    def apply(self, value: JsonValue, config: MarkdownToJsonConfig, tools: TransformTools) -> dict[str, JsonValue]:
        if not isinstance(value, str):
            raise TransformError(
                f"markdown_to_json takes text, not {type(value).__name__}; "
                "of an llm step the text is `${steps.<id>.content}`."
            )
        return read_items(_find_schema(config.schema_name, tools.markdown_schemas), read_lines(value))


def _find_schema(name: str, schemas: Mapping[str, Mapping[str, Any]]) -> MarkdownSchema:
    raw = schemas.get(name)
    if raw is None and name in _GENERAL_READINGS:
        raise TransformError(
            f"The reading {name!r} belongs to the workflow format, but this version of Callboard "
            "reads by named schemas only."
        )
    if raw is None:
        raise TransformError(f"There is no Markdown schema {name!r}. {suggest_name(name, list(schemas))}")
    try:
        return MarkdownSchema.read(raw)
    except ValidationError as error:
        places = "; ".join(f"{'/'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise TransformError(f"The Markdown schema {name!r} is not valid: {places}.") from error
