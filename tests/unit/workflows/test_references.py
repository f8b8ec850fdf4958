"""References: the path syntax, what a look-up gives, and what a wrong one says. Promise B14."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import InvalidReferenceError, UnresolvedReferenceError
from callboard.workflows.reference_syntax import Star
from callboard.workflows.references import (
    Reference,
    Scope,
    StepView,
    as_text,
    compile_template,
    describe_type,
    read_parts,
    read_reference,
)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def scope() -> Scope:
    return Scope(
        input={
            "name": "Ada",
            "n": 3,
            "nothing": None,
            "odd key": {"a.b": 1},
            "größe": 5,
            "rows": [{"n": 1, "tags": ["a", "b"]}, {"n": 2, "tags": ["c"]}],
        },
        context={"tone": "kind"},
        steps={
            "places": StepView({"data": {"count": 2}, "success": "own key", "plan": "key"}, aliases={"plan": "alias"}),
            "draft": StepView("Dear Ada", aliases={"reply": "Dear Ada"}),
            "lost": StepView(None, success=False, error={"message": "away"}),
            "left-out": StepView(None, success=True, skipped=True),
            "stood_in": StepView({"a": 1}, success=False, error={"message": "away"}),
        },
    )


def render(value: JsonValue, scope: Scope, **options: Any) -> JsonValue:
    return compile_template(value, where='step "x"').render(scope, **options)


class TestPaths:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("${input.name}", "Ada", id="key"),
            pytest.param("${ input.name }", "Ada", id="blanks"),
            pytest.param("${input}", ..., id="whole input"),
            pytest.param("${input.rows[1].n}", 2, id="index"),
            pytest.param('${input["odd key"]["a.b"]}', 1, id="odd keys in double quotes"),
            pytest.param("${input['odd key']['a.b']}", 1, id="odd keys in single quotes"),
            pytest.param("${input.größe}", 5, id="unicode key"),
            pytest.param("${input.rows[*].n}", [1, 2], id="star"),
            pytest.param("${input.rows[*].tags[*]}", ["a", "b", "c"], id="two stars give one flat list"),
            pytest.param("${input.rows[*].tags}", [["a", "b"], ["c"]], id="one star keeps inner lists"),
            pytest.param("${context.tone}", "kind", id="context"),
            pytest.param("${steps.places.output.data.count}", 2, id="step output"),
            pytest.param("${steps.places.data.count}", 2, id="output key reached directly"),
            pytest.param("${steps.draft.output}", "Dear Ada", id="text output"),
            pytest.param("${steps.draft.reply}", "Dear Ada", id="alias"),
            pytest.param("${steps.places.plan}", "alias", id="alias wins over key"),
            pytest.param("${steps.places.success}", True, id="success wins over key"),
            pytest.param("${steps.places.output.success}", "own key", id="key of that name below output"),
            pytest.param("${steps.lost.success}", False, id="failed and continued"),
            pytest.param("${steps.lost.error.message}", "away", id="error of a failed step"),
            pytest.param("${steps.places.error}", None, id="no error"),
            pytest.param("${steps.places.error.message}", None, id="below no error"),
            pytest.param("${steps.left-out.skipped}", True, id="skipped, hyphenated id"),
        ],
    )
    def test_leads_to_the_value(self, scope: Scope, text: str, expected: JsonValue) -> None:
        assert render(text, scope) == (scope.input if expected is ... else expected)

    @pytest.mark.parametrize("text", ["${steps.lost.output}", "${steps.lost.data.a[0].b}", "${steps.left-out.plan.x}"])
    def test_anything_below_a_step_without_output_is_null(self, scope: Scope, text: str) -> None:
        assert render(text, scope) is None

    def test_a_default_value_of_a_failed_step_is_no_licence_for_wrong_keys(self, scope: Scope) -> None:
        assert render("${steps.stood_in.a}", scope) == 1
        with pytest.raises(UnresolvedReferenceError, match=re.escape('"b" is not in steps.stood_in.output')):
            render("${steps.stood_in.b}", scope)

    def test_locals_come_and_go_with_their_scope(self, scope: Scope) -> None:
        inner = scope.with_locals(item={"n": 7}, index=0)

        assert render("${item.n}/${index}", inner) == "7/0"
        with pytest.raises(UnresolvedReferenceError, match='nothing called "item" here'):
            render("${item.n}", scope)

    def test_steps_can_be_added_to_a_scope(self, scope: Scope) -> None:
        inner = scope.with_steps({"new": StepView(1)})

        assert render("${steps.new.output}", inner) == 1
        assert "new" not in scope.steps


class TestDefaults:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("${input.zip ?? []}", [], id="missing"),
            pytest.param('${input.nothing ?? "none"}', "none", id="null"),
            pytest.param('${steps.lost.data.items ?? {"a": "}"}}', {"a": "}"}, id="below a failed step; brace in text"),
            pytest.param('${steps.gone.output ?? "x"}', "x", id="missing step"),
            pytest.param("${input.name??-1.5}", "Ada", id="not needed"),
            pytest.param("${input.rows[9].n ?? null}", None, id="index beyond"),
            pytest.param("${input.rows[*].zip ?? 0}", [0, 0], id="for each item behind a star"),
            pytest.param("${input.zips[*].zip ?? []}", [], id="for all where the list is missing"),
            pytest.param("${input.rows[*].zips[*] ?? 0}", [0, 0], id="for each item that lacks the inner list"),
        ],
    )
    def test_stands_in_for_what_is_missing_or_null(self, scope: Scope, text: str, expected: JsonValue) -> None:
        assert render(text, scope) == expected


class TestText:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("Hi ${input.name}!", "Hi Ada!", id="text as it is"),
            pytest.param("<${input.nothing}>", "<>", id="null as nothing"),
            pytest.param("n=${input.n}", "n=3", id="number"),
            pytest.param("s=${steps.places.success}", "s=true", id="boolean"),
            pytest.param("${input.rows[1]} ", '{"n":2,"tags":["c"]} ', id="compact JSON"),
            pytest.param("$${input.n}", "$3", id="dollar sign before a value"),
            pytest.param('${"${"}', "${", id="literal"),
            pytest.param('a ${"${"}input.n} b', "a ${input.n} b", id="literal inside text"),
            pytest.param("100$ {x} $", "100$ {x} $", id="no reference at all"),
            pytest.param("{{word}}", "{{word}}", id="prompt words are not ours"),
            pytest.param("", "", id="empty"),
        ],
    )
    def test_is_put_together(self, scope: Scope, text: str, expected: str) -> None:
        assert render(text, scope) == expected

    @pytest.mark.parametrize("template", [['${"${"}x'], {"a": ['${"${"}x']}], ids=["in a list", "in an object"])
    def test_a_literal_is_read_where_nothing_else_is_replaced(self, scope: Scope, template: JsonValue) -> None:
        rendered = compile_template(template, where="step a").render(scope)

        assert rendered in (["${x"], {"a": ["${x"]})

    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def test_what_was_put_in_is_never_read_again(self, hostile: str) -> None:
        scope = Scope(input={"x": hostile + "${input.y}{{input.y}}", "y": "secret"})

        assert render("<${input.x}>", scope) == f"<{hostile}${{input.y}}{{{{input.y}}}}>"

    @given(JSON_VALUES)
    def test_a_whole_reference_keeps_the_value_as_it_is(self, value: JsonValue) -> None:
        assert render({"a": ["${input.x}"]}, Scope(input={"x": value})) == {"a": [value]}

    @given(JSON_VALUES)
    def test_every_value_has_a_text(self, value: JsonValue) -> None:
        text = as_text(value)

        if value is not None and not isinstance(value, str):
            assert json.loads(text) == value

    @given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(), min_size=1))
    def test_any_key_can_be_reached_in_brackets(self, keys: dict[str, int]) -> None:
        for key, value in keys.items():
            assert render(f"${{input[{json.dumps(key)}]}}", Scope(input=keys)) == value


class TestCompileTemplate:
    def test_a_constant_comes_back_as_it_is(self) -> None:
        value = {"a": [1, {"b": None}], "c": "text"}

        template = compile_template(value)

        assert template.is_constant
        assert template.render(Scope()) == value

    def test_keys_are_left_alone(self, scope: Scope) -> None:
        assert render({"${input.n}": "${input.n}"}, scope) == {"${input.n}": 3}

    def test_rendering_never_changes_the_template(self, scope: Scope) -> None:
        template = compile_template({"a": "${input.n}", "fixed": [1]})

        assert template.render(scope) == template.render(scope) == {"a": 3, "fixed": [1]}

    def test_lists_its_references_with_their_places(self) -> None:
        template = compile_template({"a/b": ["x", "${steps.s.output} ${input.n ?? 1}"]})

        assert [(each.text, each.step_id, each.has_default, each.pointer) for each in template.references] == [
            ("steps.s.output", "s", False, "/a~1b/1"),
            ("input.n", None, True, "/a~1b/1"),
        ]

    def test_refuses_what_is_nested_too_deep(self) -> None:
        value: JsonValue = "${input.x}"
        for _ in range(300):
            value = [value]

        with pytest.raises(InvalidReferenceError, match="nested deeper than 200"):
            compile_template(value, where="x")

    def test_long_text_is_read_in_one_go(self) -> None:
        text = "$" * 500_000 + "${input.n}" + "{" * 500_000

        assert compile_template(text).render(Scope(input={"n": 1})) == "$" * 500_000 + "1" + "{" * 500_000


class TestReadReference:
    def test_gives_the_parts_and_the_end(self) -> None:
        reference, end = read_reference('a ${steps.s["k"][0][*].x ?? "}"} b', 2)

        assert reference == Reference(
            'steps.s["k"][0][*].x', "steps", ("s", "k", 0, Star.ALL, "x"), has_default=True, default="}"
        )
        assert end == 32

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            pytest.param("${input.a", "never closed", id="unclosed"),
            pytest.param("${", "never closed", id="unclosed at once"),
            pytest.param("${}", "a name is missing", id="empty"),
            pytest.param("${.a}", "a name is missing", id="no root"),
            pytest.param("${input..a}", "a name behind the dot is missing", id="two dots"),
            pytest.param("${input.}", "a name behind the dot is missing", id="dot at the end"),
            pytest.param("${input[-1]}", "a whole number from 0", id="negative index"),
            pytest.param("${input[a]}", "a key in quotes", id="key without quotes"),
            pytest.param('${input["a}', "a key in quotes", id="open quote"),
            pytest.param('${input["a"}', "the ] is missing", id="open bracket"),
            pytest.param("${input.a ?? b}", 'text is written in double quotes: "b"', id="default without quotes"),
            pytest.param("${input.a ?? 1e999}", "cannot be used", id="default that is no JSON"),
            pytest.param("${input.a | upper}", "there are no filters", id="filter of another language"),
            pytest.param("${input a}", "expected }", id="blank in a path"),
            pytest.param("${steps}", "name a step", id="all steps"),
            pytest.param("${steps[0].a}", "name a step", id="step by number"),
            pytest.param("${secrets.a.b}", "name one secret", id="secret with a path"),
            pytest.param("${input.a ?? " + "[" * 100_000, "a JSON literal", id="literal nested too deep"),
        ],
    )
    def test_says_what_is_wrong_and_where(self, text: str, problem: str) -> None:
        with pytest.raises(InvalidReferenceError) as caught:
            compile_template({"k": text}, where='step "x"')

        assert problem in caught.value.message
        assert 'step "x" /k: the reference ${' in caught.value.message
        assert len(caught.value.message) < 400
        assert caught.value.position is not None

    @given(st.text(alphabet="${}[]\"'.?*\\ abinputsteps0é\n"))
    def test_reads_or_refuses_any_text(self, text: str) -> None:
        try:
            parts = read_parts(text)
        except InvalidReferenceError:
            return
        assert all(isinstance(part, str | Reference) for part in parts)


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            pytest.param(
                "${input.nmae}",
                'step "x": ${input.nmae} leads to nothing: "nmae" is not in input. Did you mean "name"?',
                id="nearest key",
            ),
            pytest.param(
                "${steps.places.data.zzz}",
                'step "x": ${steps.places.data.zzz} leads to nothing: "zzz" is not in steps.places.data. '
                "There are: count.",
                id="existing keys",
            ),
            pytest.param(
                "${steps.palces.data}",
                'step "x": ${steps.palces.data} leads to nothing: "palces" is not in steps. Did you mean "places"?',
                id="nearest step",
            ),
            pytest.param(
                "${steps.draft.repyl}",
                'step "x": ${steps.draft.repyl} leads to nothing: "repyl" is not in steps.draft.output. '
                'Did you mean "reply"?',
                id="nearest alias",
            ),
            pytest.param(
                "${input.name.first}",
                'step "x": ${input.name.first} leads to nothing: input.name is text, so it has no "first".',
                id="key of a text",
            ),
            pytest.param(
                "${input.name[0]}",
                'step "x": ${input.name[0]} leads to nothing: input.name is text, not a list.',
                id="index of a text",
            ),
            pytest.param(
                "${input.nothing.a}",
                'step "x": ${input.nothing.a} leads to nothing: input.nothing is null, so it has no "a". '
                "Add a default with ??, if that may be.",
                id="key of null",
            ),
            pytest.param(
                "${input.rows.0}",
                'step "x": ${input.rows.0} leads to nothing: input.rows is a list of 2, so it has no "0". '
                "Items of a list are reached as [0] or [*], not .0.",
                id="item by a dot",
            ),
            pytest.param(
                "${input.rows[5].n}",
                'step "x": ${input.rows[5].n} leads to nothing: input.rows has 2 items, so there is no [5] '
                "(the first is [0]).",
                id="index beyond the end",
            ),
            pytest.param(
                "${input.n[*]}",
                'step "x": ${input.n[*]} leads to nothing: input.n is a whole number, '
                "and [*] needs a list or an object.",
                id="star of a number",
            ),
            pytest.param(
                "${inputs.n}",
                'step "x": There is nothing called "inputs" here. Did you mean "input"?',
                id="nearest root",
            ),
        ],
    )
    def test_name_the_place_the_path_and_what_exists(self, scope: Scope, text: str, message: str) -> None:
        with pytest.raises(UnresolvedReferenceError) as caught:
            render(text, scope)

        assert caught.value.message == message

    def test_name_a_key_that_is_missing_behind_a_star(self, scope: Scope) -> None:
        with pytest.raises(UnresolvedReferenceError, match=r'"m" is not in input.rows\[\*\]'):
            render("${input.rows[*].m}", scope)


class TestExists:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            pytest.param("${input.name}", True, id="there"),
            pytest.param("${input.nothing}", True, id="null at the end"),
            pytest.param("${input.nothing.a}", False, id="below null"),
            pytest.param("${input.zip.code}", False, id="a key on the way is missing"),
            pytest.param("${steps.lost.data}", False, id="below a failed step"),
            pytest.param("${steps.lost.success}", True, id="what a failed step has"),
            pytest.param("${steps.places.error.message}", False, id="below no error"),
            pytest.param("${steps.gone.output}", False, id="no such step"),
        ],
    )
    def test_tells_whether_every_key_is_there(self, scope: Scope, text: str, *, expected: bool) -> None:
        assert compile_template(text).references[0].exists(scope) is expected


class TestSecrets:
    def test_come_from_the_resolver(self, scope: Scope) -> None:
        rendered = render({"auth": "Bearer ${secrets.TOKEN}"}, scope, secrets=lambda name: f"<{name}>")

        assert rendered == {"auth": "Bearer <TOKEN>"}

    def test_are_out_of_reach_without_one(self, scope: Scope) -> None:
        with pytest.raises(UnresolvedReferenceError, match="external_api steps only"):
            render("${secrets.TOKEN}", scope)


class TestDescribeType:
    @pytest.mark.parametrize(
        ("value", "words"),
        [
            pytest.param(None, "null", id="null"),
            pytest.param(True, "true or false", id="boolean"),
            pytest.param(1, "a whole number", id="int"),
            pytest.param("x", "text", id="text"),
            pytest.param([1], "a list of 1", id="list"),
            pytest.param({}, "an empty object", id="empty object"),
            pytest.param({str(n): n for n in range(20)}, "an object with the keys: 0, 1, 10, 11", id="many keys"),
        ],
    )
    def test_says_it_in_words(self, value: JsonValue, words: str) -> None:
        assert describe_type(value).startswith(words)
