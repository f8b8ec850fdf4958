"""JSONPath by RFC 9535: our own cases for each of its rules, both what is selected and what is refused."""

from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.transforms.allowance import Allowance, TransformStoppedError
from callboard.workflows.transforms.base import TransformError
from callboard.workflows.transforms.json_queries import compile_query
from callboard.workflows.transforms.json_query_grammar import MAX_QUERY_CHARS

LETTERS = ["a", "b", "c", "d", "e"]
SHOP: dict[str, Any] = {
    "books": [
        {"title": "Ash", "price": 8.5, "tags": ["x", "y"]},
        {"title": "Birch", "price": 12, "tags": []},
        {"title": "Cedar", "sold": False},
        {"title": "Date", "price": None, "isbn": "3-16"},
    ],
    "limit": 10,
    "open": True,
}


def select(query: str, value: JsonValue) -> list[JsonValue]:
    return list(compile_query(query).find(value, Allowance()))


def as_json(values: list[JsonValue]) -> str:
    return repr(values)  # to Python 1 == True


class TestSegments:
    @pytest.mark.parametrize(
        ("query", "value", "found"),
        [
            pytest.param("$", 7, [7], id="the value itself"),
            pytest.param("$.a.b", {"a": {"b": 1}}, [1], id="names"),
            pytest.param("$['a']", {"a": 1}, [1], id="quoted name"),
            pytest.param('$["a b"]', {"a b": 1}, [1], id="double quotes"),
            pytest.param("$.größe", {"größe": 1}, [1], id="letters beyond ASCII"),
            pytest.param("$.☺", {"☺": 1}, [1], id="signs beyond ASCII"),
            pytest.param("$['\\'']", {"'": 1}, [1], id="escaped quote"),
            pytest.param('$["\\u00e9"]', {"é": 1}, [1], id="escaped letter"),
            pytest.param('$["\\uD83D\\uDE00"]', {"😀": 1}, [1], id="escaped pair"),
            pytest.param('$["\\n\\t\\\\\\/"]', {"\n\t\\/": 1}, [1], id="escaped signs"),
            pytest.param("$['']", {"": 1}, [1], id="empty name"),
            pytest.param("$.a", ["a"], [], id="a name of a list"),
            pytest.param("$.missing", {"a": 1}, [], id="a name that is not there"),
            pytest.param("$.a", {"a": None}, [None], id="null is a value"),
            pytest.param("$[1]", LETTERS, ["b"], id="index"),
            pytest.param("$[-1]", LETTERS, ["e"], id="index from the end"),
            pytest.param("$[5]", LETTERS, [], id="index behind the end"),
            pytest.param("$[-6]", LETTERS, [], id="index before the beginning"),
            pytest.param("$[0]", {"0": 1}, [], id="an index of an object"),
            pytest.param("$[0]", "abc", [], id="an index of a text"),
            pytest.param("$[*]", LETTERS, LETTERS, id="every item"),
            pytest.param("$.*", {"a": 1, "b": [2]}, [1, [2]], id="every member"),
            pytest.param("$[*]", "abc", [], id="no items in a text"),
            pytest.param("$[0, 0, 'a', 2]", LETTERS, ["a", "a", "c"], id="several, one twice"),
            pytest.param("$ [0] \n ['x']", [{"x": 1}], [1], id="blanks between segments"),
            pytest.param("$..a", {"a": {"a": 1}, "b": [{"a": 2}]}, [{"a": 1}, 1, 2], id="at any depth"),
            pytest.param("$..[0]", [[1, [2]], [3]], [[1, [2]], 1, 2, 3], id="index at any depth"),
            pytest.param("$..*", [1, [2]], [1, [2], 2], id="everything below"),
            pytest.param("$..[*].a", [{"a": 1}, [{"a": 2}]], [1, 2], id="further down"),
        ],
    )
    def test_selects(self, query: str, value: JsonValue, found: list[JsonValue]) -> None:
        assert as_json(select(query, value)) == as_json(found)

    def test_goes_as_deep_as_any_value(self) -> None:
        value: JsonValue = {"end": 1}
        for _ in range(5_000):
            value = {"a": value}

        assert select("$..end", value) == [1]


