"""Broken transforms as people write them: each is told once, at its place in the file, with what to do."""

from typing import Any

import pytest

from tests.fixtures.transform_steps import POINTER, errors_of

UNROLLED = "((((a{50}){50}){50}){50})"

# operation, config, place in the step's config, part of the message
BROKEN: list[tuple[str, dict[str, Any], str, str]] = [
    ("jion", {}, "/operation", "Did you mean join?"),
    ("filtre", {"condition": "true"}, "/operation", "Did you mean filter?"),
    ("xyzzy", {}, "/operation", "Known are: extract_fields, filter, join, map, markdown_to_json, merge, regex_extract"),
    ("filter", {}, "/config/condition", 'The field "condition" is missing'),
    ("filter", {"conditon": "true"}, "/config/conditon", 'Did you mean "condition"?'),
    ("filter", {"condition": "true", "where": "x"}, "/config/where", "Known fields: array_path, condition"),
    ("filter", {"condition": "item.a >"}, "/config/condition", 'nothing follows ">", at character 8'),
    ("filter", {"condition": ""}, "/config/condition", "text that is not empty"),
    ("filter", {"condition": 5}, "/config/condition", "must be text or true or false, not a whole number"),
    ("filter", {"condition": "itm.a > 1"}, "/config/condition", 'nothing called "itm" here. Did you mean "item"?'),
    ("filter", {"condition": "item.a == steps.nope.n"}, "/config/condition", 'there is no step "nope"'),
    ("filter", {"condition": "item.a and true"}, "/config/condition", '"and" is written &&, at character 8'),
    ("filter", {"condition": "sise(item) > 1"}, "/config/condition", 'no function "sise". Did you mean "size"?'),
    ("filter", {"condition": "item.a == ${input.x"}, "/config/condition", "the ${ is never closed"),
    ("filter", {"condition": "item.map(x, x.map(y, y)) == []"}, "/config/condition", "map stands inside another macro"),
    ("map", {}, "/config", "takes one of expression, template and fields; given: none"),
    ("map", {"expression": "item", "template": "x"}, "/config/template", "given: expression, template"),
    ("map", {"expression": "item +"}, "/config/expression", "it ends too early"),
    ("map", {"transform": "item", "expression": "item"}, "/config/expression", "given: expression, transform"),
    ("map", {"transform": "item +"}, "/config/transform", "it ends too early"),
    ("map", {"transform": "idx + 1"}, "/config/transform", 'nothing called "idx" here. Did you mean "index"?'),
    ("map", {"array_path": "rows"}, "/config", "takes one of expression, template and fields; given: none"),
    ("filter", {"condition": "true", "array_path": 5}, "/config/array_path", "path is text, such as"),
    ("filter", {"condition": "true", "aray_path": "a"}, "/config/aray_path", 'Did you mean "array_path"?'),
    ("map", {"expression": 7}, "/config/expression", "must be text, not a whole number"),
    ("map", {"expression": "idx + 1"}, "/config/expression", 'nothing called "idx" here. Did you mean "index"?'),
    ("map", {"template": {"a": "${steps.nope.x}"}}, "/config/template/a", 'there is no step "nope"'),
    ("map", {"template": "${item"}, "/config/template", "the ${ is never closed"),
    ("map", {"fields": {"a": "b..c"}}, "/config/fields/a", "a JSONPath query begins with $"),
    ("map", {"fields": {"a": 5}}, "/config/fields/a", "A path is text, such as results[0].name, and not 5"),
    ("map", {"fields": {"a/b": "${steps.nope.x}"}}, "/config/fields/a~1b", 'there is no step "nope"'),
    ("map", {"fields": []}, "/config/fields", "must be an object, not a list"),
    ("map", {"fields": {}}, "/config/fields", "at least 1"),
    ("map", {"field": {"a": "b"}}, "/config/field", 'Did you mean "fields"?'),
    ("sort", {"key": "a[*]"}, "/config/key", "a key is a path to one"),
    ("sort", {"key": "$.a"}, "/config/key", "no $"),
    ("sort", {"key": 3}, "/config/key", "A path is text"),
    ("sort", {"key": " a"}, "/config/key", "begins or ends with a blank; write 'a'"),
    ("sort", {"by": "a"}, "/config/by", 'Did you mean "key"?'),
    ("sort", {"key": "a", "field": "b"}, "/config", "are two names of one thing"),
    ("sort", {"field": "a[*]"}, "/config/field", "a key is a path to one"),
    ("sort", {"array_path": "a..b"}, "/config/array_path", "cannot be read at character 2"),
    ("sort", {"reverse": "yes"}, "/config/reverse", 'must be true or false, not text ("yes")'),
    ("sort", {"reverse": "yes", "key": "${input.k}"}, "/config/reverse", "must be true or false"),
    ("sort", {"keey": "a", "reverse": "${input.r}"}, "/config/keey", 'Did you mean "key"?'),
    ("sort", {"key": "${input.k", "reverse": True}, "/config/key", "the ${ is never closed"),
    ("unique", {"key": "a."}, "/config/key", "cannot be read at character 2"),
    ("unique", {"keys": "a"}, "/config/keys", 'Did you mean "key"?'),
    ("regex_extract", {}, "/config", 'Give a "pattern", or "patterns" by name.'),
    ("regex_extract", {"pattern": "a", "patterns": {"x": "b"}}, "/config/patterns", "(several by name), not both"),
    ("regex_extract", {"pattern": "a(b"}, "/config/pattern", "missing ), at character 4"),
    ("regex_extract", {"pattern": ""}, "/config/pattern", "A pattern is not empty"),
    ("regex_extract", {"pattern": 5}, "/config/pattern", "A pattern is text, not a whole number"),
    ("regex_extract", {"pattern": "(a)", "group": 2}, "/config/group", "has 1 group, so there is no group 2"),
    ("regex_extract", {"pattern": "(a)(b)", "group": 3}, "/config/group", "has 2 groups, so there is no group 3"),
    ("regex_extract", {"pattern": "a", "group": 1}, "/config/group", "a group is a part in brackets"),
    ("regex_extract", {"pattern": "(?P<year>a)", "group": "yaer"}, "/config/group", 'Did you mean "year"?'),
    ("regex_extract", {"pattern": "(a)", "group": "year"}, "/config/group", "named by (?P<name>...)"),
    ("regex_extract", {"pattern": "a", "group": -1}, "/config/group", "0 for the whole match"),
    ("regex_extract", {"pattern": "a", "group": True}, "/config/group", "0 for the whole match"),
    ("regex_extract", {"patterns": {"x": "(a)", "y": "b"}, "group": 1}, "/config/group", 'The pattern "y" has no'),
    ("regex_extract", {"patterns": {"x": "a", "y": "(b"}}, "/config/patterns/y", "missing ), at character 3"),
    ("regex_extract", {"patterns": ["a"]}, "/config/patterns", "must be an object, not a list"),
    ("regex_extract", {"pattern": "a", "all_matches": "yes"}, "/config/all_matches", "must be true or false"),
    ("regex_extract", {"pattern": "(b", "group": "${input.g}"}, "/config/pattern", "missing )"),
    ("regex_extract", {"pattern": UNROLLED}, "/config/pattern", "repeats too much at character 16"),
    ("extract_fields", {}, "/config/fields", 'The field "fields" is missing'),
    ("extract_fields", {"fields": {"a": "$["}}, "/config/fields/a", "unbalanced brackets, at character 3"),
    ("extract_fields", {"fields": {"a": "$.b "}}, "/config/fields/a", "trailing whitespace"),
    ("extract_fields", {"paths": {"a": "b..c"}}, "/config/paths/a", "cannot be read at character 2"),
    ("extract_fields", {"fields": {"a": "b"}, "paths": {"c": "d"}}, "/config", "two names of one thing"),
    ("extract_fields", {"fields": {"a": "b"}, "required": ["c"]}, "/config/required", "no field: c. Fields: a"),
    ("extract_fields", {"fields": {"a": "b"}, "required": "a"}, "/config/required", "a list of names of fields"),
    ("extract_fields", {"fields": {"a": "$[?nope(@.b)]"}}, "/config/fields/a", "'nope' is not defined, at character 4"),
    ("extract_fields", {"fields": {"a": "${input.p}"}}, "/config/fields/a", "references are not filled in here"),
    ("extract_fields", {"fields": {"a": "$[?!@.b == 1]"}}, "/config/fields/a", "without brackets, at character 9"),
    ("join", {"seperator": "x"}, "/config/seperator", 'Did you mean "separator"?'),
    ("join", {"separator": 5}, "/config/separator", "must be text, not a whole number"),
    ("join", {"field": "a..b"}, "/config/field", "cannot be read at character 2"),
    ("join", {"separator": "${steps.nope.x}"}, "/config/separator", 'there is no step "nope"'),
    ("merge", {"sources": ["${steps.nope.x}"]}, "/config/sources/0", 'there is no step "nope"'),
    ("merge", {"sources": ["a", "steps.nope.x"]}, "/config/sources/1", 'there is no step "nope"'),
    ("merge", {"sources": ["a", "a..b"]}, "/config/sources/1", "cannot be read at character 2"),
    ("merge", {"strategy": "deepest"}, "/config/strategy", 'Did you mean "deep"?'),
    ("merge", {"sources": "a"}, "/config/sources", "must be a list, not text"),
    ("template", {}, "/config/template", 'The field "template" is missing'),
    ("template", {"template": 5}, "/config/template", "must be text, not a whole number"),
    ("template", {"template": "${a"}, "/config/template", "the ${ is never closed"),
    ("template", {"template": "x", "variables": []}, "/config/variables", "must be an object, not a list"),
    ("template", {"template": "x", "variables": {"a": "${steps.nope.x}"}}, "/config/variables/a", 'no step "nope"'),
]  # fmt: skip


class TestFindings:
    @pytest.mark.parametrize(
        ("operation", "config", "place", "message"),
        BROKEN,
        ids=[f"{number}-{row[0]}{row[2].removeprefix('/config')}" for number, row in enumerate(BROKEN)],
    )
    def test_are_one_at_the_right_place_with_a_hint(
        self, operation: str, config: dict[str, Any], place: str, message: str
    ) -> None:
        (finding,) = errors_of(operation, config)

        assert finding.pointer == POINTER + place
        assert message in finding.message

    def test_are_told_all_at_once(self) -> None:
        config = {"fields": {"a": "${steps.nope.x}", "b": "b..c", "c": 5}, "expresion": "item"}

        pointers = [finding.pointer for finding in errors_of("map", config, input="${steps.gone.output}")]

        assert sorted(pointers) == [
            f"{POINTER}/config/expresion",
            f"{POINTER}/config/fields/a",
            f"{POINTER}/config/fields/b",
            f"{POINTER}/config/fields/c",
            f"{POINTER}/input",
        ]
