"""What a transform is, and what it may ask for. `workflows/steps/transform.py` calls it.

At load the step kind takes the operation's own part of the file through `normalise`, compiles the
references in every field but `raw_fields`, and validates it with `config_model`, at once where nothing
has to be rendered first and otherwise at run time; then it asks `check`. At run time it renders those
fields, calls `apply` (in a thread where `runs_in_thread`) and journals the result.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel

from callboard.core.errors import Finding, PermanentError
from callboard.core.json_values import JsonValue


class TransformError(PermanentError):
    """The value could not be transformed."""

    code = "transform_failed"
    category = "workflow"


class UnknownTransformError(PermanentError):
    """There is no transform by that name."""

    code = "unknown_transform"
    category = "workflow"


@dataclass(frozen=True, slots=True)
class TransformTools:
    """What the step lends to a transform for one run.

    `render` takes a template (text or any JSON with `${}`) and names that are added to the step's
    scope; it compiles each template once per step, so it may be called per item.
    """

    render: Callable[[JsonValue, Mapping[str, JsonValue]], JsonValue]
    markdown_schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Transform(ABC):
    """One operation. It has no state: the same object serves every step of every run, in any thread."""

    operation: ClassVar[str]
    config_model: ClassVar[type[BaseModel]]
    raw_fields: ClassVar[frozenset[str]] = frozenset()  # not rendered before `apply`: paths, templates
    runs_in_thread: ClassVar[bool] = False  # True where a big value or a user's pattern could hold the loop
    needs_input: ClassVar[bool] = True  # False: a step without `input` is no mistake; `value` is None then

    def normalise(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the operation's config with its short forms written out, before references are compiled."""
        return dict(config)

    def check(self, config: Any, markdown_schemas: Mapping[str, Mapping[str, Any]]) -> Sequence[Finding]:
        """Return what is wrong with a validated config that its model cannot see. Pointers start at the config."""
        del config, markdown_schemas  # most operations need no more than their model
        return ()

    @abstractmethod
    def apply(self, value: JsonValue, config: Any, tools: TransformTools) -> JsonValue:
        """Return what the operation makes of `value`. `config` is an instance of `config_model`.

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