class TestSlices:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("$[1:3]", "bc"),
            ("$[3:]", "de"),
            ("$[:2]", "ab"),
            ("$[-2:]", "de"),
            ("$[:-3]", "ab"),
            ("$[:]", "abcde"),
            ("$[::2]", "ace"),
            ("$[4:1:-1]", "edc"),
            ("$[::-1]", "edcba"),
            ("$[::-2]", "eca"),
            ("$[::0]", ""),
            ("$[3:1]", ""),
            ("$[1:100]", "bcde"),
            ("$[-100:2]", "ab"),
            ("$[ 1 : 3 : 1 ]", "bc"),
            ("$[0:1, 1:2]", "ab"),
        ],
    )
    def test_selects(self, query: str, found: str) -> None:
        assert select(query, LETTERS) == list(found)

    def test_takes_parts_of_lists_alone(self) -> None:
        assert select("$[0:2]", {"a": 1}) == []
        assert select("$[0:2]", "abc") == []


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "found"),
        [
            pytest.param("$.books[?@.price]", "Ash Birch Date", id="is there, null too"),
            pytest.param("$.books[?!@.price]", "Cedar", id="is not there"),
            pytest.param("$.books[?@.sold]", "Cedar", id="false is there"),
            pytest.param("$.books[?@.price == null]", "Date", id="is null"),
            pytest.param("$.books[?@.sold == false]", "Cedar", id="is false"),
            pytest.param("$.books[?@.price < 12]", "Ash", id="less"),
            pytest.param("$.books[?@.price <= 12]", "Ash Birch", id="at most"),
            pytest.param("$.books[?@.price > 8.5]", "Birch", id="more"),
            pytest.param("$.books[?@.price >= 8.5]", "Ash Birch", id="at least"),
            pytest.param("$.books[?@.title != 'Ash']", "Birch Cedar Date", id="another"),
            pytest.param('$.books[?@["title"] > "B"]', "Birch Cedar Date", id="texts by their characters"),
            pytest.param("$.books[?@.price < $.limit]", "Ash", id="against the whole"),
            pytest.param("$.books[?$.open == true && @.price == 12.0]", "Birch", id="both"),
            pytest.param("$.books[?@.isbn || @.sold == false]", "Cedar Date", id="either"),
            pytest.param("$.books[?@.isbn || @.price == 12 && @.title == 'x']", "Date", id="and binds more than or"),
            pytest.param("$.books[?(@.isbn || @.price == 12) && @.title != 'x']", "Birch Date", id="brackets"),
            pytest.param("$.books[?!(@.price == 12)]", "Ash Cedar Date", id="not a comparison"),
            pytest.param("$.books[?@.tags[?@ == 'y']]", "Ash", id="a filter inside"),
            pytest.param("$.books[?@.missing == @.gone]", "Ash Birch Cedar Date", id="nothing is nothing"),
            pytest.param("$.books[?@.missing == null]", "", id="nothing is not null"),
            pytest.param("$.books[?@.tags == @.gone]", "Cedar Date", id="an empty list is something"),
            pytest.param("$.books[?count(@.tags[*]) == 2]", "Ash", id="count"),
            pytest.param("$.books[?length(@.title) == 5]", "Birch Cedar", id="length of text"),
            pytest.param("$.books[?length(@.tags) == 0]", "Birch", id="length of a list"),
            pytest.param("$.books[?length(@) == 2]", "Cedar", id="length of an object"),
            pytest.param("$.books[?length(@.price) == length(@.gone)]", "Ash Birch Cedar Date", id="no length"),
            pytest.param("$.books[?value(@..isbn) == '3-16']", "Date", id="value"),
            pytest.param("$.books[?value(@.tags[*]) == 'x']", "", id="value of many is nothing"),
            pytest.param("$.books[?match(@.title, '[A-C].*')]", "Ash Birch Cedar", id="match"),
            pytest.param("$.books[?search(@.title, 'ir|at')]", "Birch Date", id="search"),
            pytest.param("$.books[?!search(@.title, 'a')]", "Ash Birch", id="not search"),
            pytest.param("$.books[?match(@.price, '.*')]", "", id="match of no text"),
            pytest.param("$.books[?match(@.title, '(')]", "", id="no pattern"),
            pytest.param("$.books[?count($.books[*]) == 4 && value($..isbn) == @.isbn]", "Date", id="of the whole"),
            pytest.param("$.books[?1 == 1.0]", "Ash Birch Cedar Date", id="two literals"),
            pytest.param("$.books[?@.price == 1.2e1]", "Birch", id="exponent"),
            pytest.param("$.books[?!(!@.isbn)]", "Date", id="not, and not again in brackets"),
            pytest.param("$.books[?((@.isbn))]", "Date", id="brackets in brackets"),
            pytest.param("$.books[?-0 == 0]", "Ash Birch Cedar Date", id="minus nothing"),
        ],
    )
    def test_selects(self, query: str, found: str) -> None:
        assert " ".join(book["title"] for book in select(query, SHOP)) == found

    @pytest.mark.parametrize(
        ("query", "value", "found"),
        [
            pytest.param("$[?@]", [0, "", False, None, []], [0, "", False, None, []], id="empty values are there"),
            pytest.param("$[?!@]", [0, None], [], id="none of them is not there"),
            pytest.param("$[?count(@) == 1]", [0, "x"], [0, "x"], id="a scalar is one node"),
            pytest.param("$[?value(@) == 0]", [0, False], [0], id="the value of a scalar"),
            pytest.param("$[?@ == $[0]]", [[1], [1.0], [True]], [[1], [1.0]], id="true is not 1 inside a list"),
            pytest.param("$[?@ == 1]", [1, 1.0, True, "1"], [1, 1.0], id="true is not 1"),
            pytest.param("$[?@ < 'b']", ["a", 1, None, True], ["a"], id="texts with texts"),
            pytest.param("$[?@ < 2]", [1, "1", None, False], [1], id="numbers with numbers"),
            pytest.param("$[?@ >= true]", [True, False], [True], id="booleans have no order, but are equal"),
            pytest.param("$[?@.a]", {"x": {"a": 1}, "y": {}}, [{"a": 1}], id="members of an object"),
            pytest.param("$[?@]", "abc", [], id="a text has no items"),
            pytest.param("$..[?@.a]", {"x": [{"a": 1}]}, [{"a": 1}], id="at any depth"),
            pytest.param("$[?@ == 'a\\u0062']", ["ab"], ["ab"], id="escapes in a literal"),
            pytest.param("$[?@ == 9007199254740993]", [2**53, 2**53 + 1], [2**53 + 1], id="a large number"),
            pytest.param("$[?@ == 12E-1]", [1.2], [1.2], id="a negative exponent"),
            pytest.param("$[?@ == -1e2]", [-100], [-100], id="a whole number with an exponent"),
            pytest.param("$[?@[0]]", [[], [0], "x"], [[0]], id="a path from a scalar leads to nothing"),
        ],
    )
    def test_selects_among(self, query: str, value: JsonValue, found: list[JsonValue]) -> None:
        assert as_json(select(query, value)) == as_json(found)

    def test_looks_a_path_from_the_whole_up_once(self) -> None:
        value = {"items": [{"n": n} for n in range(3_000)], "max": [{"n": 5}]}

        # each look-up of $..max visits 3,000 objects: 9 million visits, were it done for every item
        found = select("$.items[?@.n > value($..max[0].n) && $..max && count($..n) > 2]", value)

        assert len(found) == 2_994

    def test_takes_a_long_chain_of_choices(self) -> None:
        query = f"$[?{' || '.join(f'@ == {number}' for number in range(120))}]"

        assert select(query, [5, 500, 119]) == [5, 119]


