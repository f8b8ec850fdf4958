"""What a transform is, and what it may ask for. `workflows/steps/transform.py` calls it.

At load the step kind takes the operation's own part of the file through `normalise`. Fields in
`raw_fields` are left alone, those in `item_fields` are compiled once for all items, and the references in
every other field are filled in when the step runs. The whole is validated with `config_model`, at once
where nothing has to be filled in first, and the operation is asked to `check` it. At run time it is asked
to `apply` it, and the result is journaled.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel

from callboard.core.errors import Finding, PermanentError
from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.allowance import Allowance

ITEM_NAMES = frozenset({"item", "index"})  # what a per-item field may name beside the step's own scope


class TransformError(PermanentError):
    """The value could not be transformed."""

    code = "transform_failed"
    category = "workflow"


class UnknownTransformError(PermanentError):
    """There is no transform by that name."""

    code = "unknown_transform"
    category = "workflow"


class Notation(StrEnum):
    """How a field that is worked out per item is written."""

    CONDITION = "condition"
    EXPRESSION = "expression"
    TEMPLATE = "template"


def _render_nothing(field_name: str, names: Mapping[str, JsonValue]) -> JsonValue:
    del names
    raise TransformError(f"Nothing was compiled for the field {field_name}.")


@dataclass(frozen=True, slots=True)
class TransformTools:
    """What the step lends to a transform for one run.

    `render` takes the name of a field in `item_fields` and the names of one item, and gives what the field's
    condition, expression or template makes of them in the step's scope. It may be called per item.
    """

    render: Callable[[str, Mapping[str, JsonValue]], JsonValue] = _render_nothing
    markdown_schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    allowance: Allowance = field(default_factory=Allowance)


class Transform(ABC):
    """One operation. It has no state: the same object serves every step of every run, in any thread."""

    operation: ClassVar[str]
    config_model: ClassVar[type[BaseModel]]
    raw_fields: ClassVar[frozenset[str]] = frozenset()  # `${}` means nothing in them: JSONPath, names of schemas
    item_fields: ClassVar[Mapping[str, Notation]] = {}  # compiled at load, worked out per item by `tools.render`
    runs_in_thread: ClassVar[bool] = False  # True: always, since small input can take long; False: for big values
    needs_input: ClassVar[bool] = True  # False: a step without `input` is no mistake; `value` is None then

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the operation's config with its short forms written out, before references are compiled."""
        return dict(config)

    def names_in(self, field_name: str, config: Mapping[str, Any], *, has_input: bool) -> Collection[str] | None:
        """Return the names that `field_name`, one of `item_fields`, may use; None for any, where items bring them."""
        del field_name, config, has_input
        return ITEM_NAMES

    def check(self, config: Any, markdown_schemas: Mapping[str, Mapping[str, Any]]) -> Sequence[Finding]:
        """Return what is wrong with a validated config that its model cannot see. Pointers start at the config."""
        del config, markdown_schemas  # most operations need no more than their model
        return ()

    @abstractmethod
    def apply(self, value: JsonValue, config: Any, tools: TransformTools) -> JsonValue:
        """Return what the operation makes of `value`. `config` is an instance of `config_model`.

        Asks `tools.allowance` between items, and before a result grows beyond what it was given.

        Raises: TransformError, with the place in the value. Never changes `value` itself.
        """


def suggest_name(name: str, known: Sequence[str]) -> str:
    """Return the sentence that helps someone who wrote `name`: the nearest known one, or all of them.

    >>> suggest_name("extract_field", ["extract_fields", "join"])
    'Did you mean extract_fields?'
    >>> suggest_name("zzz", ["join", "merge"])
    'Known are: join, merge.'
    """
    nearest = difflib.get_close_matches(name, known, n=1)
    if nearest:
        return f"Did you mean {nearest[0]}?"
    return f"Known are: {', '.join(sorted(known))}." if known else "There are none."
