"""`template`: one text, or one per item, with the names that it may use."""

from collections.abc import Mapping
from typing import Any

import pytest

from callboard.core.json_values import JsonValue
from callboard.workflows.errors import UnresolvedReferenceError
from callboard.workflows.references import Scope, compile_template
from callboard.workflows.transforms.base import TransformTools
from callboard.workflows.transforms.template import Template, TemplateConfig

SCOPE = Scope(input={"city": "Seattle"})


def fill(value: JsonValue, text: str, **variables: JsonValue) -> JsonValue:
    config = TemplateConfig(template=text, variables=variables)
    return Template().apply(value, config, TransformTools(render=render))


def render(template: JsonValue, names: Mapping[str, JsonValue]) -> JsonValue:
    return compile_template(template).render(SCOPE.with_locals(**names))


class TestApply:
    @pytest.mark.parametrize(
        ("value", "text", "expected"),
        [
            pytest.param(None, "Hi ${input.city}", "Hi Seattle", id="no input"),
            pytest.param({"name": "A"}, "${name} in ${input.city}", "A in Seattle", id="keys of an object"),
            pytest.param("x", "<${item}>", "<x>", id="the input itself"),
            pytest.param([{"n": "a"}, {"n": "b"}], "${index}: ${n}", ["0: a", "1: b"], id="once per item"),
            pytest.param([1, 2], "${item}!", ["1!", "2!"], id="items that are no objects"),
            pytest.param([], "x", [], id="empty list"),
            pytest.param({"a": 1}, "${a}", "1", id="text even of one reference"),
            pytest.param({"a": None}, "${a}", "", id="nothing of a null"),
            pytest.param({"a": None}, '${a ?? "none"}', "none", id="default"),
            pytest.param({"input": "mine"}, "${input.city}, ${item.input}", "Seattle, mine", id="reserved names"),
        ],
    )  # fmt: skip
    def test_renders(self, value: JsonValue, text: str, expected: JsonValue) -> None:
        assert fill(value, text) == expected

    def test_gives_its_variables_and_lets_them_win_over_data(self) -> None:
        assert fill([{"tone": "rude", "n": 1}], "${tone} ${n}", tone="kind") == ["kind 1"]

    def test_never_looks_again_at_what_was_put_in(self) -> None:
        assert fill({"a": "${input.city}"}, "${a}") == "${input.city}"

    def test_tells_which_name_leads_to_nothing(self) -> None:
        with pytest.raises(UnresolvedReferenceError, match="nmae"):
            fill([{"name": "A"}], "${nmae}")

    def test_leaves_the_input_as_it_was(self) -> None:
        value: list[dict[str, Any]] = [{"n": [1]}]

        fill(value, "${n}")

        assert value == [{"n": [1]}]
