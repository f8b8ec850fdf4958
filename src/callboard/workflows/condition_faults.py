"""Why a condition does not compile, in words that say what to write instead. `conditions.py` calls it.

CEL's parser stops at its first fault and names tokens. Here the text is read piece by piece, and what people
bring along from JavaScript, Python, SQL and templates is told, each at its place, and so are brackets and
quotes that are not closed. Nothing here decides whether a text compiles.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from callboard.workflows.condition_paths import FUNCTIONS, WORDS_OF_OTHER_LANGUAGES
from callboard.workflows.findings import suggest

_PIECE = re.compile(
    r"""
      (?P<blank>\s+|//[^\n]*)
    | (?P<braces>\{\{\s*[\w.\[\]-]+\s*\}\})
    | (?P<reference>\$\{[^}]*\}?)
    | (?P<string>[rRbB]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    | (?P<open_string>["'])
    | (?P<number>\d[\w.]*|\.\d\w*)
    | (?P<pair>(?:not\s+in|is\s+not)\b)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>===|!==|<>|=>|=~|\?\?|\?\.|&&|\|\||[=!<>]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_JOINING = frozenset({"&&", "||", "==", "!=", "<", "<=", ">", ">=", "+", "*", "/", "%", ",", "?", ":", "."})

_SIGNS = {
    "=": '"=" is written ==',
    "===": '"===" is written ==',
    "!==": '"!==" is written !=',
    "<>": '"<>" is written !=',
    "=>": '"=>" is no operator: at least is written >=, and a macro takes the name and the test, list.filter(x, x > 1)',
    "=~": '"=~" is written text.matches("pattern")',
    "~": '"~" is no operator; a pattern is tried by text.matches("pattern")',
    "??": "a default stands inside a reference: ${path ?? default}",
    "?.": 'there is no "?."; has(path) tells whether a key is there, and ${path ?? null} gives a default',
    "&": '"&" is written &&',
    "|": '"|" is written ||, and there are no filters',
    "#": "a condition has no comments",
    ";": "a condition is one expression, without a semicolon",
    "$": "a path begins with its name, such as input or steps; write it without $, or as ${path}",
    "@": "a path begins with its name, such as input, steps or item; write it without @",
    "`": "text stands in single or double quotes",
}
_WORDS = {
    **{word: f'"{word}" is written {meant}' for word, meant in WORDS_OF_OTHER_LANGUAGES.items() if word.isalpha()},
    **{word: f'"{word}" is written &&' for word in ("AND", "And")},
    **{word: f'"{word}" is written ||' for word in ("OR", "Or")},
    "NOT": '"NOT" is written !',
    "IN": '"IN" is written in',
    **{word: f'"{word}" is written null' for word in ("undefined", "nil", "NULL", "Null")},
    "TRUE": '"TRUE" is written true',
    "FALSE": '"FALSE" is written false',
    "typeof": '"typeof x" is written type(x), which is int, double, string, bool, list or map',
    **dict.fromkeys(("if", "then", "else"), "a choice is written condition ? value : other"),
    "matches": '"matches" is written text.matches("pattern")',
    "like": '"like" is written text.contains("part") or text.matches("pattern")',
    "LIKE": '"LIKE" is written text.contains("part") or text.matches("pattern")',
    "startsWith": '"startsWith" is written text.startsWith("part")',
    "endsWith": '"endsWith" is written text.endsWith("part")',
    "lambda": "there are no functions to define; an expression is worked out for each item as it stands",
    "for": "a list is made of a list by list.map(x, x.name)",
    "between": '"between" is written x >= low && x <= high',
}
_PAIRS = {"not": '"not in" is written !(item in list)', "is": '"is not" is written !='}
_ALSO_CALLED = frozenset({"and", "or", "not", "is", "if", "typeof"})  # and(x) is that word, contains(x) is a call

_HAS = "has(path) tells whether a key is there"
_SIZE = "size(x) counts a list or a text"
_FUNCTIONS_OF_OTHERS = {
    **dict.fromkeys(("len", "length", "count"), _SIZE),
    **dict.fromkeys(("empty", "isEmpty", "is_empty"), "write size(x) == 0"),
    **dict.fromkeys(("defined", "isset", "hasOwnProperty"), _HAS),
    **dict.fromkeys(("isNull", "is_null", "isnull"), "write x == null"),
    "get": "${path ?? default} gives a default",
    **dict.fromkeys(("includes", "include"), "write item in list, or text.contains(part)"),
    "indexOf": "write item in list, or text.contains(part)",
    **dict.fromkeys(("toLowerCase", "lowercase", "casefold"), "write text.lower()"),
    **dict.fromkeys(("toUpperCase", "uppercase"), "write text.upper()"),
    **dict.fromkeys(("str", "toString", "String"), "string(x) makes text"),
    **dict.fromkeys(("float", "parseFloat", "Number"), "double(x) makes a number"),
    **dict.fromkeys(("parseInt", "Integer"), "int(x) makes a whole number"),
    **dict.fromkeys(("some", "any"), "write list.exists(x, x > 1)"),
    "every": "write list.all(x, x > 1)",
    "find": "write list.filter(x, x > 1)[0]",
    **dict.fromkeys(("match", "test", "regex"), 'write text.matches("pattern")'),
    **dict.fromkeys(("isinstance", "typeOf"), "write type(x) == string"),
    **dict.fromkeys(("now", "today"), "${context.started_at} is when the run began"),
    "not": "write !(x)",
}


@dataclass(frozen=True, slots=True)
class ConditionFault:
    """One reason why a condition does not compile. `position` counts characters from 0."""

    reason: str
    position: int


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: str
    text: str
    position: int


def find_condition_faults(text: str) -> list[ConditionFault]:
    """Return what is written in `text` as other languages have it, in order; else what is never closed.

    >>> [(fault.reason, fault.position) for fault in find_condition_faults("input.n = 1 and input.x")]
    [('"=" is written ==', 8), ('"and" is written &&', 12)]
    """
    pieces = [
        _Piece(str(match.lastgroup), match.group(), match.start())
        for match in _PIECE.finditer(text)
        if match.lastgroup != "blank"
    ]
    return list(_habits_in(pieces)) or list(_shape_faults_in(pieces))[:1]


def explain_unknown_function(name: str) -> str:
    """Return that there is no function `name`, and what to write instead."""
    meant = _FUNCTIONS_OF_OTHERS.get(name)
    if meant is not None:
        return f'there is no function "{name}"; {meant}'
    return f'there is no function "{name}".{suggest(name, FUNCTIONS, what="Functions:")}'


def explain_parser(reason: str) -> str:
    """Return what CEL's parser said of one token, without its own terms."""
    if reason.startswith("Incomplete `IndexContext`"):
        return "a [ is never closed"
    if reason.startswith("Incomplete `ExprContext`"):
        return "a choice has three parts: condition ? value : other"
    match = re.match(r"(?:mismatched|extraneous|no viable alternative at) input (.*)", reason, re.DOTALL)
    if match is None:
        return reason.replace("token recognition error at: ", "this sign means nothing here: ")
    what = match.group(1).strip("'` ")
    return f"{what} is not expected here; is an operator (&&, ||, ==, ...) or a value missing before it?"


def _habits_in(pieces: Sequence[_Piece]) -> Iterator[ConditionFault]:
    for index, piece in enumerate(pieces):
        before = pieces[index - 1].text if index else ""
        behind = pieces[index + 1].text if index + 1 < len(pieces) else ""
        if piece.kind == "open_string":
            yield ConditionFault("the text that begins here is never closed", piece.position)
            return  # the quotes behind it pair up wrongly
        reason = _habit(piece, before, behind)
        if reason is not None:
            yield ConditionFault(reason, piece.position)


def _habit(piece: _Piece, before: str, behind: str) -> str | None:
    if piece.kind == "braces":
        path = piece.text.strip("{} ")
        return f"{piece.text} is no reference here; write {path}, or ${{{path}}}"
    if piece.kind == "sign":
        return _SIGNS.get(piece.text)
    if before == ".":
        return None
    if piece.kind == "pair":
        return _PAIRS[piece.text.split()[0]]
    if piece.kind == "name" and (behind != "(" or piece.text in _ALSO_CALLED):
        return _WORDS.get(piece.text)
    return None


def _shape_faults_in(pieces: Sequence[_Piece]) -> Iterator[ConditionFault]:
    """Yield brackets that do not match, lists in round brackets, and operators without a value."""
    opened: list[int] = []
    for index, piece in enumerate(pieces):
        if piece.kind == "sign" and piece.text in _BRACKETS:
            opened.append(index)
        elif piece.kind == "sign" and piece.text in _BRACKETS.values():
            if not opened or _BRACKETS[pieces[opened[-1]].text] != piece.text:
                yield ConditionFault(f"this {piece.text} closes nothing", piece.position)
                return
            opened.pop()
        elif piece.text == "," and opened and _is_plain_bracket(pieces, opened[-1]):
            yield ConditionFault("a list is written in square brackets: [1, 2]", pieces[opened[-1]].position)
            return
    if opened:
        bracket = pieces[opened[-1]]
        yield ConditionFault(
            f"this {bracket.text} is never closed: a {_BRACKETS[bracket.text]} is missing", bracket.position
        )
    yield from _lonely_operators_in(pieces)


def _is_plain_bracket(pieces: Sequence[_Piece], index: int) -> bool:
    """Return whether the bracket at `index` is a round one that belongs to no call."""
    before = pieces[index - 1] if index else None
    return pieces[index].text == "(" and (before is None or before.kind != "name" or before.text == "in")


def _lonely_operators_in(pieces: Sequence[_Piece]) -> Iterator[ConditionFault]:
    for index, piece in enumerate(pieces):
        if not _is_one_of(piece, _JOINING):
            continue
        if index == len(pieces) - 1:
            yield ConditionFault(f'it ends too early: nothing follows "{piece.text}"', piece.position)
        elif index == 0:
            yield ConditionFault(f'nothing stands before "{piece.text}"', piece.position)
        elif _is_one_of(pieces[index + 1], _JOINING):
            yield ConditionFault(
                f'a value is missing before this "{pieces[index + 1].text}"', pieces[index + 1].position
            )


def _is_one_of(piece: _Piece, signs: Collection[str]) -> bool:
    return piece.kind == "sign" and piece.text in signs
