"""Schemas that users write: what they can say, and what they are told where they say it wrong."""

from typing import Any

import pytest

from callboard.workflows.transforms.base import TransformError, TransformTools
from callboard.workflows.transforms.markdown.schema import FieldRule, MarkdownSchema, SectionRule
from callboard.workflows.transforms.markdown_to_json import MarkdownToJson, MarkdownToJsonConfig

RECIPES: dict[str, Any] = {
    "name": "recipes",
    "sections": [
        {
            "output": "recipes",
            "item": "recipe",
            "headings": ["Recipes"],
            "min_items": 1,
            "fields": {
                "title": {"heading": True},
                "servings": {"type": "integer", "labels": ["Servings", "Serves"], "required": True},
                "price": {"type": "decimal", "labels": ["Price"]},
                "rating": {"type": "decimal", "labels": ["Rating"], "out_of": 5, "optional": True},
                "vegan": {"type": "boolean", "labels": ["Vegan"], "default": True},
                "course": {"type": "choice", "labels": ["Course"], "choices": {"main": ["Main course"], "dessert": []}},
                "first_cooked": {"labels": ["First cooked"], "default": "unknown"},
                "ingredients": {"type": "list", "labels": ["Ingredients"]},
                "steps": {"type": "list", "labels": ["Steps"], "default": ["Cook."]},
            },
        }
    ],
}
BREAD = """# Recipes

## Bread
- Serves: 4 people
- Price: 3,25 €
- Rating: 8/10
- Vegan: no
- Course: Main Course
- First cooked: 2024-02-29
- Ingredients:
  - flour
  - salt and pepper
    - black
- Steps:
  1. Knead
  2. Bake
"""


FIELD = "sections/0/fields/a"


def read(markdown: str, schema: dict[str, Any] = RECIPES) -> dict[str, Any]:
    tools = TransformTools(render=lambda value, _names: value, markdown_schemas={"recipes": schema})
    return MarkdownToJson().apply(markdown, MarkdownToJsonConfig(schema="recipes"), tools)


def with_field(**field: Any) -> dict[str, Any]:
    return {"sections": [{"output": "rows", "headings": ["Rows"], "fields": {"a": field}}]}


def fault_of(schema: dict[str, Any]) -> str:
    (finding,) = MarkdownToJson().check(MarkdownToJsonConfig(schema="recipes"), {"recipes": schema})
    return finding.message.removeprefix("The Markdown schema 'recipes' is not valid: ")


class TestRecipes:
    def test_reads_every_type(self) -> None:
        result = read(BREAD)

        assert result["recipes"] == [
            {
                "title": "Bread", "servings": 4, "price": 3.25, "rating": 4.0, "vegan": False, "course": "main",
                "first_cooked": "2024-02-29", "ingredients": ["flour", "salt and pepper", "black"],
                "steps": ["Knead", "Bake"],
            }
        ]  # fmt: skip
        assert result["warnings"] == ["line 6: recipe 'Bread': rating: '8/10' was read as 4 out of 5"]

    def test_sets_defaults_for_what_is_absent_or_not_said(self) -> None:
        result = read("## Soup\nServes: 2\nVegan: N/A\nSteps: none\nFirst cooked: unknown\nCourse: N/A\nPrice: N/A")

        assert result["recipes"] == [
            {
                "title": "Soup", "servings": 2, "price": None, "rating": None, "vegan": True, "course": None,
                "first_cooked": "unknown", "ingredients": [], "steps": ["Cook."],
            }
        ]  # fmt: skip

    def test_keeps_the_default_list_for_itself(self) -> None:
        first = read("## Soup\nServes: 2")["recipes"][0]["steps"]
        first.append("Eat.")

        assert read("## Soup\nServes: 2")["recipes"][0]["steps"] == ["Cook."]

    def test_does_not_warn_of_what_is_optional(self) -> None:
        warnings = read("## Soup\nServes: 2")["warnings"]

        assert warnings[0] == "line 1: recipe 'Soup' has no price, vegan, course, first_cooked, ingredients, steps"

    def test_fails_where_something_required_is_missing(self) -> None:
        with pytest.raises(
            TransformError, match=r"requires: line 1: recipe 'Soup' has no servings; line 4: .*'Tea' has"
        ):
            read("## Soup\nPrice: 2\n\n## Tea\nServes: N/A")

    def test_fails_where_there_are_too_few_items(self) -> None:
        with pytest.raises(TransformError, match="recipes has 0 items and needs 1"):
            read("Nothing to eat.")

    def test_warns_of_a_word_that_is_no_choice(self) -> None:
        warnings = read("## Soup\nServes: 2\nCourse: starter")["warnings"]

        assert warnings[0].startswith("line 1: recipe 'Soup' has no")
        assert warnings[1] == "line 3: recipe 'Soup': course: 'starter' is none of: main, dessert"


