"""Everything a run of a workflow reads, as one value that is stored at submit.

Made by the catalogue, stored by hash by the jobs domain, compiled by `compiler.py` in whatever worker runs
it: a run keeps what it started with, and workers read no workflow files.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from callboard.core.json_values import JsonValue, dumps, loads


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A definition with all that it names. One without other workflows hashes as before there were any.

    `definition` is the parsed file. `prompts` has the text of each prompt file, includes too, by its path
    in the prompts folder. `markdown_schemas` has the named schemas that its transforms use. `defaults` =
    {provider, model, model_aliases} as they were resolved at submit. `workflows` has a bundle for each workflow
    that its steps run, those that these run in turn among them; in it, theirs are empty.
    """

    definition: dict[str, Any]
    prompts: dict[str, str] = field(default_factory=dict)
    markdown_schemas: dict[str, dict[str, Any]] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    workflows: "dict[str, Bundle]" = field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """The SHA-256 of the content in hexadecimal; the order of keys does not matter."""
        return hashlib.sha256(orjson.dumps(self.as_value(), option=orjson.OPT_SORT_KEYS)).hexdigest()

    def to_json(self) -> str:
        """Return the bundle as JSON text. Raises: UnstorableValueError, when it cannot be stored."""
        return dumps(self.as_value())

    @classmethod
    def from_json(cls, text: str | bytes) -> "Bundle":
        """Return the bundle that `to_json` wrote."""
        return cls._from_value(loads(text))

    @classmethod
    def _from_value(cls, value: dict[str, Any]) -> "Bundle":
        return cls(
            definition=value["definition"],
            prompts=value["prompts"],
            markdown_schemas=value["markdown_schemas"],
            defaults=value["defaults"],
            workflows={name: cls._from_value(each) for name, each in value.get("workflows", {}).items()},
        )

    def as_value(self) -> dict[str, JsonValue]:
        """Return the bundle as JSON."""
        value: dict[str, JsonValue] = {
            "definition": self.definition,
            "prompts": self.prompts,
            "markdown_schemas": self.markdown_schemas,
            "defaults": self.defaults,
        }
        if self.workflows:  # left out otherwise: stored bundles without it keep their hash
            value["workflows"] = {name: each.as_value() for name, each in self.workflows.items()}
        return value
