"""What is told of a condition that does not compile."""

import pytest

from callboard.workflows.condition_faults import explain_parser, explain_unknown_function, find_condition_faults


class TestFindConditionFaults:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            pytest.param("a and b or not c", [("&&", 2), ("||", 8), ('"not" is written !', 11)], id="Python's words"),
            pytest.param("a is not None", [("!=", 2), ("null", 9)], id="is not"),
            pytest.param("a not in b", [("!(item in list)", 2)], id="not in"),
            pytest.param("a === 1 && b !== 2", [("==", 2), ("!=", 13)], id="three signs"),
            pytest.param("a <> 1", [('"<>" is written !=', 2)], id="SQL"),
            pytest.param("a & b | c", [("&&", 2), ("||", 6)], id="one sign"),
            pytest.param("a?.b ?? 1", [('there is no "?."', 1), ("inside a reference", 5)], id="optional chaining"),
            pytest.param("`a` == b;", [("quotes", 0), ("quotes", 2), ("without a semicolon", 8)], id="other quotes"),
            pytest.param("a == 'b", [("never closed", 5)], id="open text"),
            pytest.param("{{input.a}} == 1", [("write input.a, or ${input.a}", 0)], id="template"),
            pytest.param("if a then b", [("condition ? value : other", 0), ("condition ?", 5)], id="if"),
            pytest.param("(a && (b)", [("this ( is never closed", 0)], id="open bracket"),
            pytest.param("a]", [("this ] closes nothing", 1)], id="closing bracket"),
            pytest.param("a in (1, 2)", [("square brackets", 5)], id="list in round brackets"),
            pytest.param("a == 1 &&", [('nothing follows "&&"', 7)], id="nothing behind"),
            pytest.param("== 1", [('nothing stands before "=="', 0)], id="nothing before"),
            pytest.param("a && && b", [("a value is missing", 5)], id="nothing between"),
        ],
    )
    def test_tells_each_at_its_place(self, text: str, told: list[tuple[str, int]]) -> None:
        faults = find_condition_faults(text)

        assert [fault.position for fault in faults] == [position for _, position in told]
        for fault, (words, _) in zip(faults, told, strict=True):
            assert words in fault.reason

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("'a and b = c' == input.x", id="text"),
            pytest.param('${input.a ?? "x"} == 1', id="reference"),
            pytest.param("input.is == item.not", id="keys"),
            pytest.param("input.x.contains('a') && input.x.matches('b')", id="calls"),
            pytest.param("size(input.x, 1) > -1 ? [1, 2] : {'a': 1}", id="brackets"),
        ],
    )
    def test_finds_nothing_in_what_may_stand(self, text: str) -> None:
        assert find_condition_faults(text) == []


class TestExplainUnknownFunction:
    def test_says_what_to_write_instead(self) -> None:
        assert explain_unknown_function("len") == 'there is no function "len"; size(x) counts a list or a text'
        assert explain_unknown_function("startswith").endswith('Did you mean "startsWith"?')


class TestExplainParser:
    @pytest.mark.parametrize(
        ("reason", "told"),
        [
            pytest.param("Incomplete `IndexContext`!", "a [ is never closed", id="index"),
            pytest.param("Incomplete `ExprContext` for `_?_:_`", "a choice has three parts", id="choice"),
            pytest.param("extraneous input 'x'", "x is not expected here", id="too much"),
            pytest.param("token recognition error at: '\\'", "this sign means nothing here: '\\'", id="sign"),
        ],
    )
    def test_uses_none_of_the_parsers_terms(self, reason: str, told: str) -> None:
        assert explain_parser(reason).startswith(told)
