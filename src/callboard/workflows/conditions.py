"""Conditions and expressions in CEL over the run's names: compiled at load, evaluated per step or item.

Called by the compiler and the engine (`when`, the conditional step) and by the filter and map transforms,
which put `item` and `index` into the scope's locals.

CEL converts every variable it is handed, cannot say which key was missing, and has no cost limit. So paths
such as `steps.a.output.n`, and `${...}` too, are found in the text here and each is bound as one variable
with the value that the reference walker finds; a path that leads to nothing stays unbound, so CEL fails on
it only where it needs it (`a || b` may not), and the message is the walker's.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import cel

from callboard.core.json_values import JsonValue, find_unstorable
from callboard.workflows.condition_faults import explain_parser, explain_unknown_function, find_condition_faults
from callboard.workflows.condition_paths import (
    FUNCTIONS,
    BoundText,
    Variable,
    bind_paths,
    place_of,
    refusal,
    shorten,
)
from callboard.workflows.errors import ConditionError, InvalidConditionError, UnresolvedReferenceError
from callboard.workflows.macro_limits import MacroLimit, find_too_large
from callboard.workflows.references import Reference, Scope, describe_type
from callboard.workflows.text_functions import TEXT_FUNCTIONS, TextFunction

ConditionText: TypeAlias = str | bool  # as a definition has it

MAX_CHARS = 2_000  # CEL holds the GIL while it parses and runs
_PATH_VARIABLE = re.compile(r"'?__path_\d+'?")
_UNDEFINED = re.compile(r"Undefined variable or function: '([^']*)'")
_PARSE_FAULT = re.compile(r"<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*)")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled CEL expression. `references` are the paths that it reads, for the static checks."""

    text: str
    where: str
    references: tuple[Reference, ...]
    _program: cel.Program
    _variables: tuple[Variable, ...]
    _limits: Mapping[str, MacroLimit]
    _text_functions: frozenset[str]

    def evaluate(self, scope: Scope) -> JsonValue:
        """Return the value of the expression.

        `has(path)` is true when every key of the path is there; a null at its end counts.

        Raises: ConditionError, naming the path or the types that are in the way.
        """
        values: dict[str, JsonValue] = {}
        missing: dict[str, str] = {}
        for variable in self._variables:
            try:
                values[variable.name] = variable.read(scope)
            except UnresolvedReferenceError as error:
                missing[variable.name] = error.message.removeprefix(place_of(self.where)).rstrip(".")
        self._leave_out_large_values(values, missing)
        value = self._execute(values, missing)
        reason = None if isinstance(value, bool) else find_unstorable(value)
        if reason is not None:
            raise self._error(f"its value is no JSON ({reason.lstrip('/: ')})")
        return value

    def without_unknown(self, scope: Scope, is_known: Callable[[JsonValue], bool]) -> "Expression":
        """Return this expression without the variables that `is_known` refuses: it fails where it needs one."""
        known = tuple(each for each in self._variables if each.is_known(scope, is_known))
        return self if len(known) == len(self._variables) else replace(self, _variables=known)

    def _leave_out_large_values(self, values: dict[str, JsonValue], missing: dict[str, str]) -> None:
        for variable in self._variables:
            if variable.limit is not None and variable.name in values:
                reason = variable.limit.refuse(values[variable.name], values)
                if reason is not None:
                    missing[variable.name] = reason
                    del values[variable.name]
        texts = {each.name: each.source.text for each in self._variables if isinstance(each.source, Reference)}
        for name in find_too_large(values):
            missing[name] = f"{texts[name]} is too large to be read here; an earlier step can take out what is needed"
            del values[name]

    def _execute(self, values: Mapping[str, JsonValue], missing: Mapping[str, str]) -> JsonValue:
        faults: list[str] = []
        functions: dict[str, Callable[..., JsonValue]] = {
            **{name: _Guard(limit, values, faults) for name, limit in self._limits.items()},
            **{name: TextFunction(name, faults) for name in self._text_functions},
        }
        try:
            value = self._program.execute(cel.Context(dict(values), functions) if functions else dict(values))
        except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise (self._error(faults[0]) if faults else self._explain(error, values, missing)) from error
        if faults:
            raise self._error(faults[0])
        return value

    def _explain(self, error: Exception, values: Mapping[str, JsonValue], missing: Mapping[str, str]) -> ConditionError:
        types = self._describe(values)
        undefined = _UNDEFINED.search(str(error))
        if undefined is not None and undefined.group(1) in missing:
            return self._error(missing[undefined.group(1)])
        if undefined is not None:
            return self._error(f"{undefined.group(1)}(...) does not take values of such types{types}")
        if isinstance(error, KeyError):
            return self._error(f"there is no key {str(error.args[0])!r}{types}")
        if isinstance(error, TypeError):
            return self._error(f"an operator got values of types that do not fit{types}{self._type_hint(values)}")
        reason = " ".join(str(error).replace(" in CEL expression", "").split()).rstrip(".")
        return self._error(reason + types)

    def _type_hint(self, values: Mapping[str, JsonValue]) -> str:
        if None in values.values():
            return "; compare with null first, or give a default: ${path ?? 0}"
        if re.search(r"[-+*/%]", self.text):
            return "; arithmetic on a whole and a fractional number needs double(x)"
        return ""

    def _describe(self, values: Mapping[str, JsonValue]) -> str:
        described = dict.fromkeys(
            f"{variable.source.text} is {describe_type(values[variable.name]).partition(' with ')[0]}"
            for variable in self._variables
            if isinstance(variable.source, Reference)
            and not (variable.is_presence or variable.is_size)
            and variable.name in values
        )
        return f" ({'; '.join(described)})" if described else ""

    def _error(self, reason: str) -> ConditionError:
        return ConditionError(f"{place_of(self.where)}{shorten(self.text)} cannot be evaluated: {reason}.")


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition; `constant` is set for one that is simply true or false."""

    expression: Expression | None
    constant: bool = True

    @property
    def references(self) -> tuple[Reference, ...]:
        return self.expression.references if self.expression is not None else ()

    @property
    def text(self) -> str:
        """The condition as it was written."""
        return self.expression.text if self.expression is not None else str(self.constant).lower()

    def constant_value(self) -> bool | None:
        """Return what the condition always is, or None where it depends on the run, or fails."""
        if self.expression is None:
            return self.constant
        if self.expression.references:
            return None
        try:
            return self.evaluate(Scope())
        except ConditionError:
            return None

    def decide(self, scope: Scope, is_known: Callable[[JsonValue], bool]) -> bool | None:
        """Return whether the condition holds, or None where that hangs on a value that `is_known` refuses.

        Raises: ConditionError, where it fails whatever such values will be.
        """
        if self.expression is None:
            return self.constant
        known = self.expression.without_unknown(scope, is_known)
        try:
            return replace(self, expression=known).evaluate(scope)
        except ConditionError:
            if known is self.expression:
                raise
            return None

    def evaluate(self, scope: Scope) -> bool:
        """Return whether the condition holds.

        Raises: ConditionError, also when the value is neither true nor false.
        """
        if self.expression is None:
            return self.constant
        value = self.expression.evaluate(scope)
        if not isinstance(value, bool):
            text, where = self.expression.text, self.expression.where
            raise ConditionError(
                f"{place_of(where)}{shorten(text)} gives {describe_type(value)}, but a condition is true or false."
            )
        return value


class _Guard:
    """Called by CEL with what a macro is about to go over; a list that is too long is noted and left out.

    An exception raised here would be printed to the standard error by the library before it is passed on.
    """

    def __init__(self, limit: MacroLimit, values: Mapping[str, JsonValue], too_long: list[str]) -> None:
        self._limit, self._values, self._too_long = limit, values, too_long

    def __call__(self, items: JsonValue) -> JsonValue:
        reason = self._limit.refuse(items, self._values)
        if reason is None:
            return items
        self._too_long.append(reason)
        return []


def compile_condition(text: ConditionText, *, where: str = "") -> Condition:
    """Return the condition that `text` says; true and false are conditions too.

    >>> compile_condition("input.n > 2.5 && 'x' in input.tags").evaluate(Scope(input={"n": 3, "tags": ["x"]}))
    True

    Raises: InvalidConditionError, with the position in `text`.
    """
    if isinstance(text, bool):
        return Condition(None, text)
    return Condition(compile_expression(text, where=where))


def compile_expression(text: str, *, where: str = "") -> Expression:
    """Return the expression that `text` says.

    >>> compile_expression("item.price * 2").evaluate(Scope(locals={"item": {"price": 4}}))
    8

    Raises: InvalidConditionError, with the position in `text`.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidConditionError(f"{place_of(where)}a condition is text that is not empty, or true or false.")
    if len(text) > MAX_CHARS:
        raise InvalidConditionError(
            f"{place_of(where)}the condition has {len(text):,} characters; at most {MAX_CHARS:,} are allowed."
        )
    try:
        bound = bind_paths(text, where=where)
    except InvalidConditionError as error:
        raise _with_every_fault(error, text, where) from error
    program = _compile_cel(bound)
    text_functions = TEXT_FUNCTIONS.keys() & set(program.functions())
    return Expression(text, where, bound.references, program, bound.variables, bound.limits, frozenset(text_functions))


