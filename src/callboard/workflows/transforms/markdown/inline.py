"""The words inside a paragraph, heading or cell: in bold or not, with the addresses of links, cut at line breaks.

Called by `markdown/lines.py` and the general readings, with the inline tokens of markdown-it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markdown_it.token import Token

_BREAK_TAG = re.compile(r"</?br\b", re.IGNORECASE)
_SCHEME = re.compile(r"^https?://(?:www\.)?", re.IGNORECASE)
_BOLD_TAG = re.compile(r"<(?P<closing>/?)(?:b|strong)>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Run:
    """Some text of a line in one style. `href` where it is a link."""

    text: str
    bold: bool = False
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """The runs between two breaks. `offset` counts source lines from the start; a soft break only wraps a line."""

    offset: int
    runs: tuple[Run, ...]
    is_wrapped: bool = False


def split_at_breaks(children: Sequence[Token]) -> list[Piece]:
    """Cut at line breaks: models write one label per line without a blank line between, or `<br>`."""
    style = _Style()
    pieces: list[Piece] = []
    offset, is_wrapped, piece = 0, False, list[Token]()
    for child in children:
        if child.type not in {"softbreak", "hardbreak"} and not _is_break_tag(child):
            piece.append(child)
            continue
        pieces.append(Piece(offset, tuple(style.read(piece)), is_wrapped=is_wrapped))
        offset, is_wrapped, piece = offset + (child.type != "html_inline"), child.type == "softbreak", []
    pieces.append(Piece(offset, tuple(style.read(piece)), is_wrapped=is_wrapped))
    return pieces


def plain_text(children: Sequence[Token]) -> str:
    """Return the words without their marks; a link's address follows in parentheses, hard breaks stay lines."""
    lines: list[str] = []
    for piece in split_at_breaks(children):
        text = " ".join("".join(map(_with_address, piece.runs)).split())
        if piece.is_wrapped and lines:
            lines[-1] = f"{lines[-1]} {text}".strip()
        else:
            lines.append(text)
    return "\n".join(lines).strip()


def _with_address(run: Run) -> str:
    """Return the words of a run, with its address where they do not say it already."""
    if not run.href or run.href.startswith(("tel:", "mailto:", "#")):
        return run.text
    is_said = _bare(run.text) == _bare(run.href)
    return run.text if is_said else f"{run.text} ({run.href})"


def _bare(address: str) -> str:
    return _SCHEME.sub("", address.strip()).rstrip("/").casefold()


def _is_break_tag(token: Token) -> bool:
    return token.type == "html_inline" and _BREAK_TAG.match(token.content) is not None


class _Style:
    """What is open where a piece begins: bold and links may go over line breaks."""

    def __init__(self) -> None:
        self._bold = 0
        self._href: str | None = None

    def read(self, tokens: Sequence[Token]) -> list[Run]:
        runs: list[Run] = []
        for token in tokens:
            self._change(token)
            if token.type in {"text", "code_inline", "image"} and token.content:
                runs.append(Run(token.content.replace("\u00a0", " "), bold=self._bold > 0, href=self._href))
        return _joined(runs)

    def _change(self, token: Token) -> None:
        tag = _BOLD_TAG.fullmatch(token.content) if token.type == "html_inline" else None
        if token.type == "strong_open" or (tag is not None and not tag["closing"]):
            self._bold += 1
        elif token.type == "strong_close" or tag is not None:
            self._bold = max(0, self._bold - 1)
        elif token.type == "link_open":
            self._href = str(token.attrs.get("href", ""))
        elif token.type == "link_close":
            self._href = None


def _joined(runs: Sequence[Run]) -> list[Run]:
    """Join neighbours of one style: emphasis inside bold would cut a label in two."""
    groups: list[tuple[Run, list[str]]] = []
    for run in runs:
        if groups and (groups[-1][0].bold, groups[-1][0].href) == (run.bold, run.href):
            groups[-1][1].append(run.text)
        else:
            groups.append((run, [run.text]))
    return [Run("".join(texts), bold=run.bold, href=run.href) for run, texts in groups]