class TestFaults:
    @pytest.mark.parametrize(
        ("schema", "fault"),
        [
            pytest.param(
                with_field(lables=["A"], labels=["B"]),
                f"{FIELD}/lables: there is no setting 'lables'. Did you mean \"labels\"?",
                id="unknown setting of a field",
            ),
            pytest.param(
                {**with_field(labels=["A"]), "section": []},
                "section: there is no setting 'section'. Did you mean \"sections\"?",
                id="unknown setting of the whole",
            ),
            pytest.param(
                {"sections": [{"output": "r", "headings": ["R"], "field": {}, "fields": {"a": {"labels": ["A"]}}}]},
                "sections/0/field: there is no setting 'field'. Did you mean \"fields\"?",
                id="unknown setting of a section",
            ),
            pytest.param(
                {"sections": [{"output": "r", "headings": ["R"], "fields": {"fields": {"labels": ["A"], "x": 1}}}]},
                "sections/0/fields/fields/x: there is no setting 'x'. Known settings: any_text_means_yes, choices, "
                "default, denials, heading, labels, line_separator, mentioned_in, mentions, multiline, optional, "
                "out_of and 2 more.",
                id="a field called fields",
            ),
            pytest.param(
                with_field(labels=["A"], type="date"),
                f"{FIELD}/type: Input should be 'text', 'url', 'integer', 'decimal', 'boolean', 'list' or "
                "'choice'.",
                id="wrong type name",
            ),
            pytest.param(
                with_field(labels="A"), f"{FIELD}/labels: Input should be a valid list.", id="text for a list"
            ),
            pytest.param(
                with_field(),
                f"{FIELD}: a field has `labels`, or `mentioned_in`, or is read from the `heading`.",
                id="no source",
            ),
            pytest.param(
                with_field(labels=["A"], type="choice"),
                f'{FIELD}: `choices` belong to a field of type "choice", and such a field has some.',
                id="choice without choices",
            ),
            pytest.param(
                with_field(labels=["A"], out_of=5),
                f"{FIELD}: `out_of` belongs to a field of type integer or decimal.",
                id="full marks of a text",
            ),
            pytest.param(
                with_field(labels=["A"], mentions=["b"]),
                f"{FIELD}: `mentions`, `denials`, `mentioned_in` and `any_text_means_yes` belong to a boolean.",
                id="mentions of a text",
            ),
            pytest.param(
                with_field(labels=["A"], required=True, optional=True),
                f"{FIELD}: a `required` field is not `optional` and has no `default`.",
                id="required and optional",
            ),
            pytest.param({}, "sections: Field required.", id="no sections"),
            pytest.param(
                {"sections": [*with_field(labels=["A"])["sections"], *with_field(labels=["B"])["sections"]]},
                "two sections have the output 'rows'.",
                id="two outputs of one name",
            ),
            pytest.param(
                {"sections": [{"output": "warnings", "headings": ["R"], "fields": {"a": {"labels": ["A"]}}}]},
                'no section has the output "warnings": the list of what was left out has that name.',
                id="the name of the warnings",
            ),
        ],
    )  # fmt: skip
    def test_say_where_and_what_is_allowed(self, schema: dict[str, Any], fault: str) -> None:
        assert fault_of(schema) == fault

    @pytest.mark.parametrize(
        ("kind", "default", "allowed"),
        [
            ("integer", "1", "a value of type integer"), ("integer", 1.5, "a value of type integer"),
            ("integer", True, "a value of type integer"), ("decimal", "x", "a value of type decimal"),
            ("boolean", 1, "a value of type boolean"), ("list", [1], "a value of type list"),
            ("list", "a", "a value of type list"), ("text", 1, "a value of type text"), ("choice", "z", "one of: x, y"),
        ],
    )  # fmt: skip
    def test_say_what_a_default_may_be(self, kind: str, default: Any, allowed: str) -> None:
        choices: dict[str, Any] = {"choices": {"x": [], "y": []}} if kind == "choice" else {}

        assert fault_of(with_field(labels=["A"], type=kind, default=default, **choices)).endswith(
            f"`default` is {allowed}."
        )

    @pytest.mark.parametrize(
        ("kind", "default"),
        [("integer", 1), ("decimal", 1), ("decimal", 1.5), ("boolean", False), ("url", "x"), ("choice", "x")],
    )
    def test_accept_a_default_of_the_type(self, kind: str, default: Any) -> None:
        choices: dict[str, Any] = {"choices": {"x": []}} if kind == "choice" else {}

        schema = MarkdownSchema.read(with_field(labels=["A"], type=kind, default=default, **choices))

        assert schema.sections[0].fields_["a"].default == default

    def test_name_every_one_at_once(self) -> None:
        fault = fault_of(with_field(labels="A", typ="x"))

        assert f"{FIELD}/labels: " in fault
        assert f"{FIELD}/typ: " in fault


class TestDescriptions:
    @pytest.mark.parametrize("model", [MarkdownSchema, SectionRule, FieldRule])
    def test_tell_of_every_setting(self, model: type[MarkdownSchema] | type[SectionRule] | type[FieldRule]) -> None:
        assert [name for name, field in model.model_fields.items() if not field.description] == []
