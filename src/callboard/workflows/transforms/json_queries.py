"""Follows JSONPath queries (RFC 9535) through a value. `json_paths.py` calls it.

`json_query_grammar.py` reads them with a library. As a finder that takes `?@` for false where the value is 0
or "", fails on `count(@)` of a number, says that [1] == [true], looks a `$` inside a filter up again for
every item, and cannot be stopped. So its tree is turned into functions, once, and these find: lazily, over
an explicit stack, asking the allowance at every value.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice
from typing import Final, TypeAlias

from jsonpath_rfc9535 import JSONPathQuery
from jsonpath_rfc9535.filter_expressions import (
    ComparisonExpression,
    Expression,
    FilterExpression,
    FilterExpressionLiteral,
    FilterQuery,
    FunctionExtension,
    LogicalExpression,
    PrefixExpression,
    RootFilterQuery,
)
from jsonpath_rfc9535.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath_rfc9535.selectors import (
    FilterSelector,
    IndexSelector,
    JSONPathSelector,
    NameSelector,
    SliceSelector,
)

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.allowance import Allowance
from callboard.workflows.transforms.iregexp import matches
from callboard.workflows.transforms.json_equality import equal
from callboard.workflows.transforms.json_query_grammar import read_query

_TESTS = frozenset({"match", "search"})
MAX_PARTS = 100  # segments and operators on the way to the innermost one; each is two frames of Python's stack


class _Nothing(Enum):
    """What a path in a filter gives that leads to nothing; equal to itself alone."""

    NOTHING = "nothing"


NOTHING: Final = _Nothing.NOTHING


@dataclass(slots=True)
class _Search:
    """One run of a query. `known` holds what the paths from `$` inside filters gave: they are found once."""

    root: JsonValue
    allowance: Allowance
    known: dict[object, JsonValue] = field(default_factory=dict)


_Values: TypeAlias = Iterable[JsonValue]
_Selector: TypeAlias = Callable[[JsonValue, _Search], _Values]
_Segment: TypeAlias = Callable[[_Values, _Search], Iterator[JsonValue]]
_Operand: TypeAlias = Callable[[JsonValue, _Search], JsonValue]  # also NOTHING
_Test: TypeAlias = Callable[[JsonValue, _Search], bool]


@dataclass(frozen=True, slots=True)
class JsonQuery:
    """A compiled query."""

    _segments: tuple[_Segment, ...]

    def find(self, value: JsonValue, allowance: Allowance) -> Iterator[JsonValue]:
        """Yield everything in `value` that the query selects, in the order of the RFC.

        Raises: TransformError, for a pattern that takes too long; TransformStoppedError.
        """
        return _follow(self._segments, value, _Search(value, allowance))


def compile_query(text: str) -> JsonQuery:
    """Return the query `text`, which begins with `$`.

    Raises: ValueError, with what is wrong and at which character.

    >>> list(compile_query("$.rows[?@.n > 1].name").find({"rows": [{"n": 2, "name": "A"}, {"n": 1}]}, Allowance()))
    ['A']
    """
    return JsonQuery(_segments_of(read_query(text), 0))


def _follow(segments: tuple[_Segment, ...], value: JsonValue, search: _Search) -> Iterator[JsonValue]:
    values: Iterator[JsonValue] = iter((value,))
    for segment in segments:
        values = segment(values, search)
    return values


def _segments_of(query: JSONPathQuery, depth: int) -> tuple[_Segment, ...]:
    inner = _deeper(depth, len(query.segments))
    return tuple(_segment_of(segment, inner) for segment in query.segments)


def _deeper(depth: int, parts: int = 1) -> int:
    if depth + parts > MAX_PARTS:
        raise ValueError(f"it has over {MAX_PARTS} parts inside or behind each other")
    return depth + parts


def _segment_of(segment: JSONPathSegment, depth: int) -> _Segment:
    selectors = tuple(_selector_of(selector, depth) for selector in segment.selectors)
    goes_deep = isinstance(segment, JSONPathRecursiveDescentSegment)

    def select(values: _Values, search: _Search) -> Iterator[JsonValue]:
        for value in _and_below(values) if goes_deep else values:
            search.allowance.check()
            for selector in selectors:
                yield from selector(value, search)

    return select


def _and_below(values: _Values) -> Iterator[JsonValue]:
    """Yield each value, then all that is in it, parents before children and these in their order."""
    for value in values:
        stack = [value]
        while stack:
            item = stack.pop()
            yield item
            stack.extend(reversed([child for child in _children(item) if isinstance(child, dict | list)]))


def _children(value: JsonValue) -> _Values:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _selector_of(selector: JSONPathSelector, depth: int) -> _Selector:
    if isinstance(selector, NameSelector):
        name = selector.name
        return lambda value, _: (value[name],) if isinstance(value, dict) and name in value else ()
    if isinstance(selector, IndexSelector):
        index = selector.index
        return lambda value, _: (value[index],) if isinstance(value, list) and -len(value) <= index < len(value) else ()
    if isinstance(selector, SliceSelector):
        part = selector.slice
        return lambda value, _: value[part] if isinstance(value, list) and part.step != 0 else ()
    if isinstance(selector, FilterSelector):
        return _filter_of(_test_of(selector.expression, depth))
    return lambda value, _: _children(value)


def _filter_of(test: _Test) -> _Selector:
    def select(value: JsonValue, search: _Search) -> Iterator[JsonValue]:
        for child in search.allowance.watch(_children(value)):
            if test(child, search):
                yield child

    return select


def _test_of(expression: Expression, depth: int) -> _Test:
    """Return what says whether `expression` holds of a value."""
    inner = _deeper(depth)
    match expression:
        case FilterExpression():
            return _test_of(expression.expression, depth)
        case PrefixExpression():
            test = _test_of(expression.right, inner)
            return lambda current, search: not test(current, search)
        case LogicalExpression():
            return _logical(expression, inner)
        case ComparisonExpression():
            left, right = _operand_of(expression.left, inner), _operand_of(expression.right, inner)
            compare = _COMPARISONS[expression.operator]
            return lambda current, search: compare(left(current, search), right(current, search))
        case FilterQuery():
            first = _first_of(expression, inner)
            return lambda current, search: first(current, search) is not NOTHING
    if not isinstance(expression, FunctionExtension) or expression.name not in _TESTS:
        raise ValueError("a filter is made of paths, comparisons, match() and search()")
    holds = _operand_of(expression, inner)
    return lambda current, search: bool(holds(current, search))


def _logical(expression: LogicalExpression, depth: int) -> _Test:
    """Return the test of a chain such as `a || b || c`, which comes as `a || (b || c)`."""
    parts: list[Expression] = []
    waiting: list[Expression] = [expression]
    while waiting:
        part = waiting.pop()
        if isinstance(part, LogicalExpression) and part.operator == expression.operator:
            waiting += (part.right, part.left)
        else:
            parts.append(part)
    tests = tuple(_test_of(part, depth) for part in parts)
    if expression.operator == "&&":
        return lambda current, search: all(test(current, search) for test in tests)
    return lambda current, search: any(test(current, search) for test in tests)


def _operand_of(expression: Expression, depth: int) -> _Operand:
    """Return what gives the value of `expression`, or NOTHING."""
    if isinstance(expression, FilterExpressionLiteral):
        value = expression.value
        return lambda _current, _search: value
    if isinstance(expression, FilterQuery):
        return _first_of(expression, depth)
    assert isinstance(expression, FunctionExtension)  # the reader lets nothing else stand here
    return _function_of(expression, _deeper(depth))


def _first_of(query: FilterQuery, depth: int) -> _Operand:
    nodes = _nodes_of(query, depth)
    return _found_once(query, lambda current, search: next(nodes(current, search), NOTHING))


def _nodes_of(query: FilterQuery, depth: int) -> Callable[[JsonValue, _Search], Iterator[JsonValue]]:
    segments = _segments_of(query.query, depth)
    if isinstance(query, RootFilterQuery):
        return lambda _, search: _follow(segments, search.root, search)
    return lambda current, search: _follow(segments, current, search)


def _found_once(query: FilterQuery, find: _Operand) -> _Operand:
    """Return `find`, which for a path from `$` gives the same for every item and is called for the first alone."""
    if not isinstance(query, RootFilterQuery):
        return find
    key = object()

    def find_once(current: JsonValue, search: _Search) -> JsonValue:
        if key not in search.known:
            search.known[key] = find(current, search)
        return search.known[key]

    return find_once


def _function_of(call: FunctionExtension, depth: int) -> _Operand:
    if call.name in {"count", "value"}:
        return _function_of_nodes(call, depth)
    operands = [_operand_of(argument, depth) for argument in call.args]
    if call.name == "length":
        (measured,) = operands
        return lambda current, search: _length(measured(current, search))
    text, pattern = operands
    whole = call.name == "match"
    return lambda current, search: matches(pattern(current, search), text(current, search), whole=whole)


def _function_of_nodes(call: FunctionExtension, depth: int) -> _Operand:
    (query,) = call.args
    assert isinstance(query, FilterQuery)  # the reader lets nothing else stand here
    nodes = _nodes_of(query, depth)
    if call.name == "count":
        return _found_once(query, lambda current, search: sum(1 for _ in nodes(current, search)))
    return _found_once(query, lambda current, search: _only(nodes(current, search)))


def _only(nodes: Iterator[JsonValue]) -> JsonValue:
    first_two = list(islice(nodes, 2))
    return first_two[0] if len(first_two) == 1 else NOTHING


def _length(value: JsonValue) -> JsonValue:
    return len(value) if isinstance(value, str | list | dict) else NOTHING


def _less(left: JsonValue, right: JsonValue) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    return _is_number(left) and _is_number(right) and bool(left < right)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_COMPARISONS: dict[str, Callable[[JsonValue, JsonValue], bool]] = {
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": _less,
    "<=": lambda left, right: _less(left, right) or equal(left, right),
    ">": lambda left, right: _less(right, left),
    ">=": lambda left, right: _less(right, left) or equal(left, right),
}
