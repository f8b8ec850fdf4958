"""Conditions: CEL over the run's names, what is refused at load, and what a failure says. Promise B14."""

import re
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.json_values import JsonValue
from callboard.workflows.conditions import MAX_CHARS, compile_condition, compile_expression
from callboard.workflows.errors import ConditionError, InvalidConditionError
from callboard.workflows.references import Scope, StepView


@pytest.fixture
def scope() -> Scope:
    return Scope(
        input={
            "tier": "PRO",
            "n": 3,
            "half": 2.5,
            "nothing": None,
            "tags": ["a", "b"],
            "odd key": 1,
            "rows": [{"n": 1, "kids": [1]}, {"n": 2, "kids": []}],
            "hostile": '" || true || "',
            "long": list(range(501)),
            "very_long": list(range(10_001)),
        },
        context={"limit": 2},
        steps={
            "places": StepView({"data": {"count": 7}}),
            "a-b": StepView({"count": 1}),
            "lost": StepView(None, success=False, error={"message": "away"}),
        },
        locals={"item": {"days_ago": 3}, "index": 1},
    )


def evaluate(text: str, scope: Scope) -> JsonValue:
    return compile_expression(text, where='step "x"').evaluate(scope)


class TestEvaluate:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param('steps.places.data.count > 3 && input.tier == "PRO"', True, id="paths"),
            pytest.param("steps.places.output.data.count == 7", True, id="output"),
            pytest.param("steps.lost.success", False, id="success of a step"),
            pytest.param("steps.lost.error.message == 'away'", True, id="error of a step"),
            pytest.param('"a" in input.tags', True, id="in a list"),
            pytest.param('"tier" in input', True, id="in an object"),
            pytest.param("size(input.rows) == 2", True, id="size"),
            pytest.param("input.rows.size() == 2", True, id="size as a method"),
            pytest.param("item.days_ago < 30 && index == 1", True, id="loop names"),
            pytest.param("context.limit", 2, id="context"),
            pytest.param('input["odd key"] == 1', True, id="odd key"),
            pytest.param("input.rows[1].n", 2, id="constant index"),
            pytest.param("input.rows[index].n", 2, id="computed index"),
            pytest.param("input.tags[context.limit - 1]", "b", id="computed index with arithmetic"),
            pytest.param("3 > 2.5", True, id="whole and fractional literals"),
            pytest.param("input.n > input.half", True, id="whole and fractional values"),
            pytest.param("input.n == 3.0", True, id="whole equals fractional"),
            pytest.param("input.n in [1.0, 3.0]", True, id="whole among fractional"),
            pytest.param("double(input.n) * input.half", 7.5, id="arithmetic made to fit"),
            pytest.param("input.nothing == null", True, id="null"),
            pytest.param("input.nothing != null && input.nothing > 1", False, id="guarded null"),
            pytest.param("has(input.zip) && input.zip == 1", False, id="guarded missing key"),
            pytest.param("input.zip == 1 || input.n == 3", True, id="other side decides over a missing key"),
            pytest.param("input.n == 3 ? input.tier : input.zip", "PRO", id="branch not taken"),
            pytest.param('{"a": input.n, "b": [input.tier]}', {"a": 3, "b": ["PRO"]}, id="object"),
            pytest.param("input.tier.startsWith('P') && !input.tier.endsWith('x')", True, id="text functions"),
            pytest.param("type(input.n) == int", True, id="type"),
            pytest.param("input.n > 2 // the limit", True, id="comment"),
            pytest.param("'input.zip' == 'input.' + 'zip'", True, id="path inside a text"),
        ],
    )
    def test_gives_the_value(self, scope: Scope, text: str, expected: JsonValue) -> None:
        assert evaluate(text, scope) == expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("${steps.a-b.count} == 1", True, id="hyphenated id"),
            pytest.param("${steps.lost.data.count ?? 0} == 0", True, id="default for null"),
            pytest.param('${input.zip ?? "none"} == "none"', True, id="default with quotes"),
            pytest.param("${input.rows[*].n} == [1, 2]", True, id="star"),
            pytest.param("size(${input.zips ?? []}) == 0", True, id="as an argument"),
            pytest.param('"${input.tier}" == "PRO"', True, id="inside quotes"),
            pytest.param("'${input.tier}-${input.n}' == 'PRO-3'", True, id="inside a longer text"),
            pytest.param('"${input.hostile}" == "x"', False, id="value with quotes inside quotes"),
            pytest.param("${input.hostile} == 'x'", False, id="value with quotes"),
            pytest.param('${"${"} == "$" + "{"', True, id="literal"),
        ],
    )
    def test_references_are_bound_and_never_pasted(self, scope: Scope, text: str, *, expected: bool) -> None:
        assert evaluate(text, scope) is expected

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("has(input.tier)", True, id="there"),
            pytest.param("has(input.nothing)", True, id="null at the end"),
            pytest.param("has(input.zip)", False, id="missing"),
            pytest.param("has(input.form.zip.code)", False, id="missing on the way"),
            pytest.param("has(steps.lost.data)", False, id="below a failed step"),
            pytest.param("has(${steps.a-b.count})", True, id="reference"),
            pytest.param("!has(steps.gone.output)", True, id="no such step"),
            pytest.param("input.rows.exists(r, has(r.zip))", False, id="name of a macro"),
        ],
    )
    def test_has_tells_whether_every_key_is_there(self, scope: Scope, text: str, *, expected: bool) -> None:
        assert evaluate(text, scope) is expected

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_any_text_compares_as_itself(self, value: str) -> None:
        scope = Scope(input={"a": value, "b": value})

        assert evaluate('input.a == input.b && "${input.a}" == input.b', scope) is True


