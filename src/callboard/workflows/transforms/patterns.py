"""Regular expressions that a workflow file or its data brings: compiled with a limit, searched with a limit.

Called by `regex_extract.py` and by `iregexp.py` (JSONPath's match and search). The library lets other threads
run while it searches, and ends a search after the time it is given; but it writes every fixed repetition out
when it compiles, so `(((a{50}){50}){50}){50}` alone would take gigabytes, and it keeps what it may have to
come back to, which for recursion has no bound. Both are refused before the library sees them.
"""

import re
from collections.abc import Iterator

import regex

from callboard.workflows.transforms.base import TransformError

SEARCH_SECONDS = 1.0
MAX_PATTERN_CHARS = 2_000
MAX_TEXT_CHARS = 1_000_000  # a hostile search keeps about 300 bytes per character: 0.3 GB
MAX_UNROLLED = 20_000  # characters of a pattern after its repetitions are written out: 3 ms, 5 MB
FLAGS = regex.MULTILINE | regex.DOTALL

_SHOWN_CHARS = 80
_PIECE = re.compile(
    r"""
      (?P<escape>\\.)
    | (?P<class>\[\^?\]?(?:\\.|\[:.*?:\]|[^\]\\])*\])
    | (?P<comment>\(\?\#[^)]*\))
    | (?P<recursion>\(\?(?:R|[+-]?\d+|&\w+|P>\w+)\))
    | (?P<flags>\(\?[a-zA-Z01]*(?:x|V1)[a-zA-Z01]*[-:)])
    | (?P<open>\()
    | (?P<close>\))
    | (?P<count>\{(?P<least>\d*)(?:,\d*)?\})
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def compile_pattern(text: str, flags: int = FLAGS) -> regex.Pattern[str]:
    """Return `text` compiled; by `FLAGS`, `^` and `$` stand at every line, and `.` takes line ends too.

    Raises: ValueError, with what is wrong and at which character.

    >>> compile_pattern(r"^Phone: (\\d+)").findall("Name: A\\nPhone: 12")
    ['12']
    """
    if len(text) > MAX_PATTERN_CHARS:
        raise ValueError(f"the pattern has {len(text):,} characters; at most {MAX_PATTERN_CHARS:,} are allowed")
    _refuse_what_has_no_bound(text)
    try:
        return regex.compile(text, flags, cache_pattern=False)  # the library would keep 500 of them
    except regex.error as error:
        reason, _, position = str(error).partition(" at position ")
        where = f", at character {int(position) + 1}" if position.isdigit() else ""
        raise ValueError(f"the pattern {_shorten(text)} does not compile: {reason}{where}") from error
    except (RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern {_shorten(text)} nests too deep, or repeats too often") from error


def search(pattern: regex.Pattern[str], text: str, *, whole: bool = False) -> regex.Match[str] | None:
    """Return the first match of `pattern` in `text`, or None; with `whole`, one of the text from end to end.

    Raises: TransformError, when it takes longer than `SEARCH_SECONDS`, or the text is too long.
    """
    _check_length(pattern, text)
    try:
        if whole:
            return pattern.fullmatch(text, timeout=SEARCH_SECONDS)
        return pattern.search(text, timeout=SEARCH_SECONDS)
    except (TimeoutError, MemoryError) as error:
        raise _too_hard(pattern, text) from error


def find_all(pattern: regex.Pattern[str], text: str) -> Iterator[regex.Match[str]]:
    """Yield every match of `pattern` in `text`, in order. Raises: as `search`; the time is that of them all."""
    _check_length(pattern, text)
    try:
        yield from pattern.finditer(text, timeout=SEARCH_SECONDS)
    except (TimeoutError, MemoryError) as error:
        raise _too_hard(pattern, text) from error


def _check_length(pattern: regex.Pattern[str], text: str) -> None:
    if len(text) > MAX_TEXT_CHARS:
        raise TransformError(
            f"The pattern {_shorten(pattern.pattern)} was to search a text of {len(text):,} characters; at most "
            f"{MAX_TEXT_CHARS:,} are searched. Cut the text into parts first."
        )


def _too_hard(pattern: regex.Pattern[str], text: str) -> TransformError:
    return TransformError(
        f"The pattern {_shorten(pattern.pattern)} was given up after {SEARCH_SECONDS:g} s on a text of "
        f"{len(text):,} characters. Repetitions inside repetitions, such as (a+)+, are the usual reason: "
        "say more exactly what stands between them."
    )


def _refuse_what_has_no_bound(text: str) -> None:
    """Raise for what the library could not compile or search within bounds. ValueError, with the place."""
    sizes = [0]  # of the groups that are open here, the outermost first
    last = 0  # the size of what a count would repeat
    for piece in _PIECE.finditer(text):
        kind, at = piece.lastgroup, piece.start() + 1
        if kind == "recursion":
            raise ValueError(f"the pattern {_shorten(text)} calls itself at character {at}, which is not allowed")
        if kind == "flags":
            raise ValueError(f"the pattern {_shorten(text)} sets the flag x or V1 at character {at}; neither is taken")
        if kind == "open":
            sizes.append(0)
            continue
        if kind == "close":
            if len(sizes) == 1:
                raise ValueError(f"the pattern {_shorten(text)} does not compile: unexpected ), at character {at}")
            last = sizes.pop()
        elif piece["count"]:
            last *= max(int(piece["least"] or 0) - 1, 0)  # it stands there once already
        else:
            last = 1
        sizes[-1] += last
        if sizes[-1] > MAX_UNROLLED:
            raise ValueError(
                f"the pattern {_shorten(text)} repeats too much at character {at}: written out it has over "
                f"{MAX_UNROLLED:,} characters"
            )


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
