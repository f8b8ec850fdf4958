"""The text as it came, made ready to be parsed: odd blanks, fences around an answer, and a limit on its size.

`markdown_to_json.py` calls `read_source`. Every repair keeps the lines apart, so line numbers are those
of the text that was given.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

# Parsing is linear but slow in dense text. A line costs as much as five signs; the limit is one to two
# seconds of parsing and reading (1 MiB of prose or of fields stays below it, 1 MiB of `- a` does not).
MAX_WORK = 100_000
_WORK_PER_LINE = 5

_DROPPED = dict.fromkeys(map(ord, "\x00\u200b\u2060\ufeff\u00ad"))
_BLANKS = dict.fromkeys(map(ord, "\u00a0\u2007\u202f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))), " ")
_LINE_ENDS = re.compile(r"\r\n|[\r\u2028\u2029\x85\x0b\x0c]")
_SIGNS = re.compile(r"[*_`]{1,4}|[\[\]<|&!\\>]|(?<=\s)[-+](?=\s)")
_FENCE = re.compile(r"^[ \t>]*(?P<marks>`{3,}|~{3,})(?P<info>[^`]*)$")
# a heading or a label; a single `#` is a comment in most languages
_LOOKS_LIKE_MARKDOWN = re.compile(r"^[ \t>]*(?:#{2,6}\s*\w|(?:[-*+] )?\*\*\w)")
_FENCES_OF_MARKDOWN = frozenset({"markdown", "md", "mdown", "mkd"})
_CELL_END = re.compile(r"(?<!\\)\|")
# Two slips of models that CommonMark takes literally: `**Phone:**206` and `###Name`.
_CLOSED_AGAINST_A_WORD = re.compile(r"(\*\*|__|\*)(?=\S)([^*_\n]{1,60}[:：])\1(?=\w)")
_HEADING_WITHOUT_SPACE = re.compile(r"^( {0,3}#{2,6})(?=[^#\s])")


@dataclass(frozen=True, slots=True)
class Source:
    """`lines` as they are parsed, the first is line 1; `unread`: the lines behind them, beyond the limit."""

    lines: Sequence[str]
    unread: Sequence[str] = ()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def read_source(text: str) -> Source:
    """Return `text` ready to be parsed; code fences around Markdown, or around all of it, are taken away."""
    plain = _LINE_ENDS.sub("\n", text).translate(_DROPPED).translate(_BLANKS)
    lines, unread = _limited(textwrap.dedent(plain).split("\n"))
    lines = [_mended(line) for line in _unwrapped(lines)]
    return Source(_with_even_tables(lines), unread)


def split_cells(line: str) -> list[str]:
    r"""Return the cells that a line of a table holds as written.

    >>> split_cells("> | a | b |"), split_cells("a | | c"), len(split_cells(r"| a \| b |"))
    ([' a ', ' b '], ['a ', ' ', ' c'], 1)
    """
    cells = _CELL_END.split(line)
    if not cells[0].strip(" \t>*+-"):
        del cells[0]
    if cells and not cells[-1].strip():
        del cells[-1]
    return cells


def _limited(lines: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines whose work is within the limit, and the rest."""
    work, columns = 0, 0
    for index, line in enumerate(lines):
        signs = len(_SIGNS.findall(line)) + 2 * line.count("|")  # a cell is parsed on its own
        # a table's row is filled up to its columns: a thousand short rows below a wide head are no small text
        columns = line.count("|") if _is_row_of_dashes(line) else columns * bool(line.strip())
        work += _WORK_PER_LINE + max(signs, columns)
        if work > MAX_WORK:
            return lines[:index], lines[index:]
    return lines, []


def _unwrapped(lines: list[str]) -> list[str]:
    """Return the lines with fences around Markdown blank; models like to wrap the whole answer in one."""
    wrapped = _without_outer_fence(lines)
    if wrapped is not None:
        return wrapped
    result = list(lines)
    index = 0
    while index < len(lines):
        opened = _FENCE.match(lines[index])
        if opened is None:
            index += 1
            continue
        end = _closing_line(lines, index + 1, opened["marks"])
        if _holds_markdown(opened["info"], lines[index + 1 : end]):
            result[index] = ""
            result[end : end + 1] = [""] * (end < len(lines))
        index = end + 1
    return result


def _closing_line(lines: list[str], start: int, marks: str) -> int:
    """Return where the fence of these marks is closed: the end of the text, where the answer was cut off."""
    for index in range(start, len(lines)):
        found = _FENCE.match(lines[index])
        if found is not None and found["marks"].startswith(marks) and not found["info"].strip():
            return index
    return len(lines)


def _holds_markdown(info: str, content: list[str]) -> bool:
    kind = info.strip().casefold()
    return kind in _FENCES_OF_MARKDOWN or (not kind and any(map(_LOOKS_LIKE_MARKDOWN.match, content)))


def _without_outer_fence(lines: list[str]) -> list[str] | None:
    """Return the lines without the one fence that holds all of them; None where there is none.

    The last line of an answer that was cut off is missing; fences inside stay as they are.
    """
    filled = [index for index, line in enumerate(lines) if line.strip()]
    opened = _FENCE.match(lines[filled[0]]) if filled else None
    if opened is None or opened["info"].strip().casefold() not in {"", *_FENCES_OF_MARKDOWN}:
        return None
    fences = [index for index in filled if _FENCE.match(lines[index])]
    is_closed = len(fences) % 2 == 0
    if is_closed and fences[-1] != filled[-1]:
        return None
    if is_closed and len(fences) > 2 and not _opens_another(lines[fences[1]]):
        return None  # several blocks, one after the other
    blank = {filled[0], filled[-1]} if is_closed else {filled[0]}
    return ["" if index in blank else line for index, line in enumerate(lines)]


def _opens_another(line: str) -> bool:
    found = _FENCE.match(line)
    return found is not None and bool(found["info"].strip())


def _mended(line: str) -> str:
    return _CLOSED_AGAINST_A_WORD.sub(r"\1\2\1 ", _HEADING_WITHOUT_SPACE.sub(r"\1 ", line))


def _with_even_tables(lines: list[str]) -> list[str]:
    """Give the row of dashes as many cells as the head above it: CommonMark reads no table otherwise."""
    result = list(lines)
    for index in range(1, len(lines)):
        head, line = lines[index - 1], lines[index]
        if "|" not in head or not _is_row_of_dashes(line):
            continue
        count = len(split_cells(head))
        if count != len(split_cells(line)):
            prefix = line[: len(line) - len(line.lstrip(" \t>"))]
            result[index] = prefix + "|" + "---|" * count
    return result


def _is_row_of_dashes(line: str) -> bool:
    return "|" in line and "-" in line and not line.strip(" \t>|:-")
