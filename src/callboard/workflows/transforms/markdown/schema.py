"""The shape of a named Markdown schema: which headings hold lists, which labels are fields of which type.

Such a schema is a JSON file in MARKDOWN_SCHEMAS_DIR, or one of those in `workflows/markdown_schemas` of this package.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from callboard.workflows.findings import suggest

_PARENTHESES = re.compile(r"\([^()]*\)")
_MAX_LABEL_CHARS = 200  # whole paragraphs are asked whether they are a label
_MODEL_KEYS = ("sections", "fields")

FieldType = Literal["text", "url", "integer", "decimal", "boolean", "list", "choice"]


class FieldRule(BaseModel):
    """Where one field of an item comes from, and what it becomes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: list[str] = Field(
        default_factory=list,
        description="What may stand before the field's colon. Upper and lower case, blanks, signs, emoji and "
        "what stands in parentheses make no difference. The first label that has a value wins.",
    )
    type: FieldType = Field(
        "text",
        description="What the value becomes. text: the words (dates too); url: the first web address; integer: the "
        "first number, rounded; decimal: the first number with its decimals; boolean: yes or no; list: texts, parted "
        "by commas, semicolons, bullets, lines or a last `and`; choice: one of `choices`.",
    )
    heading: bool = Field(
        default=False,
        description="The value is the item's own heading where no label has it; of a choice, the word in that heading.",
    )
    choices: dict[str, list[str]] = Field(
        default_factory=dict, description="Of a choice: each value with its other spellings."
    )
    mentions: list[str] = Field(
        default_factory=list,
        description="Of a boolean: words that mean yes, unless the clause they stand in says no.",
    )
    denials: list[str] = Field(
        default_factory=list, description="Of a boolean: words that mean no, like `by appointment` of opening hours."
    )
    mentioned_in: list[str] = Field(
        default_factory=list,
        description="Of a boolean: labels whose text is searched for `mentions` where none of its own is there.",
    )
    any_text_means_yes: bool = Field(
        default=False, description="Of a boolean: `Parking: free lot` means yes, `Parking: none` no."
    )
    out_of: int | None = Field(
        None,
        ge=1,
        description="Of a number: the full marks. `8.5/10` is turned into its part of them; what lies beyond is "
        "warned of.",
    )
    multiline: bool = Field(
        default=False, description="Paragraphs and lists that follow belong to the value, up to the next label."
    )
    line_separator: str = Field(" ", description="Of a text: what joins the lines of its paragraph.")
    optional: bool = Field(default=False, description="Its absence is no warning.")
    required: bool = Field(default=False, description="Its absence in any item fails the step.")
    default: Any = Field(
        None,
        description="The value where it is absent or says `N/A`. Without one: null, of a list [], of a boolean false.",
    )

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """Its labels in normal form, each once."""
        return tuple(dict.fromkeys(map(normalise_label, self.labels)))

    @cached_property
    def searched_names(self) -> tuple[str, ...]:
        """The labels that are searched for mentions, in normal form."""
        return tuple(dict.fromkeys(map(normalise_label, self.mentioned_in)))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError('`choices` belong to a field of type "choice", and such a field has some')
        if not (self.labels or self.heading or self.mentioned_in):
            raise ValueError("a field has `labels`, or `mentioned_in`, or is read from the `heading`")
        if self.out_of is not None and self.type not in {"integer", "decimal"}:
            raise ValueError("`out_of` belongs to a field of type integer or decimal")
        if self.type != "boolean" and (self.mentions or self.denials or self.mentioned_in or self.any_text_means_yes):
            raise ValueError("`mentions`, `denials`, `mentioned_in` and `any_text_means_yes` belong to a boolean")
        if self.required and (self.optional or self.default is not None):
            raise ValueError("a `required` field is not `optional` and has no `default`")
        if self.default is not None and not _fits(self.default, self.type, self.choices):
            allowed = f"one of: {', '.join(self.choices)}" if self.choices else f"a value of type {self.type}"
            raise ValueError(f"`default` is {allowed}")
        return self


