"""The shape of a named Markdown schema: which headings hold lists, which labels are fields of which type.

Such a schema is a JSON file in `workflows/markdown_schemas/`; `markdown_to_json.py` reads Markdown by it.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_PARENTHESES = re.compile(r"\([^)]*\)")


class FieldRule(BaseModel):
    """Where one field of an item comes from, and what it becomes.

    `labels`: what stands before its colon. `heading`: it is (a part of) the item's own heading.
    `mentions`: words that mean yes to a boolean, in its own label's text or in that of the labels
    `mentioned_in`, unless the clause they stand in says no. What is not found: null, [] or false.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    labels: list[str] = Field(default_factory=list)
    type: Literal["text", "url", "integer", "boolean", "list", "choice"] = "text"
    heading: bool = False
    choices: dict[str, list[str]] = Field(default_factory=dict)  # value -> its spellings
    mentions: list[str] = Field(default_factory=list)
    mentioned_in: list[str] = Field(default_factory=list)
    any_text_means_yes: bool = False  # of a boolean: "Parking: free lot" means yes, "Parking: none" no
    multiline: bool = False  # paragraphs that follow belong to it, up to the next label
    line_separator: str = " "
    optional: bool = False  # its absence is no warning

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError('`choices` belong to a field of type "choice", and such a field has some')
        if not (self.labels or self.heading or self.mentioned_in):
            raise ValueError("a field has `labels`, or `mentioned_in`, or is read from the `heading`")
        return self


class SectionRule(BaseModel):
    """A part of the text that holds a list of items, each below a heading of its own.

    `headings`: how the part's heading may read. `heading_prefixes`: words before an item's name that
    are not part of it ("Contact 3: ..."). `item`: what one is called in warnings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: str
    item: str = "item"
    headings: list[str] = Field(min_length=1)
    heading_prefixes: list[str] = Field(default_factory=list)
    fields_: dict[str, FieldRule] = Field(alias="fields", min_length=1)

    def labels(self) -> Iterator[tuple[str, FieldRule | None]]:
        """Yield every label in normal form with its rule; None where it is only searched for mentions."""
        for rule in self.fields_.values():
            yield from ((normalise_label(label), rule) for label in rule.labels)
        for rule in self.fields_.values():
            yield from ((normalise_label(label), None) for label in rule.mentioned_in)


class MarkdownSchema(BaseModel):
    """A whole schema: its sections, in the order of the text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    description: str = ""
    sections: list[SectionRule] = Field(min_length=1)

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Self:
        """Return the schema that a data file holds. Raises: pydantic.ValidationError."""
        return cls.model_validate(dict(raw))


def normalise_label(text: str) -> str:
    """Return `text` as labels are compared: letters and digits only, lower case, without parentheses.

    >>> normalise_label("📞 24/7 Available (always):")
    '247available'
    """
    return "".join(char for char in _PARENTHESES.sub("", text).casefold() if char.isalnum())