class TestMacros:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("input.rows.map(r, r.n * context.limit)", [2, 4], id="map with an outer path"),
            pytest.param("input.rows.filter(r, r.n > 1).map(r, r.n)", [2], id="one after the other"),
            pytest.param(
                "input.rows.filter(r, size(r.kids) > 0 && r.kids[0] == 1)[0].n", 1, id="index of an item's list"
            ),
            pytest.param("[1, 2].map(input, input + 1)", [2, 3], id="name that hides a root"),
            pytest.param("(input.tags + ['c']).map(t, t + '!')", ["a!", "b!", "c!"], id="computed list"),
            pytest.param("${input.rows[*].n}.exists(n, n == 2)", True, id="over a reference"),
            pytest.param("input.long.exists(n, n == 500)", True, id="a test goes over longer lists"),
            pytest.param("input.zips.map(z, z) == [] || true", True, id="missing list that does not matter"),
        ],
    )
    def test_go_over_lists(self, scope: Scope, text: str, expected: JsonValue) -> None:
        assert evaluate(text, scope) == expected

    @pytest.mark.parametrize(
        "text",
        [
            "input.long.map(n, n)",
            "input.long.filter(n, n > 3)",
            "(input.long + [1]).map(n, n)",
            "input.very_long.all(n, n > -1)",
        ],
    )
    def test_refuse_lists_that_are_too_long(self, scope: Scope, text: str, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(ConditionError, match=r"goes over at most (500|10,000) items here, and there are"):
            evaluate(text, scope)
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        "text",
        [
            "size(input.some.map(n, input.very_long)) > 1",
            "size(input.some.map(n, input.text + input.text)) > 1",
            "size(input.heavy.filter(h, true)) > 1",
            "size((input.heavy + []).map(h, h)) > 1",
            "input.some.map(n, [" + "n," * 900 + "])[0][0]",
        ],
    )
    def test_refuse_what_would_copy_too_much(self, scope: Scope, text: str) -> None:
        big = {"some": list(range(450)), "text": "x" * 1_000_000, "heavy": [list(range(500))] * 450}
        scope = replace(scope, input={**scope.input, **big})

        with pytest.raises(ConditionError, match=r"450 items are too large to (map|filter) here"):
            evaluate(text, scope)

    def test_go_over_500_items_of_usual_size(self) -> None:
        rows = [{"name": "x" * 40, "tags": ["a"] * 5, "geometry": {"lat": 1.5, "lng": 2.5}, "n": n} for n in range(500)]

        value = evaluate("input.rows.filter(r, r.n > 1).map(r, r.name + '!')", Scope(input={"rows": rows}))

        assert len(value) == 498

    def test_a_guard_keeps_them_from_long_lists(self, scope: Scope) -> None:
        assert evaluate("size(input.long) < 500 && size((input.long + []).map(n, n)) > 1", scope) is False

    @pytest.mark.parametrize(
        "text",
        [
            "input.rows.map(r, r.kids.map(k, k))",
            "input.rows.exists(r, r.kids.all(k, k > 1))",
            "input.rows.map(r, input.rows.filter(q, true))",
        ],
    )
    def test_are_refused_inside_each_other(self, text: str) -> None:
        with pytest.raises(InvalidConditionError, match="stands inside another macro"):
            compile_expression(text)


