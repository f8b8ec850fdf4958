"""What conditions can do with text beside CEL's own functions: `item.name.upper()`, or `upper(item.name)`.

Called by `conditions.py`. CEL calls `x.f()` as `f(x)`, prints what such a function raises to the standard
error and passes it on without its type; so these raise nothing and note what was wrong instead.
"""

from collections.abc import Callable, Mapping

from cel.stdlib import lower_ascii, upper_ascii

from callboard.core.json_values import JsonValue
from callboard.workflows.references import describe_type

# Python's names stand in many files; upperAscii, lowerAscii and trim are those of CEL's own extension.
TEXT_FUNCTIONS: Mapping[str, Callable[[str], str]] = {
    "upper": str.upper,
    "lower": str.lower,
    "title": str.title,
    "strip": str.strip,
    "trim": str.strip,
    "upperAscii": upper_ascii,
    "lowerAscii": lower_ascii,
}


class TextFunction:
    """One of `TEXT_FUNCTIONS` as CEL calls it: a call that is wrong gives null, and is told in `faults`."""

    def __init__(self, name: str, faults: list[str]) -> None:
        self._name, self._faults = name, faults

    def __call__(self, *arguments: JsonValue) -> str | None:
        if len(arguments) != 1:
            self._faults.append(f"{self._name}() takes one text and nothing else, such as item.name.{self._name}()")
        elif not isinstance(arguments[0], str):
            hint = '; give a default: ${path ?? ""}' if arguments[0] is None else "; string(x) makes text of others"
            self._faults.append(f"{self._name}() takes text, and got {describe_type(arguments[0])}{hint}")
        else:
            return TEXT_FUNCTIONS[self._name](arguments[0])
        return None
