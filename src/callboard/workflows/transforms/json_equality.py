"""When two JSON values are the same one. `unique` and the comparisons of JSONPath ask it.

Python says that True == 1; in JSON they are different. 1 and 1.0 are one number.
"""

from typing import TypeAlias

import orjson

from callboard.core.json_values import JsonValue

Identity: TypeAlias = str | float | bytes | tuple[bool] | None

_MAX_INT = 2**63  # orjson writes whole numbers of 64 bit


def equal(left: JsonValue, right: JsonValue) -> bool:
    """Return whether both are the same JSON value, all levels compared.

    >>> equal({"a": [1, 2]}, {"a": [1.0, 2]}), equal([1], [True])
    (True, False)
    """
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(mine, right[key]) for key, mine in left.items())
    return bool(left == right)


def identity_of(value: JsonValue) -> Identity:
    """Return something hashable that two values share exactly when they are `equal`.

    Objects and lists are written as JSON with sorted keys: text has a hash that cannot be foreseen, so
    nobody can make up values that all fall into one slot of a set.

    >>> identity_of({"a": 1, "b": 2}) == identity_of({"b": 2.0, "a": 1}), identity_of(1) == identity_of(True)
    (True, False)
    """
    if isinstance(value, bool):
        return (value,)
    if isinstance(value, list | dict):
        return orjson.dumps(_with_one_spelling(value), option=orjson.OPT_SORT_KEYS)
    scalar: str | float | None = value
    return scalar


def _with_one_spelling(value: JsonValue) -> JsonValue:
    """Return `value` with every whole number written as one, so that 1 and 1.0 give the same text."""
    if isinstance(value, float) and value.is_integer() and -_MAX_INT <= value < _MAX_INT:
        return int(value)
    if isinstance(value, dict):
        return {key: _with_one_spelling(item) for key, item in value.items()}
    return [_with_one_spelling(item) for item in value] if isinstance(value, list) else value
