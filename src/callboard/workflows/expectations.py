"""What a recorded test expects of a value, and where a value differs from it.

Called by `recorded_tests.py`. An expectation is the JSON itself; an object whose one key is in `MATCHERS`
stands for a rule instead of a value.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from callboard.core.json_differences import ABSENT, Difference, child, is_same, show
from callboard.core.json_values import JsonValue
from callboard.workflows.findings import WorkflowFinding, pointer_of, suggest

RELATIVE_TOLERANCE = 1e-6  # of $approx, where the test gives none


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TYPES: Mapping[str, Callable[[JsonValue], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


def find_unmet(
    expected: JsonValue, got: JsonValue, pointer: str = "", *, is_part: bool = False
) -> Iterator[Difference]:
    """Yield every place where `got` is not as expected, from top to bottom.

    `is_part`: objects may have more keys than are expected. Lists have as many items either way.

    >>> [each.pointer for each in find_unmet({"a": {"$type": "string"}}, {"a": 1, "b": 2}, is_part=True)]
    ['/a']
    """
    name = matcher_of(expected)
    if name is not None:
        if got is ABSENT or not MATCHERS[name](expected[name], got):
            yield Difference(pointer=pointer, expected=expected, got=got, rule=f"{name} {show(expected[name])}")
    elif isinstance(expected, dict) and isinstance(got, dict):
        more = [] if is_part else [key for key in got if key not in expected]
        for key in [*expected, *more]:
            wanted, there = expected.get(key, ABSENT), got.get(key, ABSENT)
            yield from find_unmet(wanted, there, child(pointer, key), is_part=is_part)
    elif isinstance(expected, list) and isinstance(got, list):
        for index in range(max(len(expected), len(got))):
            wanted = expected[index] if index < len(expected) else ABSENT
            there = got[index] if index < len(got) else ABSENT
            yield from find_unmet(wanted, there, child(pointer, index), is_part=is_part)
    elif not is_same(expected, got):
        yield Difference(pointer=pointer, expected=expected, got=got)


def matcher_of(expected: JsonValue) -> str | None:
    """Return the name of the rule that `expected` is, or None for a value."""
    if isinstance(expected, dict) and len(expected) == 1:
        name = next(iter(expected))
        return name if name in MATCHERS else None
    return None


def check_matchers(expected: JsonValue, pointer: str) -> Iterator[WorkflowFinding]:
    """Yield what is wrong with the rules in `expected`, which stands at `pointer`: unknown names, bad arguments."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            where = pointer_of(key, base=pointer)
            if not key.startswith("$"):
                yield from check_matchers(value, where)
            elif key not in MATCHERS:
                message = f'There is no rule "{key}".{suggest(key, MATCHERS, what="Rules:")}'
                yield WorkflowFinding(pointer=where, message=message, code="unknown_field")
            elif len(expected) > 1:
                message = f'The rule "{key}" stands alone in its object; for two rules, write two tests.'
                yield WorkflowFinding(pointer=where, message=message, code="shape")
            else:
                fault = _fault_of_argument(key, value)
                if fault:
                    yield WorkflowFinding(pointer=where, message=fault, code="shape")
    elif isinstance(expected, list):
        for index, item in enumerate(expected):
            yield from check_matchers(item, pointer_of(index, base=pointer))


def _matches(pattern: JsonValue, got: JsonValue) -> bool:
    return isinstance(got, str) and re.search(pattern, got) is not None


def _contains(wanted: JsonValue, got: JsonValue) -> bool:
    if isinstance(got, str):
        return isinstance(wanted, str) and wanted in got
    return isinstance(got, list) and any(not list(find_unmet(wanted, item, is_part=True)) for item in got)


def _has_type(name: JsonValue, got: JsonValue) -> bool:
    return TYPES[name](got)


def _has_length(wanted: JsonValue, got: JsonValue) -> bool:
    if not isinstance(got, str | list | dict):
        return False
    if isinstance(wanted, dict):
        return bool(wanted.get("min", 0) <= len(got) <= wanted.get("max", math.inf))
    return bool(len(got) == wanted)


def _is_near(wanted: JsonValue, got: JsonValue) -> bool:
    if not _is_number(got):
        return False
    if isinstance(wanted, dict):
        return bool(abs(got - wanted["value"]) <= wanted["within"])
    return math.isclose(got, wanted, rel_tol=RELATIVE_TOLERANCE)


MATCHERS: Mapping[str, Callable[[JsonValue, JsonValue], bool]] = {
    "$matches": _matches,
    "$contains": _contains,
    "$type": _has_type,
    "$length": _has_length,
    "$approx": _is_near,
}


def _fault_of_argument(name: str, value: Any) -> str:
    """Return why the rule `name` cannot take `value`; nothing when it can."""
    if name == "$matches":
        try:
            re.compile(value)
        except (re.error, TypeError) as error:
            return f"$matches takes a regular expression; this is none: {error}."
    if name == "$type" and value not in TYPES:
        return f"$type takes the name of a JSON type.{suggest(str(value), TYPES, what='Types:')}"
    if name == "$length" and not (_is_count(value) or _has_only(value, ("min", "max"), _is_count)):
        return '$length takes a whole number, or {"min": 1, "max": 5}.'
    if name == "$approx" and not (_is_number(value) or (_has_only(value, ("value", "within"), _is_number, whole=True))):
        return '$approx takes a number, or {"value": 3.5, "within": 0.1}.'
    return ""


def _has_only(
    value: JsonValue, names: tuple[str, ...], is_good: Callable[[JsonValue], bool], *, whole: bool = False
) -> bool:
    """Return whether `value` is an object of some of `names` (with `whole`, of all) with good values."""
    if not isinstance(value, dict) or not value or not set(value) <= set(names) or (whole and len(value) < len(names)):
        return False
    return all(map(is_good, value.values()))


def _is_count(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
