"""I-Regexp (RFC 9485), the patterns of JSONPath's `match` and `search`. `json_queries.py` calls it.

What is no I-Regexp matches nothing, as RFC 9535 has it; what is one is written as `regex` reads it.
"""

from functools import lru_cache

import regex
from iregexp_check import check

from callboard.workflows.transforms import patterns
from callboard.workflows.transforms.base import TransformError

_OUTSIDE_CLASSES = {".": r"[^\r\n]", "^": r"\A", "$": r"\Z"}
_ONLY_CLASS_SIGNS = frozenset("[&~|")  # plain characters in a class of I-Regexp, signs in one of `regex`


def matches(pattern: object, text: object, *, whole: bool) -> bool:
    """Return whether `pattern` is found in `text`, or with `whole` describes all of it.

    Anything that is no text, and what is no I-Regexp, matches nothing.

    Raises: TransformError, when the search takes too long or the pattern would grow too large.
    """
    if not isinstance(pattern, str) or not isinstance(text, str):
        return False
    compiled = _compile(pattern)
    return compiled is not None and patterns.search(compiled, text, whole=whole) is not None


@lru_cache(maxsize=64)
def _compile(pattern: str) -> regex.Pattern[str] | None:
    if not check(pattern):
        return None
    try:
        return patterns.compile_pattern(_translate(pattern), flags=0)
    except ValueError as error:
        raise TransformError(f"A JSONPath function cannot search: {error}.") from error


def _translate(pattern: str) -> str:
    r"""Return an I-Regexp as `regex` reads it.

    >>> _translate("a.[.&&]\\.")
    'a[^\\r\\n][.\\&\\&]\\.'
    """
    written: list[str] = []
    is_class = is_escaped = False
    for sign in pattern:
        if is_escaped:
            is_escaped = False
            written.append(sign)
        elif sign == "\\":
            is_escaped = True
            written.append(sign)
        elif is_class:
            is_class = sign != "]"
            written.append(f"\\{sign}" if sign in _ONLY_CLASS_SIGNS else sign)
        else:
            is_class = sign == "["
            written.append(_OUTSIDE_CLASSES.get(sign, sign))
    return "".join(written)