class TestTextFunctions:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("input.tier.lower()", "pro", id="lower"),
            pytest.param("input.tags.map(t, t.upper())", ["A", "B"], id="upper in a macro"),
            pytest.param("upper(input.tags[0]) == 'A'", True, id="as a function"),
            pytest.param("' ada  b '.strip().title()", "Ada  B", id="one after the other"),
            pytest.param("'\t a '.trim()", "a", id="trim"),
            pytest.param("'\u00fc a'.upper()", "\u00dc A", id="any letters"),
            pytest.param("'\u00fc a'.upperAscii() + 'A'.lowerAscii()", "\u00fc Aa", id="only ASCII"),
            pytest.param("input.nothing != null && input.nothing.upper() == 'A'", False, id="guarded null"),
            pytest.param('${input.nothing ?? "none"}.upper()', "NONE", id="default"),
        ],
    )
    def test_give_texts(self, scope: Scope, text: str, expected: JsonValue) -> None:
        assert evaluate(text, scope) == expected

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            pytest.param(
                "input.nothing.upper() == 'A'",
                'upper() takes text, and got null; give a default: ${path ?? ""}.',
                id="null",
            ),
            pytest.param(
                "input.n.strip() == ''",
                "strip() takes text, and got a whole number; string(x) makes text of others.",
                id="number",
            ),
            pytest.param("input.tier.upper(1)", "upper() takes one text and nothing else", id="two values"),
            pytest.param(
                "input.tags.map(t, input.n.upper())", "upper() takes text, and got a whole number", id="macro"
            ),
            pytest.param("input.zip.upper() == 'A'", '"zip" is not in input', id="missing key"),
        ],
    )
    def test_tell_what_they_cannot_take(
        self, scope: Scope, text: str, problem: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(ConditionError, match=re.escape(problem)):
            evaluate(text, scope)
        assert capfd.readouterr() == ("", "")


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            pytest.param("input.teir == 'PRO'", '"teir" is not in input. Did you mean "tier"?', id="missing key"),
            pytest.param(
                "steps.palces.data > 1", '"palces" is not in steps. Did you mean "places"?', id="missing step"
            ),
            pytest.param("thing > 1", 'There is nothing called "thing" here', id="unknown root"),
            pytest.param(
                "input.nothing > 1", "(input.nothing is null); compare with null first, or give a default", id="null"
            ),
            pytest.param("input.tier > 1", "types that do not fit (input.tier is text)", id="wrong type"),
            pytest.param("input.n + input.half > 1", "needs double(x)", id="mixed arithmetic"),
            pytest.param("input.n + 2.5 > 1", "needs double(x)", id="mixed arithmetic with a literal"),
            pytest.param(
                "size(input.nothing) == 0", "input.nothing is null; write ${input.nothing ?? []}", id="size of null"
            ),
            pytest.param("size(input.n) == 0", "size() takes text, a list or an object", id="size of a number"),
            pytest.param("size(input.n + 1) == 0", "size(...) does not take values of such types", id="size of a sum"),
            pytest.param("input.tier.contains(1)", "contains(...) does not take values", id="wrong argument"),
            pytest.param("input.rows.all(r, r.zip == 1)", "there is no key 'zip'", id="key of an item"),
            pytest.param("input.tags[index + 7] == 'x'", "out of bounds: 8", id="computed index"),
            pytest.param("input.n / 0 == 1", "division by zero", id="division by zero"),
            pytest.param("9223372036854775807 + input.n > 0", "overflow", id="overflow"),
            pytest.param("input.tier.matches('[')", "not a valid regex", id="bad pattern"),
            pytest.param("timestamp('2026-01-01T00:00:00Z')", "its value is no JSON", id="a time"),
            pytest.param("1.0 / 0.0", "its value is no JSON", id="infinity"),
        ],
    )
    def test_name_the_place_the_path_and_the_types(self, scope: Scope, text: str, problem: str) -> None:
        with pytest.raises(ConditionError, match=re.escape(problem)) as caught:
            evaluate(text, scope)

        assert caught.value.message.startswith(f'step "x": {text} cannot be evaluated: ')
        assert "\n" not in caught.value.message
        assert "__path" not in caught.value.message

    def test_a_lone_surrogate_is_an_error_like_others(self) -> None:
        with pytest.raises(ConditionError, match=re.escape("input.x is text")):
            evaluate("input.x == 'a'", Scope(input={"x": "\ud800"}))

    def test_long_conditions_are_shown_in_part(self, scope: Scope) -> None:
        with pytest.raises(ConditionError) as caught:
            evaluate("input.zip == '" + "x" * 1_900 + "'", scope)

        assert len(caught.value.message) < 400


