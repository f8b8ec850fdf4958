"""Reads JSONPath queries (RFC 9535) into the tree of `jsonpath-rfc9535`. `json_queries.py` calls it.

The library passes the compliance suite, and reads a little more than the RFC has: chains of comparisons,
brackets round one side of a comparison, `!` before anything, a comma behind the last argument. What the RFC
has not is refused here, by a parser of our own, for which the library has a place (`parser_class`).
"""

import math
from itertools import pairwise

from jsonpath_rfc9535 import JSONPathEnvironment, JSONPathError, JSONPathQuery, JSONPathSyntaxError
from jsonpath_rfc9535.filter_expressions import (
    ComparisonExpression,
    Expression,
    FilterExpressionLiteral,
    FilterQuery,
    FunctionExtension,
    IntegerLiteral,
    PrefixExpression,
)
from jsonpath_rfc9535.lex import tokenize
from jsonpath_rfc9535.parse import Parser
from jsonpath_rfc9535.tokens import TokenStream, TokenType

MAX_QUERY_CHARS = 2_000


def read_query(text: str) -> JSONPathQuery:
    """Return the tree of the query `text`.

    Raises: ValueError, with what is wrong and at which character.

    >>> str(read_query("$.rows[?@.n > 1]"))
    "$['rows'][?@['n'] > 1]"
    """
    if len(text) > MAX_QUERY_CHARS:
        raise ValueError(f"a query has at most {MAX_QUERY_CHARS:,} characters, and this one has {len(text):,}")
    try:
        _refuse_open_arguments(text)
        # an environment per query: its parser remembers what it has read
        return _StrictEnvironment().compile(text)
    except JSONPathError as error:
        where = f", at character {error.token.index + 1}" if error.token is not None else ""
        raise ValueError(f"{error.args[0]}{where}") from error
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


def _refuse_open_arguments(text: str) -> None:
    for token, following in pairwise(tokenize(text)):
        if token.type_ == TokenType.COMMA and following.type_ == TokenType.RPAREN:
            raise JSONPathSyntaxError("an argument is missing behind the comma", token=token)


class _StrictParser(Parser):
    """The library's parser, less what the RFC has not."""

    def __init__(self, *, env: JSONPathEnvironment) -> None:
        super().__init__(env=env)
        self._in_brackets: list[Expression] = []

    def parse_grouped_expression(self, stream: TokenStream) -> Expression:
        expression = super().parse_grouped_expression(stream)
        self._in_brackets.append(expression)
        return expression

    def parse_prefix_expression(self, stream: TokenStream) -> Expression:
        expression = super().parse_prefix_expression(stream)
        assert isinstance(expression, PrefixExpression)  # what the method is for
        right = expression.right
        if not self._is_bracketed(right) and not isinstance(right, FilterQuery | FunctionExtension):
            raise JSONPathSyntaxError("! stands before a path, match(), search() or (...)", token=expression.token)
        return expression

    def parse_infix_expression(self, stream: TokenStream, left: Expression) -> Expression:
        expression = super().parse_infix_expression(stream, left)
        if isinstance(expression, ComparisonExpression):
            for side in (expression.left, expression.right):
                is_value = isinstance(side, FilterExpressionLiteral | FilterQuery | FunctionExtension)
                if self._is_bracketed(side) or not is_value:
                    raise JSONPathSyntaxError(
                        "on each side of a comparison stands a path, a literal or a function, without brackets",
                        token=expression.token,
                    )
        return expression

    def parse_integer_literal(self, stream: TokenStream) -> Expression:
        token = stream.current
        if token.value.startswith("-0") and token.value[2:3].isdigit():
            raise JSONPathSyntaxError("a number begins with no 0", token=token)
        if not math.isfinite(float(token.value)):
            raise JSONPathSyntaxError("the number is too large", token=token)
        if token.value.removeprefix("-").isdigit():
            super().parse_integer_literal(stream)  # checks it; its value went through a fractional number
            return IntegerLiteral(token, value=int(token.value))
        return super().parse_integer_literal(stream)

    def _is_bracketed(self, expression: Expression) -> bool:
        return any(expression is each for each in self._in_brackets)


class _StrictEnvironment(JSONPathEnvironment):
    parser_class = _StrictParser
