"""Why a text is no JSON, in words that say what to do. Called by `files.py` once a parser has refused the text.

A parser stops at the first fault and names what it expected. This reader goes on over what people write by
habit (comments, single quotes, a comma too many or too few, Python's words) and tells each, with its place.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from callboard.workflows.source_positions import Lines

MAX_FAULTS = 20

_TOKEN = re.compile(
    r"""
      (?P<blank>[ \t\r\n]+)
    | (?P<comment>//[^\r\n]*|/\*.*?(?:\*/|\Z)|\#[^\r\n]*)
    | (?P<string>"(?:[^"\\\r\n]|\\[^\r\n])*")
    | (?P<open_string>"(?:[^"\\\r\n]|\\[^\r\n])*\\?)
    | (?P<quoted>'(?:[^'\\\r\n]|\\[^\r\n])*'|[\u201c\u201d\u201e][^"\u201c\u201d\r\n]*["\u201c\u201d]|`[^`]*`)
    | (?P<sign>[{}\[\],:])
    | (?P<word>[^\s{}\[\],:"'`;=/\#\u201c\u201d]+)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_YAML = re.compile(r"\s*(?:---\s|[A-Za-z_]\w*:\s)")
_FENCE = re.compile(r"\s*```")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LIKE_NUMBER = re.compile(r"[-+.]?[\d.][\w.+-]*")
_BAD_ESCAPE = re.compile(r'\\(?:u(?![0-9a-fA-F]{4})|[^"\\/bfnrtu])')
_GOOD_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')
_CONTROL = re.compile(r"[\x00-\x1f]")
_LITERALS = frozenset({"true", "false", "null"})
_WORDS = {
    **dict.fromkeys(("True", "TRUE", "yes"), "true"),
    **dict.fromkeys(("False", "FALSE", "no"), "false"),
    **dict.fromkeys(("None", "NULL", "nil", "undefined"), "null"),
}
_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity", "inf", "-inf", "nan"})
_SHOWN_CHARS = 40  # of a piece of text, in messages


@dataclass(frozen=True, slots=True)
class JsonFault:
    """One reason why a text is no JSON. `position` counts characters from 0."""

    message: str
    position: int


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: str
    text: str
    position: int

    @property
    def end(self) -> int:
        return self.position + len(self.text)


class _UnreadableError(Exception):
    """What follows cannot be told from here; the faults so far stand."""


def find_json_faults(text: str, *, reason: str, position: int) -> list[JsonFault]:
    """Return why `text` is no JSON, in order.

    Where nothing else is known that is what the parser said: `reason` at `position`.

    >>> [(fault.message, fault.position) for fault in find_json_faults('[1,]', reason="", position=3)]
    [('A comma too many: nothing follows it before the ]. Remove it.', 2)]
    """
    if _YAML.match(text):
        return [JsonFault('This looks like YAML. A definition is JSON: {"name": "...", "steps": [...]}.', 0)]
    if _FENCE.match(text):
        return [JsonFault("This is Markdown around JSON: leave out the lines with ```.", 0)]
    reader = _Reader(text)
    with suppress(_UnreadableError):
        reader.read()
    faults = reader.faults or [JsonFault(f"This is no valid JSON: {reason}.", position)]
    return faults[:MAX_FAULTS]


class _Reader:
    """Reads the text piece by piece and keeps which brackets are open."""

    def __init__(self, text: str) -> None:
        self.faults: list[JsonFault] = []
        self._text = text
        self._lines = Lines(text)
        self._open: list[_Piece] = []
        self._expected = "value"  # value, item (or ]), key, member (or }), colon, comma, end
        self._last: _Piece | None = None

    def read(self) -> None:
        for piece in self._pieces():
            if len(self.faults) >= MAX_FAULTS:
                return
            self._take(piece)
            self._last = piece
        self._check_end()

    def _pieces(self) -> Iterator[_Piece]:
        for match in _TOKEN.finditer(self._text):
            kind = str(match.lastgroup)
            piece = _Piece(kind, match.group(), match.start())
            if kind == "comment":
                self._fault('JSON has no comments. Remove it, or write it into a "description".', piece.position)
            elif kind != "blank":
                yield piece

    def _take(self, piece: _Piece) -> None:
        is_closing = piece.text in {"}", "]"} and piece.kind == "sign"
        match self._expected:
            case "end":
                self._fault(f"The definition ends before this, and {_show(piece)} follows. Remove it.", piece.position)
                raise _UnreadableError
            case "colon":
                self._take_colon(piece)
            case "comma":
                self._take_comma(piece)
            case _ if is_closing:
                self._close(piece)
            case "key" | "member":
                self._take_key(piece)
            case _:
                self._take_value(piece)

    def _take_colon(self, piece: _Piece) -> None:
        if piece.text == ":":
            self._expected = "value"
        elif piece.text == "=":
            self._fault("Between a key and its value stands a colon, not =.", piece.position)
            self._expected = "value"
        else:
            assert self._last is not None
            if piece.text in {",", "}"}:
                self._fault(
                    f"The key {_show(self._last)} has no value: write {_show(self._last)}: ...", self._last.position
                )
                self._expected = "comma"
                self._take_comma(piece)
                return
            if self._last.text.endswith((':"', ': "')):
                name = self._last.text.rstrip(' :"')
                self._fault(f'The key has no " at its end: write {name}": ...', self._last.position)
                raise _UnreadableError
            self._fault(f"A colon is missing between the key {_show(self._last)} and its value.", self._last.end)
            self._expected = "value"
            self._take_value(piece)

    def _take_comma(self, piece: _Piece) -> None:
        in_object = self._open[-1].text == "{"
        if piece.text == ",":
            self._expected = "key" if in_object else "value"
        elif piece.text in {"}", "]"}:
            self._close(piece)
        elif piece.text == ";":
            self._fault("Values are separated by a comma, not by a semicolon.", piece.position)
            self._expected = "key" if in_object else "value"
        elif piece.text == ":" and not in_object:
            opening = self._lines.spot_at(self._open[-1].position)
            self._fault(
                f"A colon stands in the list that begins on line {opening.line}; objects are written in {{}}.",
                piece.position,
            )
            raise _UnreadableError
        else:
            self._miss_comma(piece)
            self._expected = "key" if in_object else "value"
            self._take(piece)

    def _miss_comma(self, piece: _Piece) -> None:
        assert self._last is not None
        line = self._lines.spot_at(piece.position).line
        if (
            self._last.kind == "string"
            and piece.kind == "word"
            and self._lines.spot_at(self._last.position).line == line
        ):
            message = f'The text ends at this ", and {_show(piece)} follows. A " inside text is written \\".'
            self._fault(message, self._last.end - 1)
            raise _UnreadableError
        self._fault(f"A comma is missing here, before {_show(piece)} on line {line}.", self._last.end)

    def _take_key(self, piece: _Piece) -> None:
        if piece.kind == "string":
            self._check_string(piece)
        elif piece.kind == "quoted":
            self._fault(f"Keys stand in double quotes: write {_quote(piece)}.", piece.position)
        elif piece.kind == "word":
            self._fault(f'Keys stand in double quotes: write "{_cut(piece.text)}".', piece.position)
        elif piece.text == ",":
            self._fault("A comma too many. Remove it.", piece.position)
            return
        elif piece.text in {"{", "["}:
            opening = self._lines.spot_at(self._open[-1].position)
            self._fault(
                f"A {piece.text} where a key is expected. Is a }} missing before it? "
                f"The object of line {opening.line} is still open.",
                piece.position,
            )
            raise _UnreadableError
        else:
            self._refuse(piece)
        self._expected = "colon"

    def _take_value(self, piece: _Piece) -> None:
        if piece.text in {"{", "["} and piece.kind == "sign":
            self._open.append(piece)
            self._expected = "member" if piece.text == "{" else "item"
            return
        if piece.kind == "string":
            self._check_string(piece)
        elif piece.kind == "quoted":
            self._fault(f"Text stands in double quotes: write {_quote(piece)}.", piece.position)
        elif piece.kind == "word":
            self._check_word(piece)
        elif piece.text == ",":
            self._miss_value(piece)
            return
        else:
            self._refuse(piece)
        self._expected = "comma" if self._open else "end"

    def _miss_value(self, piece: _Piece) -> None:
        if self._open and self._open[-1].text == "{":
            self._fault("The value is missing before this comma.", piece.position)
            self._expected = "key"
        else:
            self._fault("A comma too many. Remove it.", piece.position)

    def _close(self, piece: _Piece) -> None:
        if not self._open:
            self._fault(f"This {piece.text} closes nothing. Remove it.", piece.position)
            raise _UnreadableError
        opening = self._open[-1]
        wanted = "}" if opening.text == "{" else "]"
        if piece.text != wanted and all(each.text == opening.text for each in self._open):
            self._fault(f"This {piece.text} closes nothing. Remove it.", piece.position)
            return
        if piece.text != wanted:
            line = self._lines.spot_at(opening.position).line
            self._fault(
                f"A {wanted} is missing before this {piece.text}: the {opening.text} of line {line} is still open.",
                piece.position,
            )
            self._open.pop()
            if not self._open or ("}" if self._open[-1].text == "{" else "]") != piece.text:
                raise _UnreadableError
        elif self._last is not None and self._last.text == "," and self._last.kind == "sign":
            if self._expected in {"key", "value"}:
                message = f"A comma too many: nothing follows it before the {piece.text}. Remove it."
                self._fault(message, self._last.position)
        elif self._expected == "value" and self._last is not None and self._last.text == ":":
            self._fault("The value is missing behind this colon.", self._last.position)
        self._open.pop()
        self._expected = "comma" if self._open else "end"

    def _check_string(self, piece: _Piece) -> None:
        at = 0
        while (slash := piece.text.find("\\", at)) >= 0:
            good = _GOOD_ESCAPE.match(piece.text, slash)
            if good is None:
                bad = piece.text[slash : slash + 2]
                self._fault(
                    f"{bad} is no escape in JSON. A backslash is written twice: \\{bad}.", piece.position + slash
                )
            at = good.end() if good is not None else slash + 2
        control = _CONTROL.search(piece.text)
        if control is not None:
            shown = {"\t": "A tab inside text is written \\t"}.get(
                control.group(), f"The control character {ord(control.group()):#04x} cannot stand in text; remove it"
            )
            self._fault(f"{shown}.", piece.position + control.start())

    def _check_word(self, piece: _Piece) -> None:
        word = piece.text
        if word in _LITERALS or _NUMBER.fullmatch(word):
            return
        if word in _WORDS:
            message = f"{word} is written {_WORDS[word]} in JSON."
        elif word in _NOT_FINITE:
            message = f"{word} is no JSON number. Write null, or leave the field out."
        elif _LIKE_NUMBER.fullmatch(word):
            message = (
                f"{_cut(word)} is no JSON number: digits with a point between, no + and no 0 in front. "
                "Text stands in double quotes."
            )
        elif word.startswith("$"):
            message = f'References stand in text, in double quotes: "{_cut(word)}{{...}}".'
        else:
            message = f'Text stands in double quotes: write "{_cut(word)}".'
        self._fault(message, piece.position)
        if word.startswith("$"):
            raise _UnreadableError

    def _refuse(self, piece: _Piece) -> None:
        if piece.kind == "open_string":
            message = (
                'The text that begins here is not closed on its line. Add the "; '
                "a line break inside text is written \\n."
            )
        else:
            message = f"{_show(piece)} cannot stand here: expected {_EXPECTATIONS[self._expected]}."
        self._fault(message, piece.position)
        raise _UnreadableError

    def _check_end(self) -> None:
        if self._open:
            opening = self._open[-1]
            wanted = "}" if opening.text == "{" else "]"
            last = self._lines.spot_at(len(self._text.rstrip())).line
            self._fault(
                f"This {opening.text} is never closed: a {wanted} is missing. The text ends on line {last}.",
                opening.position,
            )
        elif self._expected == "value" and self._last is None:
            self._fault('There is nothing in it. A definition is an object: {"name": ..., "steps": [...]}.', 0)

    def _fault(self, message: str, position: int) -> None:
        self.faults.append(JsonFault(message, position))


_EXPECTATIONS = {
    "value": "a value",
    "item": "a value or ]",
    "key": "a key in double quotes",
    "member": "a key in double quotes or }",
}


def _show(piece: _Piece) -> str:
    return _cut(piece.text)


def _quote(piece: _Piece) -> str:
    inner = piece.text[1:-1].replace('"', '\\"')
    return f'"{_cut(inner)}"'


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