class TestCompileExpression:
    @pytest.mark.parametrize(
        ("text", "problem", "position"),
        [
            pytest.param("input.n >", "ends too early", 8, id="unfinished"),
            pytest.param("(input.n > 1", "this ( is never closed", 0, id="open parenthesis"),
            pytest.param("input.n > 1)", "this ) closes nothing", 11, id="parenthesis too many"),
            pytest.param("input.a and input.b", '"and" is written &&', 8, id="and"),
            pytest.param("not input.a", '"not" is written !', 0, id="not"),
            pytest.param("input.a == True", '"True" is written true', None, id="True"),
            pytest.param("input.a = 1", '"=" is written ==', 8, id="one equals sign"),
            pytest.param('input.a == "x', "never closed", 11, id="open text"),
            pytest.param("steps.a-b.n > 1", "steps.a-b.n would be a subtraction; write ${steps.a-b.n}", 0, id="hyphen"),
            pytest.param("steps.a-1 > 1", "write ${steps.a-1}", 0, id="hyphen and digit"),
            pytest.param("input.a.lenght() > 1", 'there is no function "lenght"', 8, id="unknown method"),
            pytest.param("input.a.startswith('x')", 'Did you mean "startsWith"?', 8, id="nearest function"),
            pytest.param("steps > 1", "name a step", 0, id="all steps"),
            pytest.param("${input.a", "never closed", 9, id="open reference"),
            pytest.param('"${input.a" == "x"', "expected }", 0, id="open reference inside quotes"),
            pytest.param(r'"\n${input.a}" == "x"', "write it outside", 0, id="reference beside a backslash"),
            pytest.param("${secrets.TOKEN} == 'x'", "cannot read secrets", None, id="secret"),
            pytest.param("not (input.n == 1)", "write !(x)", 0, id="not before a bracket"),
            pytest.param("'a' not in input.tags", '"not in" is written !(item in list)', 4, id="not in"),
            pytest.param("input.n is null", '"is" is written ==', 8, id="is"),
            pytest.param("input.tier contains 'P'", '"contains" is written text.contains(part)', 11, id="contains"),
            pytest.param("'P' contains 'P'", '"contains" is written text.contains(part)', 4, id="contains of a text"),
            pytest.param(
                "input.tier.contains('P') and (input.n)", '"and" is written &&', 25, id="the method contains is none"
            ),
            pytest.param("contains(input.tier, 'P') and (input.n)", '"and" is', 26, id="the function contains is none"),
            pytest.param("input.tier.uper()", 'no function "uper". Did you mean "upper"?', 11, id="function of texts"),
            pytest.param("secrets.TOKEN == 'x'", "cannot read secrets", None, id="secret by path"),
            pytest.param("", "not empty", None, id="empty"),
            pytest.param("// only a comment", "it is empty", None, id="comment only"),
            pytest.param("(" * 900 + "1" + ")" * 900, "does not compile", None, id="nested too deep"),
            pytest.param("1" * (MAX_CHARS + 1), "2,001 characters; at most 2,000", None, id="too long"),
        ],
    )
    def test_refuses_with_the_position(self, text: str, problem: str, position: int | None) -> None:
        with pytest.raises(InvalidConditionError, match=re.escape(problem)) as caught:
            compile_expression(text, where='step "x"')

        assert caught.value.message.startswith('step "x": ')
        assert "__path" not in caught.value.message
        if position is not None:
            assert caught.value.position == position

    def test_subtraction_between_values_is_arithmetic(self, scope: Scope) -> None:
        assert evaluate("steps.places.data.count-input.n", scope) == 4

    def test_lists_the_paths_that_it_reads(self) -> None:
        expression = compile_expression(
            "steps.a.output.x > ${input.y ?? 1} && has(steps.b.output) "
            "&& input.rows.all(r, r.x > item.n) && '${context.z}' == 'q'"
        )

        assert [each.text for each in expression.references] == [
            "input.y",
            "context.z",
            "steps.a.output.x",
            "steps.b.output",
            "input.rows",
            "item.n",
        ]

    @given(st.text(alphabet="input.steps a-b${}?\"'()[]!&|=<>+*/,:01.5 has map(x,x)\\\n", max_size=60))
    def test_compiles_or_refuses_any_text_and_never_crashes(self, text: str) -> None:
        try:
            expression = compile_expression(text)
        except InvalidConditionError:
            return
        with suppress(ConditionError):
            expression.evaluate(Scope(input={"a": 1}))


class TestCompileCondition:
    @pytest.mark.parametrize("constant", [True, False])
    def test_takes_true_and_false(self, *, constant: bool) -> None:
        condition = compile_condition(constant)

        assert condition.evaluate(Scope()) is constant
        assert condition.references == ()

    def test_evaluates_to_true_or_false(self, scope: Scope) -> None:
        assert compile_condition("input.n > 2").evaluate(scope) is True

    def test_refuses_another_value(self, scope: Scope) -> None:
        condition = compile_condition("input.n", where='step "x"')

        with pytest.raises(
            ConditionError, match=re.escape('step "x": input.n gives a whole number, but a condition is true')
        ):
            condition.evaluate(scope)