class TestRefusals:
    @pytest.mark.parametrize(
        "query",
        [
            pytest.param("$ ", id="blank at the end"),
            pytest.param("$.", id="dot at the end"),
            pytest.param("$..", id="two dots at the end"),
            pytest.param("$.[0]", id="dot and brackets"),
            pytest.param("$. a", id="blank behind a dot"),
            pytest.param("$a", id="no dot"),
            pytest.param("$.1a", id="digit first"),
            pytest.param("$.a-b", id="hyphen"),
            pytest.param("$[a]", id="name without quotes"),
            pytest.param("$['a]", id="open quote"),
            pytest.param("$['\\x']", id="unknown escape"),
            pytest.param("$['\t']", id="control character"),
            pytest.param("$['\\uD83D']", id="half a pair"),
            pytest.param("$['\\\"']", id="escape of the other quote"),
            pytest.param("$[]", id="nothing in brackets"),
            pytest.param("$[0,]", id="comma at the end"),
            pytest.param("$[01]", id="leading zero"),
            pytest.param("$[-0]", id="minus nothing as index"),
            pytest.param("$[1.0]", id="fraction as index"),
            pytest.param("$[9007199254740992]", id="index beyond exact numbers"),
            pytest.param("$[1:2:3:4]", id="slice of four"),
            pytest.param("$[?]", id="empty filter"),
            pytest.param("$[?@.a ==]", id="half a comparison"),
            pytest.param("$[?@.a == 1 == 2]", id="chain of comparisons"),
            pytest.param("$[?@.* == 1]", id="comparison of many"),
            pytest.param("$[?@..a == 1]", id="comparison at any depth"),
            pytest.param("$[?1]", id="a number is no test"),
            pytest.param("$[?true]", id="a literal is no test"),
            pytest.param("$[?length(@.a)]", id="a length is no test"),
            pytest.param("$[?match(@.a, 'x') == true]", id="a test is no value"),
            pytest.param("$[?count(1) == 1]", id="count of a literal"),
            pytest.param("$[?length(@.*) == 1]", id="length of many"),
            pytest.param("$[?match(@.a)]", id="an argument less"),
            pytest.param("$[?nope(@.a)]", id="unknown function"),
            pytest.param("$[?length (@.a) == 1]", id="blank before the bracket"),
            pytest.param("$[?@.a == 01]", id="leading zero in a number"),
            pytest.param("$[?@.a == 1.]", id="dot at the end of a number"),
            pytest.param("$[?@.a == True]", id="capital letter"),
            pytest.param("$[?@.a = 1]", id="one sign of equality"),
            pytest.param("$[?@.a and @.b]", id="and in letters"),
            pytest.param("$[?(@.a]", id="open bracket"),
            pytest.param("$[?(@.a == 1))]", id="closed twice"),
            pytest.param("$[?@.a == [1]]", id="a list is no literal"),
            pytest.param("$[?@ == 1e400]", id="a number beyond all"),
            pytest.param("$[?@ == -01]", id="leading zero behind a minus"),
            pytest.param("$[?(@.a) == 1]", id="brackets on the left of a comparison"),
            pytest.param("$[?1 == (@.a)]", id="brackets on its right"),
            pytest.param("$[?(length(@.a)) == 1]", id="brackets round a function"),
            pytest.param("$[?(@.a == 1) == 2]", id="a comparison compared"),
            pytest.param("$[?!@.a == 1]", id="not before a comparison"),
            pytest.param("$[?@.a == !@.b]", id="not inside a comparison"),
            pytest.param("$[?!!@.a]", id="not twice"),
            pytest.param("$[?!1]", id="not a literal"),
            pytest.param("$[?!length(@.a)]", id="not a length"),
            pytest.param("$[?length(@.a) && @.b]", id="a length in a chain"),
            pytest.param("$[?length(@.a,) == 1]", id="comma behind the last argument"),
            pytest.param("$[?match(@.a, 'x',)]", id="comma behind the last of two"),
        ],
    )
    def test_is_found_when_the_query_is_read(self, query: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            compile_query(query)

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            pytest.param("$.a[?nope(@.b)]", "function 'nope' is not defined, at character 6", id="place"),
            pytest.param(
                "$" + "x" * MAX_QUERY_CHARS, "has at most 2,000 characters, and this one has 2,001", id="long"
            ),
            pytest.param("$" + ".a" * 101, "over 100 parts inside or behind each other", id="many segments"),
            pytest.param("$" + "[?@" * 60 + "]" * 60, "over 100 parts", id="filters in filters"),
            pytest.param("$[?" + "(" * 900 + "@" + ")" * 900 + "]", "nests too deep", id="brackets in brackets"),
            pytest.param("$[?@ == -1e400]", "the number is too large, at character 9", id="number"),
            pytest.param("$[?(@.a) == 1]", "without brackets, at character 10", id="brackets"),
        ],
    )
    def test_says_what_is_wrong(self, query: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            compile_query(query)


class TestLimits:
    def test_gives_up_a_pattern_that_takes_long(self) -> None:
        with pytest.raises(TransformError, match="was given up after 1 s"):
            select("$..[?search(@.a, '(a|a)+$')]", [{"a": "a" * 60 + "!"}] * 1_000)

    @pytest.mark.parametrize("query", ["$..*", "$[*].a", "$[?@.a]", "$..[?@..b]"])
    def test_stops_when_nobody_waits_any_more(self, query: str) -> None:
        allowance = Allowance()
        found = compile_query(query).find([{"a": {"b": 1}}] * 10, allowance)
        next(found)

        allowance.stop()

        with pytest.raises(TransformStoppedError):
            list(found)