def _compile_cel(bound: BoundText) -> cel.Program:
    try:
        program = cel.compile(bound.cel)
    except ValueError as error:
        refused = [
            refusal(bound.text, bound.where, fault.reason, fault.position)
            for fault in find_condition_faults(bound.text)
        ]
        raise _as_one(refused or [_translate(str(error), bound)]) from error
    unknown = {name for name in program.functions() if name.isidentifier() and name[0] != "_" and name not in FUNCTIONS}
    if unknown:
        called = [token for token in bound.tokens if token.kind == "name" and token.text in unknown]
        raise _as_one([bound.refuse(explain_unknown_function(token.text), token) for token in called])
    return program


def _with_every_fault(error: InvalidConditionError, text: str, where: str) -> InvalidConditionError:
    """Return `error` with what else is wrong in `text`."""
    others = [each for each in _refusals(text, where) if each.position != error.position]
    return _as_one(sorted([error, *others], key=lambda each: each.position or 0))


def _refusals(text: str, where: str) -> list[InvalidConditionError]:
    return [refusal(text, where, fault.reason, fault.position) for fault in find_condition_faults(text)]


def _as_one(faults: Sequence[InvalidConditionError]) -> InvalidConditionError:
    """Return the first of `faults`, which knows them all."""
    faults[0].faults = tuple(faults)
    return faults[0]


def _translate(message: str, bound: BoundText) -> InvalidConditionError:
    """Return what CEL's parser said, for the text as it was written."""
    match = _PARSE_FAULT.search(message)
    if match is None:
        return bound.refuse(message.partition("\n")[0], bound.tokens[0])
    reason = match.group(3).partition(" expecting ")[0].replace("mismatched input '<EOF>'", "it ends too early")
    reason = _PATH_VARIABLE.sub("a path", reason.replace("'<EOF>'", "the end"))
    return bound.refuse(explain_parser(reason), bound.token_at(int(match.group(2))))
