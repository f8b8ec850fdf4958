"""JSON as Callboard stores it: what can be stored, written and read back as the same value.

Called by the engine before a result is journaled, by submit for inputs, and by every repository that
keeps a payload. orjson alone would write NaN as null, a UUID as text, and pass NUL characters that PostgreSQL
refuses. To look at every value in Python takes 40 times as long as orjson does, so what orjson wrote is read
back and compared, which is as exact; only where that tells a difference is the place looked for.
"""

import math
import re
from typing import Any, TypeAlias

import orjson

from callboard.core.errors import PermanentError

JsonValue: TypeAlias = Any  # JSON enters here; each reader parses it in the function that takes it

MAX_DEPTH = 200  # deeper than any real answer; Python's own recursion limit is not far above
_WRAPPING = 254 - (MAX_DEPTH + 1)  # lists around a value with which orjson, at its limit of 254, refuses ours too
_Place: TypeAlias = "tuple[_Place, str | int] | None"  # where the parent stands, and the key in it; the root: None
_MAX_INT = 2**63 - 1  # orjson and PostgreSQL's bigint both end here
_SURROGATES = re.compile("[\ud800-\udfff]")  # a loop over the characters would hold the event loop for long


class UnstorableValueError(PermanentError):
    """The value cannot be stored as JSON."""

    code = "value_not_storable"
    category = "workflow"


def find_unstorable(value: JsonValue, pointer: str = "") -> str | None:
    """Return why `value` cannot be stored, with the JSON pointer of the place, or None when it can.

    Refused: NUL characters, lone surrogates, NaN and infinities, integers beyond 64 bit, keys that
    are not text, anything that is no JSON, and nesting deeper than `MAX_DEPTH`.

    >>> find_unstorable({"a": [1, float("nan")]})
    '/a/1: NaN and infinity are not JSON'
    >>> find_unstorable({"a": "ok"}) is None
    True
    """
    if isinstance(value, list | dict) and _encode(value) is not None:
        return None
    found = locate_unstorable(value, pointer)
    return None if found is None else f"{found[0] or '/'}: {found[1]}"


def locate_unstorable(value: JsonValue, pointer: str = "") -> tuple[str, str] | None:
    """Return the JSON pointer of what cannot be stored and why, or None; the rules are those of `find_unstorable`."""
    stack: list[tuple[JsonValue, _Place, int]] = [(value, None, 0)]
    while stack:
        item, place, depth = stack.pop()
        reason = _why_scalar_is_refused(item)
        if depth > MAX_DEPTH and isinstance(item, dict | list | tuple):
            reason = f"nested deeper than {MAX_DEPTH} levels"
        if reason is not None:
            return pointer + _point_to(place), reason
        if isinstance(item, dict):
            for key, child in item.items():
                if not isinstance(key, str):
                    return pointer + _point_to(place), f"the key {key!r} is not text"
                reason = _why_scalar_is_refused(key)
                if reason is not None:
                    return pointer + _point_to(place), f"in a key: {reason}"
                stack.append((child, (place, key), depth + 1))
        elif isinstance(item, list | tuple):
            stack.extend((child, (place, index), depth + 1) for index, child in enumerate(item))
    return None


def dumps(value: JsonValue, *, max_bytes: int | None = None) -> str:
    """Return `value` as compact JSON text that both databases store.

    Raises: UnstorableValueError, with the place, when it cannot be stored or is over `max_bytes`.
    """
    text, _ = dump_and_load(value, max_bytes=max_bytes)
    return text


def dump_and_load(value: JsonValue, *, max_bytes: int | None = None) -> tuple[str, JsonValue]:
    """Return `value` as `dumps` does, and beside it what `loads` makes of that.

    Raises: UnstorableValueError, as `dumps`.
    """
    encoded = _encode(value)
    if encoded is None:
        reason = find_unstorable(value)
        if reason is not None:
            raise UnstorableValueError(f"The value cannot be stored: {reason}.")
        data = orjson.dumps(value)
        encoded = data, orjson.loads(data)
    data, read = encoded
    if max_bytes is not None and len(data) > max_bytes:
        raise UnstorableValueError(
            f"The value has {len(data):,} bytes as JSON; at most {max_bytes:,} are stored "
            "(MAX_STEP_OUTPUT_BYTES). Extract what later steps need, or raise the setting.",
            details={"bytes": len(data), "max_bytes": max_bytes},
        )
    return data.decode(), read


def loads(text: str | bytes) -> JsonValue:
    """Return the value of JSON `text` that `dumps` wrote."""
    return orjson.loads(text)


def with_member(object_json: str, name: str, value: JsonValue) -> str:
    """Return the JSON object in `object_json` with one more member, without reading what is in it.

    The object has no member of that name yet.

    >>> with_member('{"a":1}', "b", [2])
    '{"a":1,"b":[2]}'
    >>> with_member("{}", "b", None)
    '{"b":null}'
    """
    separator = "" if object_json == "{}" else ","
    return f"{object_json[:-1]}{separator}{dumps(name)}:{dumps(value)}}}"


def _encode(value: JsonValue) -> tuple[bytes, JsonValue] | None:
    """Return `value` as JSON and what is read from that, or None where it has to be looked at value by value."""
    try:
        data = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)  # beyond 53 bit it would also take unsigned ones
    except orjson.JSONEncodeError:
        return None
    if b"\\u0000" in data or not _is_shallow(value, data):
        return None
    read = orjson.loads(data)
    return (data, read) if read == value else None


def _is_shallow(value: JsonValue, data: bytes) -> bool:
    """Return whether `value`, which is `data` as JSON, is nested no deeper than `MAX_DEPTH`."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return True
    for _ in range(_WRAPPING):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


def _why_scalar_is_refused(item: JsonValue) -> str | None:
    if item is None or isinstance(item, bool | dict | list | tuple):
        return None
    if isinstance(item, str):
        if "\x00" in item:
            return "a NUL character cannot be stored"
        if not item.isascii() and _SURROGATES.search(item):
            return "a lone surrogate is not valid text"
        return None
    if isinstance(item, int):
        return None if -_MAX_INT - 1 <= item <= _MAX_INT else "an integer beyond 64 bit"
    if isinstance(item, float):
        return None if math.isfinite(item) else "NaN and infinity are not JSON"
    return f"{type(item).__name__} is no JSON type"


def _point_to(place: _Place) -> str:
    """Return the JSON pointer to `place`."""
    parts: list[str] = []
    while place is not None:
        place, key = place
        parts.append(_escape(str(key)))
    return "".join(f"/{part}" for part in reversed(parts))


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
