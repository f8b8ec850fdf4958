"""Finds the paths in the text of a condition and puts a variable in the place of each.

Called by `conditions.py`. CEL would convert all that it is handed and cannot say which key was missing, so
each path is looked up by the reference walker and bound on its own. This is a reading of tokens, not of
CEL's grammar: what it does not know it leaves as it is, for CEL to compile or refuse.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import InvalidConditionError, InvalidReferenceError, UnresolvedReferenceError
from callboard.workflows.macro_limits import MACROS, MacroLimit
from callboard.workflows.reference_syntax import Key
from callboard.workflows.references import (
    Reference,
    Scope,
    Template,
    as_text,
    compile_template,
    describe_type,
    read_reference,
)
from callboard.workflows.text_functions import TEXT_FUNCTIONS

_LITERALS = frozenset({"true", "false", "null", "in"})
_TYPES = frozenset({"bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"})
FUNCTIONS = (
    MACROS
    | TEXT_FUNCTIONS.keys()
    | {
        *("size", "contains", "startsWith", "endsWith", "matches", "has"),
        *("int", "uint", "double", "string", "bytes", "type", "dyn", "timestamp", "duration"),
        *("getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
WORDS_OF_OTHER_LANGUAGES = {
    "and": "&&",
    "or": "||",
    "not": "!",
    "True": "true",
    "False": "false",
    "None": "null",
    "is": "==",
    "contains": "text.contains(part), or item in list",
    "=": "==",
}
_ASKED = frozenset({"has", "size"})  # what is told about a path without CEL
LIMIT_PREFIX = "__limited_"
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_SHOWN_CHARS = 120  # of a condition, in messages

_TOKEN = re.compile(
    r"""
      (?P<blank>\s+|//[^\n]*)
    | (?P<string>[rRbB]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    | (?P<name>[A-Za-z_]\w*)
    | (?P<number>(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)[uU]?)
    | (?P<sign>&&|\|\||[=!<>]=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PLAIN_STRING = re.compile(r"""(["'])([^\\]*)\1""", re.DOTALL)
_HYPHENATED = re.compile(r"steps\.[\w-]+(?:\.[\w-]+)*")


@dataclass(frozen=True, slots=True)
class Variable:
    """One value that is bound before CEL runs. `limit` is set where a macro goes over its items.

    With `is_presence` or `is_size` it is whether the path leads to anything, or the size of what is there.
    """

    name: str
    source: Reference | Template
    is_presence: bool = False
    is_size: bool = False
    limit: MacroLimit | None = None

    def read(self, scope: Scope) -> JsonValue:
        """Return the value. Raises: UnresolvedReferenceError."""
        if isinstance(self.source, Template):
            return as_text(self.source.render(scope))
        if self.is_presence:
            return self.source.exists(scope)
        value = self.source.resolve(scope)
        return _size_of(value, self.source) if self.is_size else value

    def is_known(self, scope: Scope, accept: Callable[[JsonValue], bool]) -> bool:
        """Return whether `accept` takes what is read; a path that leads to nothing is known to."""
        sources = self.source.references if isinstance(self.source, Template) else (self.source,)
        for source in sources:
            try:
                value = source.resolve(scope)
            except UnresolvedReferenceError:
                continue
            if not accept(value):
                return False
        return True


@dataclass(slots=True)
class Token:
    """A piece of the text. `variable` is set where a value is bound in its place."""

    kind: str
    text: str
    position: int
    variable: Variable | None = None
    before: str = ""
    after: str = ""

    @property
    def end(self) -> int:
        return self.position + len(self.text)

    @property
    def emitted(self) -> str:
        return self.before + (self.variable.name if self.variable is not None else self.text) + self.after


@dataclass(frozen=True, slots=True)
class BoundText:
    """A condition with a variable in the place of each path. `limits` = by the name under which CEL calls them."""

    text: str
    where: str
    tokens: list[Token]
    variables: tuple[Variable, ...]
    limits: Mapping[str, MacroLimit]

    @property
    def cel(self) -> str:
        return " ".join(token.emitted for token in self.tokens)

    @property
    def references(self) -> tuple[Reference, ...]:
        """Every path that is read, each once. One that may lead to nothing has a default: `has(path)` too."""
        by_text: dict[tuple[str, bool], Reference] = {}
        for variable in self.variables:
            found = variable.source.references if isinstance(variable.source, Template) else (variable.source,)
            for reference in found:
                may_miss = replace(reference, has_default=True) if variable.is_presence else reference
                by_text.setdefault((may_miss.text, may_miss.has_default), may_miss)
        return tuple(by_text.values())

    def token_at(self, column: int) -> Token:
        """Return the token at `column` (from 1) of `cel`, the last one when there is none."""
        emitted = 0
        for token in self.tokens:
            emitted += len(token.emitted) + 1
            if column <= emitted:
                return token
        return self.tokens[-1]

    def refuse(self, reason: str, token: Token) -> InvalidConditionError:
        """Return the error that `token` is wrong for `reason`."""
        return refusal(self.text, self.where, reason, token.position)


def bind_paths(text: str, *, where: str) -> BoundText:
    """Return `text` with a variable in the place of each path.

    Raises: InvalidConditionError, for a reference that cannot be read and for macros inside each other.
    """
    bound = _Binder(text, where).bind()
    if not bound.tokens:
        raise refusal(text, where, "it is empty", 0)
    return bound


def place_of(where: str) -> str:
    """Return `where` as the beginning of a message."""
    return f"{where}: " if where else ""


def shorten(text: str) -> str:
    """Return `text`, or the beginning of it, for a message."""
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def refusal(text: str, where: str, reason: str, position: int) -> InvalidConditionError:
    """Return the error that the condition `text` does not compile."""
    return InvalidConditionError(
        f"{place_of(where)}{shorten(text)} does not compile: {reason.rstrip('.')}, at character {position + 1}.",
        position=position,
    )


def _size_of(value: JsonValue, source: Reference) -> int:
    if isinstance(value, str | list | dict):
        return len(value)
    hint = f"; write ${{{source.text} ?? []}}" if value is None else ""
    raise UnresolvedReferenceError(
        f"size() takes text, a list or an object, and {source.text} is {describe_type(value)}{hint}"
    )


class _Binder:
    """Turns one text into CEL in which every path is a variable."""

    def __init__(self, text: str, where: str) -> None:
        self._text, self._where = text, where
        self._variables: dict[tuple[str, str, int], Variable] = {}
        self._limits: dict[str, MacroLimit] = {}

    def bind(self) -> BoundText:
        tokens = self._bind_paths(self._read_tokens())
        self._limit_macros(tokens)
        return BoundText(self._text, self._where, tokens, tuple(self._variables.values()), self._limits)

    def _read_tokens(self) -> list[Token]:
        tokens: list[Token] = []
        position = 0
        while position < len(self._text):
            if self._text.startswith("${", position):
                token = self._read_placeholder(position)
            else:
                match = _TOKEN.match(self._text, position)
                assert match is not None  # its last branch takes any character
                token = Token(str(match.lastgroup), match.group(), position)
                if token.kind == "string" and "${" in token.text:
                    self._bind_text(token)
            if token.kind != "blank":
                tokens.append(token)
            position = token.end
        return tokens

    def _read_placeholder(self, position: int) -> Token:
        try:
            reference, end = read_reference(self._text, position, where=self._where)
        except InvalidReferenceError as error:
            raise InvalidConditionError(error.message, position=error.position) from error
        token = Token("path", self._text[position:end], position)
        if isinstance(reference, Reference):
            token.variable = self._bind(reference)
        else:
            token.kind, token.variable = "string", self._bind_template(compile_template(token.text))
        return token

    def _bind_text(self, token: Token) -> None:
        """Bind a text literal with references in it as one text."""
        match = _PLAIN_STRING.fullmatch(token.text)
        if match is None:
            raise self._error("a reference stands in a text with a prefix or a backslash; write it outside", token)
        try:
            template = compile_template(match.group(2), where=self._where)
        except InvalidReferenceError as error:
            raise InvalidConditionError(error.message, position=token.position) from error
        start = token.position + 1  # behind the quote
        placed = tuple(replace(each, position=start + each.position) for each in template.references)
        token.variable = self._bind_template(replace(template, references=placed))

    def _bind(self, reference: Reference, *, asked: str = "") -> Variable:
        """Return the variable of `reference`: its value, or what `has` or `size` tells of it."""
        if reference.root == "secrets":
            raise InvalidConditionError(f"{place_of(self._where)}a condition cannot read secrets.")
        label = f"{reference.text} ?? {reference.default!r}" if reference.has_default else reference.text
        key = (label, asked, -1)
        if key not in self._variables:
            self._variables[key] = Variable(
                f"__path_{len(self._variables)}", reference, is_presence=asked == "has", is_size=asked == "size"
            )
        return self._variables[key]

    def _bind_template(self, template: Template) -> Variable:
        variable = Variable(f"__path_{len(self._variables)}", template)
        self._variables[variable.name, "", -1] = variable
        return variable

    def _bind_paths(self, tokens: list[Token]) -> list[Token]:
        bound = _names_bound_by_macros(tokens, self._error)
        result: list[Token] = []
        index = 0
        while index < len(tokens):
            taken, index = self._bind_at(tokens, index, bound[index])
            result.extend(taken)
        return result

    def _bind_at(self, tokens: list[Token], index: int, bound: frozenset[str]) -> tuple[list[Token], int]:
        """Return what stands at `index` with its path bound, and the index behind it."""
        token = tokens[index]
        if index > 0 and tokens[index - 1].text == ".":
            return [token], index + 1
        if token.text in _ASKED and _text_at(tokens, index + 1) == "(":
            answer, end = self._answer_at(tokens, index, bound)
            if answer is not None:
                return [answer], end
        end = self._end_of_path(tokens, index)
        if end == index:
            return [token], index + 1
        if token.text in bound:
            return tokens[index:end], end
        reference = self._reference_of(tokens[index:end])
        path = Token("path", reference.text, token.position, self._bind(reference))
        self._refuse_hyphen(path, tokens[end : end + 2])
        return [path], end

    def _answer_at(self, tokens: list[Token], index: int, bound: frozenset[str]) -> tuple[Token | None, int]:
        """Return the value of `has(path)` or `size(path)` at `index` as a token, or None when it is CEL's own matter.

        CEL would take the whole value over to tell either: 0.5 s for a list of 100,000 objects.
        """
        start = index + 2
        if start >= len(tokens) or tokens[start].text in bound:
            return None, index
        variable = tokens[start].variable
        if variable is not None and isinstance(variable.source, Reference):
            reference, end = variable.source, start + 1
        else:
            end = self._end_of_path(tokens, start)
            if end == start:
                return None, index
            reference = self._reference_of(tokens[start:end])
        if _text_at(tokens, end) != ")":
            return None, index
        variable = self._bind(reference, asked=tokens[index].text)
        return Token("path", reference.text, tokens[start].position, variable), end + 1

    def _end_of_path(self, tokens: list[Token], index: int) -> int:
        """Return the index behind the path that begins at `index`; `index` itself where none does."""
        token = tokens[index]
        if token.kind != "name" or token.text in _LITERALS or _text_at(tokens, index + 1) == "(":
            return index
        end = index + 1
        while end < len(tokens):
            sign = tokens[end].text
            if sign == "." and _kind_at(tokens, end + 1) == "name" and _text_at(tokens, end + 2) != "(":
                end += 2
            elif sign == "[" and _text_at(tokens, end + 2) == "]" and _constant_key(tokens[end + 1]) is not None:
                end += 3
            else:
                break
        return index if end == index + 1 and token.text in _TYPES else end

    def _reference_of(self, tokens: Sequence[Token]) -> Reference:
        keys: list[Key] = []
        for before, token in pairwise(tokens):
            if before.text == ".":
                keys.append(token.text)
            elif before.text == "[":
                key = _constant_key(token)
                assert key is not None  # or the path would have ended before it
                keys.append(key)
        root = tokens[0].text
        if root == "not" and self._text[tokens[0].end :].lstrip().startswith("in "):
            raise self._error('"not in" is written !(item in list)', tokens[0])
        if root in WORDS_OF_OTHER_LANGUAGES:
            raise self._error(f'"{root}" is written {WORDS_OF_OTHER_LANGUAGES[root]}', tokens[0])
        if root == "steps" and not (keys and isinstance(keys[0], str)):
            raise self._error("name a step: steps.ID.output", tokens[0])
        text = self._text[tokens[0].position : tokens[-1].end]
        return Reference(text, root, tuple(keys), where=self._where, position=tokens[0].position)

    def _refuse_hyphen(self, path: Token, behind: Sequence[Token]) -> None:
        if path.variable is None or not isinstance(path.variable.source, Reference):
            return
        if path.variable.source.root != "steps" or len(path.variable.source.keys) != 1 or len(behind) < 2:
            return
        sign, operand = behind
        if (
            sign.text == "-"
            and sign.position == path.end
            and operand.position == sign.end
            and operand.text[0].isalnum()
        ):
            match = _HYPHENATED.match(self._text, path.position)
            meant = match.group() if match is not None else path.text
            raise self._error(f"{meant} would be a subtraction; write ${{{meant}}}", path)

    def _limit_macros(self, tokens: list[Token]) -> None:
        for index, macro in _macros_in(tokens):
            limit = _limit_of(tokens, index, macro)
            first, last = _receiver_of(tokens, index - 1), index - 2
            only = tokens[first].variable if first == last else None
            if only is not None and isinstance(only.source, Reference):
                tokens[first].variable = self._bind_limited(only, index, limit)
                continue
            name = f"{LIMIT_PREFIX}{index}"
            self._limits[name] = limit
            tokens[first].before = f"{name}({tokens[first].before}"
            tokens[last].after += ")"

    def _bind_limited(self, variable: Variable, index: int, limit: MacroLimit) -> Variable:
        """Bind a path once more for one macro: where its list is too long, only the macro may not read it."""
        limited = Variable(f"__path_{len(self._variables)}", variable.source, limit=limit)
        self._variables[variable.name, "", index] = limited
        return limited

    def _error(self, reason: str, token: Token) -> InvalidConditionError:
        return refusal(self._text, self._where, reason, token.position)


def _macros_in(tokens: Sequence[Token]) -> Iterator[tuple[int, str]]:
    """Yield the index and name of each macro that goes over a list: `.map(x, ...)` and its like."""
    for index, token in enumerate(tokens):
        is_member = index > 0 and tokens[index - 1].text == "."
        if is_member and token.text in MACROS and _text_at(tokens, index + 1) == "(":
            yield index, token.text


def _limit_of(tokens: Sequence[Token], index: int, macro: str) -> MacroLimit:
    body = tokens[index + 2 : _closing(tokens, index + 1)]
    item_uses = tuple(
        _keys_behind(body, position)
        for position, token in enumerate(body)
        if position > 0 and token.kind == "name" and token.text == body[0].text and body[position - 1].text != "."
    )
    variables = tuple(token.variable.name for token in body if token.variable is not None)
    return MacroLimit(macro, len(body), item_uses, variables)


def _keys_behind(tokens: Sequence[Token], index: int) -> tuple[str, ...]:
    """Return the names `.a.b` behind the name at `index`; a method is none of them."""
    keys: list[str] = []
    while (
        _text_at(tokens, index + 1) == "."
        and _kind_at(tokens, index + 2) == "name"
        and _text_at(tokens, index + 3) != "("
    ):
        index += 2
        keys.append(tokens[index].text)
    return tuple(keys)


def _names_bound_by_macros(
    tokens: Sequence[Token], error: Callable[[str, Token], InvalidConditionError]
) -> list[frozenset[str]]:
    """Return for each token the names that a macro around it binds. Raises: for a macro within a macro."""
    bound: list[frozenset[str]] = [frozenset()] * len(tokens)
    end_of_last = -1
    for index, macro in _macros_in(tokens):
        end = _closing(tokens, index + 1)
        if index < end_of_last:
            raise error(
                f"{macro} stands inside another macro; use a filter or map step for the inner one", tokens[index]
            )
        end_of_last = end
        if _kind_at(tokens, index + 2) == "name" and _text_at(tokens, index + 3) == ",":
            bound[index + 2 : end] = [frozenset({tokens[index + 2].text})] * (end - index - 2)
    return bound


def _closing(tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for index in range(opening, len(tokens)):
        depth += (tokens[index].text in _OPENING) - (tokens[index].text in _CLOSING)
        if depth == 0:
            return index
    return len(tokens)


def _receiver_of(tokens: Sequence[Token], dot: int) -> int:
    """Return the index of the first token of what stands before the dot at `dot`."""
    index = dot - 1
    while index > 0:
        if tokens[index].text in _CLOSING:
            index = _opening(tokens, index)
            is_suffix = index > 0 and (tokens[index - 1].kind in {"name", "path"} or tokens[index - 1].text in _CLOSING)
            if is_suffix and tokens[index].text != "{":
                index -= 1  # a call or an index: what it belongs to stands before it
                continue
        if index > 0 and tokens[index - 1].text == ".":
            index -= 2
            continue
        break
    return max(index, 0)


def _opening(tokens: Sequence[Token], closing: int) -> int:
    depth = 0
    for index in range(closing, -1, -1):
        depth += (tokens[index].text in _CLOSING) - (tokens[index].text in _OPENING)
        if depth == 0:
            return index
    return 0


def _constant_key(token: Token) -> Key | None:
    if token.kind == "number" and token.text.isdigit():
        return int(token.text)
    match = _PLAIN_STRING.fullmatch(token.text) if token.kind == "string" and token.variable is None else None
    return match.group(2) if match is not None else None


def _text_at(tokens: Sequence[Token], index: int) -> str:
    return tokens[index].text if index < len(tokens) else ""


def _kind_at(tokens: Sequence[Token], index: int) -> str:
    return tokens[index].kind if index < len(tokens) else ""