class SectionRule(BaseModel):
    """A part of the text that holds a list of items, each below a heading of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: str = Field(min_length=1, description="The name of the list in the result; `warnings` is taken.")
    item: str = Field("item", description="What one item is called in warnings.")
    headings: list[str] = Field(min_length=1, description="How the part's heading may read, the best one first.")
    heading_prefixes: list[str] = Field(
        default_factory=list, description='Words before an item\'s name that are not part of it: "Contact 3: ...".'
    )
    min_items: int = Field(0, ge=0, description="The step fails where fewer items are found.")
    fields_: dict[str, FieldRule] = Field(
        alias="fields", min_length=1, description="The fields of an item by name, in the order of the text."
    )

    @cached_property
    def labels(self) -> Mapping[str, FieldRule | None]:
        """Every label in normal form with its rule; None where it is only searched for mentions."""
        rules = self.fields_.values()
        searched: dict[str, FieldRule | None] = {name: None for rule in rules for name in rule.searched_names}
        return {**searched, **{name: rule for rule in rules for name in rule.label_names}}


class MarkdownSchema(BaseModel):
    """A whole schema. `$schema` may name the JSON Schema of this model for editors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    json_schema: str = Field("", alias="$schema", description="The JSON Schema that editors complete the file by.")
    name: str = Field("", description="Its name, for people; workflows name the file, without `.json`.")
    description: str = Field("", description="What kind of text it reads.")
    sections: list[SectionRule] = Field(min_length=1, description="The lists to read, in the order of the text.")

    @model_validator(mode="after")
    def _check_outputs(self) -> Self:
        outputs = [section.output for section in self.sections]
        if "warnings" in outputs:
            raise ValueError('no section has the output "warnings": the list of what was left out has that name')
        twice = sorted({output for output in outputs if outputs.count(output) > 1})
        if twice:
            raise ValueError(f"two sections have the output {twice[0]!r}")
        return self

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Return the schema that a data file holds. Raises: pydantic.ValidationError."""
        return cls.model_validate(dict(raw))

    @cached_property
    def labels(self) -> Mapping[str, FieldRule | None]:
        """The labels of every section; one that is a field anywhere has a rule."""
        known: dict[str, FieldRule | None] = {}
        for section in self.sections:
            for name, rule in section.labels.items():
                known[name] = known.get(name) or rule
        return known


def describe_faults(error: ValidationError) -> list[str]:
    """Return what is wrong with a schema file, each with its place and what is allowed there."""
    return [_describe_fault(tuple(map(str, fault["loc"])), fault["type"], fault["msg"]) for fault in error.errors()]


def _describe_fault(place: tuple[str, ...], kind: str, message: str) -> str:
    where = "/".join(place)
    if kind == "extra_forbidden":
        known = [field.alias or name for name, field in _model_at(place[:-1]).model_fields.items()]
        hint = suggest(place[-1], known, what="Known settings:")
        return f"{where}: there is no setting {place[-1]!r}.{hint}"
    return (
        f"{where}: {message.removeprefix('Value error, ')}." if where else f"{message.removeprefix('Value error, ')}."
    )


def _model_at(place: tuple[str, ...]) -> type[BaseModel]:
    """Return the model of the object at `place`: sections/0 is a section, sections/0/fields/name a field."""
    return (MarkdownSchema, SectionRule, FieldRule)[sum(part in _MODEL_KEYS for part in place[::2])]


def _fits(value: Any, kind: FieldType, choices: Mapping[str, Any]) -> bool:
    if kind == "list":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "choice":
        return isinstance(value, str) and value in choices
    if kind == "boolean" or isinstance(value, bool):
        return kind == "boolean" and isinstance(value, bool)
    return isinstance(value, {"integer": (int,), "decimal": (int, float)}.get(kind, (str,)))


def normalise_label(text: str) -> str:
    """Return `text` as labels are compared: letters and digits only, lower case, without parentheses.

    >>> normalise_label("📞 24/7 Available (always):")
    '247available'
    """
    return "".join(char for char in _PARENTHESES.sub("", text[:_MAX_LABEL_CHARS]).casefold() if char.isalnum())
