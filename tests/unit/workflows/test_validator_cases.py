"""Broken files, each with all that is told about it: once, at the right place, with what to do. Promise B14."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callboard.core.config import Settings
from callboard.workbench import open_workbench
from callboard.workflows.files import LoadedWorkflow, WorkflowFileReader, WorkflowFolders, folders_for
from callboard.workflows.findings import Severity, WorkflowFinding
from callboard.workflows.source_positions import SourceText

BROKEN = Path(__file__).parents[2] / "fixtures" / "broken_workflows"
SHIPPED = Path(__file__).parents[3] / "workflows" / "definitions"
E, W = Severity.ERROR, Severity.WARNING


class Told(NamedTuple):
    """What one finding has to say; `hint` stands in its message."""

    severity: Severity
    code: str
    line: int
    column: int
    pointer: str
    hint: str


CASES = [
    pytest.param(
        "alias",
        [
            Told(
                W,
                "alias_hides_key",
                40,
                5,
                "/steps/1/outputs/0",
                "s output; that one is then ${steps.draft.output.usage}.",
            ),
        ],
        id="alias",
    ),
    pytest.param(
        "alias_field",
        [
            Told(E, "shape", 40, 5, "/steps/1/outputs/0", "an alias: ${steps.ID.output} has a meaning of its own."),
        ],
        id="alias field",
    ),
    pytest.param(
        "alias_twice",
        [
            Told(E, "shape", 27, 15, "/steps/0/outputs", 'The alias "reply" is there twice; keep one.'),
        ],
        id="alias twice",
    ),
    pytest.param(
        "approval_answer",
        [
            Told(
                W,
                "unknown_key",
                32,
                15,
                "/steps/1/config/input",
                'no "fien" in the output of "ok".answer. Did you mean "fine"?',
            ),
        ],
        id="approval answer",
    ),
    pytest.param(
        "approval_default",
        [
            Told(
                W, "no_effect", 16, 13, "/steps/0/retry", "ain: give it more time, or say what follows with on_timeout."
            ),
            Told(
                E,
                "shape",
                21,
                19,
                "/steps/0/config/on_timeout",
                't "default" needs a default_value on the step (null is one).',
            ),
        ],
        id="approval default",
    ),
    pytest.param(
        "approval_fields",
        [
            Told(
                E,
                "unknown_field",
                16,
                5,
                "/steps/0/config/question",
                'Unknown field "question". Did you mean "instructions"?',
            ),
            Told(
                E,
                "shape",
                17,
                24,
                "/steps/0/config/timeout_seconds",
                'st be a number or one reference ${...}, not text ("1 hour").',
            ),
            Told(
                E,
                "unknown_field",
                18,
                5,
                "/steps/0/config/quorum",
                'Unknown field "quorum". Did you mean "required_answers"?',
            ),
            Told(
                E,
                "shape",
                19,
                19,
                "/steps/0/config/on_timeout",
                "not a valid on_timeout: use 'fail', 'continue' or 'default'.",
            ),
        ],
        id="approval fields",
    ),
    pytest.param(
        "approval_form",
        [
            Told(
                E,
                "invalid_schema",
                22,
                16,
                "/steps/0/config/form_schema/properties/fine/type",
                '"bool" is no type. Did you mean "boolean"?',
            ),
        ],
        id="approval form",
    ),
    pytest.param(
        "approval_no_end",
        [
            Told(
                W,
                "waits_without_end",
                15,
                14,
                "/steps/0/config",
                " timeout_seconds it waits for an answer as long as it takes.",
            ),
            Told(
                W,
                "unknown_input",
                16,
                20,
                "/steps/0/config/title",
                'is no "mial" in input_schema for input. Did you mean "mail"?',
            ),
        ],
        id="approval no end",
    ),
    pytest.param(
        "bad_escape",
        [
            Told(E, "not_json", 3, 14, "", "\\d is no escape in JSON. A backslash is written twice: \\\\d."),
        ],
        id="bad escape",
    ),
    pytest.param(
        "bad_id",
        [
            Told(E, "shape", 22, 10, "/steps/0/id", "'a b' is not a valid id: 1 to 50 letters, digits, _ or -."),
            Told(
                E,
                "unknown_step",
                37,
                43,
                "/steps/1/config/prompt_text",
                'data}: there is no step "places". Steps before it: a b.',
            ),
        ],
        id="bad id",
    ),
    pytest.param(
        "bare",
        [
            Told(
                W,
                "not_a_reference",
                28,
                16,
                "/steps/0/config/parameters/query",
                "he definition references are written ${steps.x.output}.",
            ),
        ],
        id="bare",
    ),
    pytest.param(
        "big_number",
        [
            Told(E, "number_too_large", 3, 19, "/context/n", "it into 64 bit and would lose digits. Write it as text."),
        ],
        id="big number",
    ),
    pytest.param(
        "braces",
        [
            Told(
                W,
                "not_a_reference",
                28,
                16,
                "/steps/0/config/parameters/query",
                "he definition references are written ${input.location}.",
            ),
        ],
        id="braces",
    ),
    pytest.param(
        "branch_object",
        [
            Told(E, "shape", 28, 17, "/steps/0/config/branches", 'Give "steps" or "branches", not both.'),
            Told(
                E, "shape", 29, 11, "/steps/0/config/branches/a", '"a" must be a list, not an object. Put it into [ ].'
            ),
        ],
        id="branch object",
    ),
    pytest.param(
        "cases_and_condition",
        [
            Told(
                E,
                "shape",
                29,
                16,
                "/steps/0/config/if_true",
                'not go with "cases": give condition with if_true and if_false, or cases.',
            ),
            Told(
                E,
                "shape",
                46,
                14,
                "/steps/1/config/cases",
                'There is no case in it: write [{"when": ..., "steps": [...]}, ...].',
            ),
            Told(
                E,
                "shape",
                64,
                16,
                "/steps/2/config/default",
                '"default" goes with "cases"; beside "condition" it is called "if_false".',
            ),
        ],
        id="cases and condition",
    ),
    pytest.param(
        "closed_input",
        [
            Told(E, "unknown_input", 21, 16, "/steps/0/config/parameters/query", 'Did you mean "location"?'),
        ],
        id="closed input",
    ),
    pytest.param(
        "comment",
        [
            Told(E, "not_json", 2, 15, "", 'comments. Remove it, or write it into a "description".'),
        ],
        id="comment",
    ),
    pytest.param(
        "cond_and",
        [
            Told(
                E,
                "invalid_condition",
                39,
                31,
                "/steps/1/when",
                'does not compile: "and" is written &&, at character 19.',
            ),
        ],
        id="cond and",
    ),
    pytest.param(
        "cond_arrow",
        [
            Told(
                E,
                "invalid_condition",
                31,
                41,
                "/steps/0/config/config/condition",
                "cro takes the name and the test, list.filter(x, x > 1), at character 22.",
            ),
        ],
        id="cond arrow",
    ),
    pytest.param(
        "cond_brackets",
        [
            Told(
                E,
                "invalid_condition",
                27,
                13,
                "/steps/0/when",
                "this ( is never closed: a ) is missing, at character 1.",
            ),
            Told(E, "invalid_condition", 36, 24, "/steps/1/when", "this ) closes nothing, at character 12."),
            Told(
                E,
                "invalid_condition",
                45,
                24,
                "/steps/2/when",
                "a list is written in square brackets: [1, 2], at character 12.",
            ),
            Told(
                E, "invalid_condition", 54, 28, "/steps/3/when", 'a value is missing before this "&&", at character 16.'
            ),
            Told(
                E,
                "invalid_condition",
                63,
                13,
                "/steps/4/when",
                "a choice has three parts: condition ? value : other, at character 1.",
            ),
            Told(
                E,
                "invalid_condition",
                72,
                24,
                "/steps/5/when",
                "this [ is never closed: a ] is missing, at character 12.",
            ),
        ],
        id="cond brackets",
    ),
    pytest.param(
        "cond_fn",
        [
            Told(
                E,
                "invalid_condition",
                39,
                13,
                "/steps/1/when",
                'there is no function "len"; size(x) counts a list or a text, at character 1.',
            ),
        ],
        id="cond fn",
    ),
    pytest.param(
        "cond_for_when",
        [
            Told(E, "unknown_field", 39, 4, "/steps/1/condition", 'Did you mean "when"?'),
        ],
        id="cond for when",
    ),
    pytest.param(
        "cond_hyphen",
        [
            Told(
                E,
                "invalid_condition",
                39,
                13,
                "/steps/1/when",
                "btraction; write ${steps.pla-ces.data}, at character 1.",
            ),
        ],
        id="cond hyphen",
    ),
    pytest.param(
        "cond_js",
        [
            Told(E, "invalid_condition", 27, 21, "/steps/0/when", '"===" is written ==, at character 9.'),
            Told(
                E,
                "unknown_input",
                36,
                13,
                "/steps/1/when",
                'ist, so there is no "length" in it. In a condition, size(...) counts it.',
            ),
            Told(
                E,
                "invalid_condition",
                45,
                13,
                "/steps/2/when",
                "ype(x), which is int, double, string, bool, list or map, at character 1.",
            ),
            Told(
                E,
                "invalid_condition",
                54,
                25,
                "/steps/3/when",
                '"includes"; write item in list, or text.contains(part), at character 13.',
            ),
            Told(
                E,
                "invalid_condition",
                63,
                21,
                "/steps/4/when",
                "a default stands inside a reference: ${path ?? default}, at character 9.",
            ),
        ],
        id="cond js",
    ),
    pytest.param(
        "cond_many",
        [
            Told(E, "invalid_condition", 27, 21, "/steps/0/when", '"and" is written &&, at character 9.'),
            Told(E, "invalid_condition", 27, 36, "/steps/0/when", '"is" is written ==, at character 24.'),
            Told(E, "invalid_condition", 27, 39, "/steps/0/when", '"None" is written null, at character 27.'),
            Told(E, "invalid_condition", 27, 44, "/steps/0/when", '"or" is written ||, at character 32.'),
        ],
        id="cond many",
    ),
    pytest.param(
        "cond_syntax",
        [
            Told(
                E,
                "invalid_condition",
                39,
                24,
                "/steps/1/when",
                '\' does not compile: "=" is written ==, at character 12.',
            ),
        ],
        id="cond syntax",
    ),
    pytest.param(
        "cond_template",
        [
            Told(
                E,
                "invalid_condition",
                27,
                13,
                "/steps/0/when",
                ".n}} is no reference here; write input.n, or ${input.n}, at character 1.",
            ),
            Told(
                E,
                "invalid_condition",
                36,
                13,
                "/steps/1/when",
                "ch as input or steps; write it without $, or as ${path}, at character 1.",
            ),
            Told(
                E,
                "unknown_reference",
                45,
                13,
                "/steps/2/when",
                '${n}: there is nothing called "n" here. Did you mean "input.n"?',
            ),
        ],
        id="cond template",
    ),
    pytest.param(
        "cond_unk",
        [
            Told(W, "unknown_input", 39, 13, "/steps/1/when", 'Did you mean "mail"?'),
        ],
        id="cond unk",
    ),
    pytest.param(
        "cond_words",
        [
            Told(
                E,
                "invalid_condition",
                31,
                21,
                "/steps/0/config/config/expression",
                "ed out for each item as it stands, at character 1.",
            ),
            Told(E, "invalid_condition", 38, 33, "/steps/1/when", "of a list by list.map(x, x.name), at character 21."),
        ],
        id="cond words",
    ),
    pytest.param(
        "confg",
        [
            Told(E, "unknown_field", 27, 4, "/steps/0/confg", 'Unknown field "confg". Did you mean "config"?'),
        ],
        id="confg",
    ),
    pytest.param(
        "contents",
        [
            Told(W, "unknown_key", 42, 9, "/outputs/a", 'Did you mean "content"?'),
        ],
        id="contents",
    ),
    pytest.param(
        "ctx",
        [
            Told(E, "unknown_context", 37, 24, "/steps/1/config/prompt_text", 'Did you mean "tone"?'),
        ],
        id="ctx",
    ),
    pytest.param(
        "default",
        [
            Told(
                E,
                "shape",
                39,
                18,
                "/steps/1/error_mode",
                'error_mode "default" needs a default_value on the step (null is one).',
            ),
        ],
        id="default",
    ),
    pytest.param(
        "default_text",
        [
            Told(
                E,
                "shape",
                43,
                16,
                "/steps/0/config/default",
                'jects, not text. Write [{"id": ..., "type": ..., "config": {...}}, ...].',
            ),
        ],
        id="default text",
    ),
    pytest.param(
        "dollar",
        [
            Told(
                W,
                "not_a_reference",
                28,
                16,
                "/steps/0/config/parameters/query",
                "he definition references are written ${input.location}.",
            ),
        ],
        id="dollar",
    ),
    pytest.param(
        "dup_id",
        [
            Told(E, "duplicate_id", 33, 10, "/steps/1/id", 'aces" is there twice; ids are unique in the whole file.'),
            Told(E, "unknown_step", 42, 9, "/outputs/a", 'nt}: there is no step "draft". Steps before it: places.'),
        ],
        id="dup id",
    ),
    pytest.param(
        "duplicate_key",
        [
            Told(
                E, "duplicate_key", 6, 4, "/steps/0/config", "wice in this object, first on line 5. Keep one of them."
            ),
        ],
        id="duplicate key",
    ),
    pytest.param(
        "dv",
        [
            Told(
                W,
                "no_effect",
                39,
                21,
                "/steps/1/default_value",
                'under error_mode "default" only; this step\'s is "fail".',
            ),
        ],
        id="dv",
    ),
    pytest.param(
        "empty",
        [
            Told(E, "not_json", 1, 1, "", 'definition is an object: {"name": ..., "steps": [...]}.'),
        ],
        id="empty",
    ),
    pytest.param(
        "empty_cond",
        [
            Told(
                E,
                "shape",
                40,
                3,
                "/steps/2/config",
                'There is no step in any branch: write "if_true": [...], or "if_false": [...], or both.',
            ),
            Told(
                W,
                "constant_condition",
                43,
                17,
                "/steps/2/condition",
                "The condition is always true: it decides nothing.",
            ),
        ],
        id="empty cond",
    ),
    pytest.param(
        "empty_loop",
        [
            Told(E, "shape", 44, 13, "/steps/2/steps", "There is no step."),
        ],
        id="empty loop",
    ),
    pytest.param(
        "empty_par",
        [
            Told(E, "shape", 43, 13, "/steps/2/steps", "There is no step in it."),
        ],
        id="empty par",
    ),
    pytest.param(
        "empty_prompt",
        [
            Told(E, "shape", 29, 20, "/steps/0/config/prompt_text", "The prompt is empty, so nothing would be asked."),
        ],
        id="empty prompt",
    ),
    pytest.param(
        "error_mode",
        [
            Told(E, "shape", 39, 18, "/steps/1/error_mode", 'Did you mean "continue"?'),
        ],
        id="error mode",
    ),
    pytest.param(
        "error_mode_in_config",
        [
            Told(
                E, "shape", 30, 19, "/steps/0/config/error_mode", '" needs a default_value on the step (null is one).'
            ),
        ],
        id="error mode in config",
    ),
    pytest.param(
        "extra_bracket",
        [
            Told(E, "not_json", 5, 2, "", "This ] closes nothing. Remove it."),
        ],
        id="extra bracket",
    ),
    pytest.param(
        "fence",
        [
            Told(E, "not_json", 1, 1, "", "arkdown around JSON: leave out the lines with ```."),
        ],
        id="fence",
    ),
    pytest.param(
        "filter_cond",
        [
            Told(E, "unknown_reference", 47, 20, "/steps/2/config/config/condition", 'Did you mean "item"?'),
        ],
        id="filter cond",
    ),
    pytest.param(
        "flat_http",
        [
            Told(
                E,
                "unknown_field",
                27,
                4,
                "/steps/0/service",
                'Unknown field "service". It belongs into the step\'s "config".',
            ),
            Told(
                E,
                "unknown_field",
                28,
                4,
                "/steps/0/method",
                'Unknown field "method". It belongs into the step\'s "config".',
            ),
            Told(
                E,
                "unknown_field",
                29,
                4,
                "/steps/0/url",
                'nknown field "url". It belongs into "parameters" in the step\'s "config".',
            ),
        ],
        id="flat http",
    ),
    pytest.param(
        "include_circle",
        [
            Told(
                E,
                "invalid_prompt",
                37,
                24,
                "/steps/1/config/prompt_template",
                "other in a circle: circle.md -> round.md -> circle.md.",
            ),
        ],
        id="include circle",
    ),
    pytest.param(
        "include_gone",
        [
            Told(E, "prompt_not_found", 37, 24, "/steps/1/config/prompt_template", "There is no prompt file"),
        ],
        id="include gone",
    ),
    pytest.param(
        "include_out",
        [
            Told(
                E,
                "prompt_outside_folder",
                37,
                24,
                "/steps/1/config/prompt_template",
                'e:../../x.md}}: "../../x.md" leaves the prompts folder.',
            ),
        ],
        id="include out",
    ),
    pytest.param(
        "index",
        [
            Told(
                E,
                "undefined_variable",
                37,
                21,
                "/steps/1/config/prompt_text",
                'el step with for_each; its "as" may name it otherwise).',
            ),
        ],
        id="index",
    ),
    pytest.param(
        "input",
        [
            Told(W, "unknown_input", 28, 16, "/steps/0/config/parameters/query", 'Did you mean "location"?'),
        ],
        id="input",
    ),
    pytest.param(
        "input_schema_type",
        [
            Told(E, "invalid_schema", 4, 11, "/input_schema/type", 'Did you mean "object"?'),
        ],
        id="input schema type",
    ),
    pytest.param(
        "item",
        [
            Told(
                E,
                "unknown_reference",
                28,
                16,
                "/steps/0/config/parameters/query",
                'el step with for_each; its "as" may name it otherwise).',
            ),
        ],
        id="item",
    ),
    pytest.param(
        "jsonpath",
        [
            Told(
                E,
                "shape",
                48,
                12,
                "/steps/2/config/config/fields/a",
                ".x' is no path: unbalanced parentheses, at character 4.",
            ),
        ],
        id="jsonpath",
    ),
    pytest.param(
        "key_quote",
        [
            Told(E, "not_json", 2, 2, "", 'The key has no " at its end: write "name": ...'),
        ],
        id="key quote",
    ),
    pytest.param(
        "later",
        [
            Told(
                E,
                "step_comes_later",
                28,
                16,
                "/steps/0/config/parameters/query",
                "later in the file; only steps before this one have run.",
            ),
        ],
        id="later",
    ),
    pytest.param(
        "list_key",
        [
            Told(
                E,
                "unknown_input",
                30,
                7,
                "/steps/0/config/input/0",
                'ist, so there is no "length" in it. In a condition, size(...) counts it.',
            ),
            Told(
                E,
                "unknown_input",
                31,
                7,
                "/steps/0/config/input/1",
                'there is no "name" in it. Behind it [0] takes one item, and [*] goes through all.',
            ),
        ],
        id="list key",
    ),
    pytest.param(
        "llm_text_values",
        [
            Told(
                E,
                "shape",
                30,
                19,
                "/steps/0/config/max_tokens",
                'mber or one reference ${...}, not text ("100"). Write it without quotes.',
            ),
            Told(E, "shape", 31, 15, "/steps/0/config/stream", '"stream" must be true or false, not text ("yes").'),
            Told(E, "shape", 32, 18, "/steps/0/config/cache_ttl", '"cache_ttl" must be at least 0; this is -1.'),
            Told(
                E,
                "invalid_schema",
                34,
                14,
                "/steps/0/config/output_schema/type",
                '"objekt" is no type. Did you mean "object"?',
            ),
            Told(
                E,
                "shape",
                37,
                6,
                "/steps/0/config/fallbacks/0",
                '"fallbacks[0]" must be an object, not text ("gpt-4o").',
            ),
        ],
        id="llm text values",
    ),
    pytest.param(
        "lone_surrogate",
        [
            Told(E, "not_json", 2, 12, "", "This is no valid JSON: no low surrogate in string."),
        ],
        id="lone surrogate",
    ),
    pytest.param(
        "loop_no_steps",
        [
            Told(E, "shape", 27, 14, "/steps/0/config", 'A loop needs "steps": what runs for each item.'),
        ],
        id="loop no steps",
    ),
    pytest.param(
        "loop_plain",
        [
            Told(
                E,
                "shape",
                28,
                17,
                "/steps/0/config/for_each",
                '"for_each" must be a list, or a reference to one such as ${input.items}.',
            ),
            Told(
                E,
                "shape",
                29,
                11,
                "/steps/0/config/as",
                " is not a valid as: a letter or _, then at most 49 letters, digits or _.",
            ),
            Told(
                E,
                "shape",
                30,
                24,
                "/steps/0/config/max_concurrency",
                '"max_concurrency" must be at least 1; this is 0.',
            ),
            Told(
                E, "shape", 31, 18, "/steps/0/config/fail_fast", '"fail_fast" must be true or false, not text ("no").'
            ),
        ],
        id="loop plain",
    ),
    pytest.param(
        "map_2",
        [
            Told(
                E, "shape", 46, 15, "/steps/2/config/config", "es one of expression, template and fields; given: none."
            ),
        ],
        id="map 2",
    ),
    pytest.param(
        "md",
        [
            Told(E, "shape", 47, 16, "/steps/2/config/config/schema", 'Did you mean "emergency_contacts"?'),
        ],
        id="md",
    ),
    pytest.param(
        "method",
        [
            Told(
                E,
                "unknown_method",
                26,
                15,
                "/steps/0/config/method",
                's has no method "textsearch". Did you mean text_search?',
            ),
        ],
        id="method",
    ),
    pytest.param(
        "missing_comma",
        [
            Told(E, "not_json", 2, 13, "", 'A comma is missing here, before "steps" on line 3.'),
        ],
        id="missing comma",
    ),
    pytest.param(
        "missing_prompt_file",
        [
            Told(E, "prompt_not_found", 26, 24, "/steps/0/config/prompt_template", "There is no prompt file"),
        ],
        id="missing prompt file",
    ),
    pytest.param(
        "model",
        [
            Told(W, "model_without_price", 36, 14, "/steps/1/config/model", 'Did you mean "gpt-4"?'),
        ],
        id="model",
    ),
    pytest.param(
        "model_on_step",
        [
            Told(
                E,
                "unknown_field",
                38,
                4,
                "/steps/1/model",
                'Unknown field "model". It belongs into the step\'s "config".',
            ),
        ],
        id="model on step",
    ),
    pytest.param(
        "name",
        [
            Told(E, "shape", 2, 10, "/name", "letter, then at most 99 small letters, digits, _ or -."),
        ],
        id="name",
    ),
    pytest.param(
        "nan",
        [
            Told(E, "not_json", 3, 16, "", "NaN is no JSON number. Write null, or leave the field out."),
        ],
        id="nan",
    ),
    pytest.param(
        "nested_loop",
        [
            Told(W, "unused_step", 33, 10, "/steps/1/id", "put} in a later step or in outputs, or remove the step."),
            Told(
                W,
                "name_hidden",
                48,
                18,
                "/steps/2/steps/0/for_each",
                'tem "item" too, which is hidden here. Name one by "as".',
            ),
        ],
        id="nested loop",
    ),
    pytest.param(
        "no_prompt",
        [
            Told(E, "shape", 35, 14, "/steps/1/config", "prompt_template (a file), prompt_text or user_message."),
        ],
        id="no prompt",
    ),
    pytest.param(
        "no_steps",
        [
            Told(E, "missing_field", 1, 1, "/steps", 'The field "steps" is missing.'),
        ],
        id="no steps",
    ),
    pytest.param(
        "nul",
        [
            Told(E, "unreadable", 3, 17, "/description", "This cannot be stored: a NUL character cannot be stored."),
        ],
        id="nul",
    ),
    pytest.param(
        "object_index",
        [
            Told(
                W,
                "unknown_key",
                38,
                7,
                "/steps/1/config/input/0",
                'draft[0]}: the output of "draft" is an object, so there is no "0" in it.',
            ),
        ],
        id="object index",
    ),
    pytest.param(
        "onebrace",
        [
            Told(
                W,
                "not_a_reference",
                28,
                19,
                "/steps/0/config/parameters/query",
                "he definition references are written ${input.location}.",
            ),
        ],
        id="onebrace",
    ),
    pytest.param(
        "open_text",
        [
            Told(E, "not_json", 2, 10, "", 'ine. Add the "; a line break inside text is written \\n.'),
        ],
        id="open text",
    ),
    pytest.param(
        "operation",
        [
            Told(
                E,
                "unknown_transform",
                44,
                18,
                "/steps/2/config/operation",
                "operation 'extract_field'. Did you mean extract_fields?",
            ),
        ],
        id="operation",
    ),
    pytest.param(
        "outer_config",
        [
            Told(
                E,
                "unknown_field",
                30,
                5,
                "/steps/0/config/reverse",
                'the operation itself takes stands in a "config" of its own, in this one.',
            ),
        ],
        id="outer config",
    ),
    pytest.param(
        "output",
        [
            Told(E, "unknown_field", 41, 2, "/output", 'Did you mean "outputs"?'),
        ],
        id="output",
    ),
    pytest.param(
        "paralell",
        [
            Told(E, "unknown_step_type", 42, 12, "/steps/2/type", 'Did you mean "parallel"?'),
        ],
        id="paralell",
    ),
    pytest.param(
        "parallel_empty",
        [
            Told(
                E,
                "shape",
                27,
                14,
                "/steps/0/config",
                'a branch of its own, or with for_each those of one item), or "branches".',
            ),
        ],
        id="parallel empty",
    ),
    pytest.param(
        "param",
        [
            Told(E, "unknown_field", 28, 6, "/steps/0/config/parameters/querry", 'Did you mean "query"?'),
        ],
        id="param",
    ),
    pytest.param(
        "literal_parameters",
        [
            Told(E, "shape", 8, 22, "/steps/0/retry_count", '"retry_count" says the same as "max_retries"'),
            Told(E, "shape", 15, 21, "/steps/0/config/parameters/radius", "must be at most 50,000; this is 90000."),
            Told(E, "shape", 16, 22, "/steps/0/config/parameters/rank_by", "use 'popularity' or 'distance'."),
        ],
        id="literal parameters beside references",
    ),
    pytest.param(
        "params",
        [
            Told(E, "unknown_field", 27, 5, "/steps/0/config/params", 'Did you mean "parameters"?'),
        ],
        id="params",
    ),
    pytest.param(
        "prompt",
        [
            Told(E, "unknown_field", 37, 5, "/steps/1/config/prompt", 'Did you mean "prompt_text"?'),
        ],
        id="prompt",
    ),
    pytest.param(
        "prompt_faults",
        [
            Told(
                E,
                "invalid_prompt",
                29,
                31,
                "/steps/0/config/prompt_text",
                "hind the dot is missing, at character 11 (line 1).",
            ),
            Told(
                E,
                "unknown_reference",
                29,
                33,
                "/steps/0/config/prompt_text",
                'led "nmae" here. There are: context, input, steps.',
            ),
            Told(
                E, "unknown_step", 29, 41, "/steps/0/config/prompt_text", '${steps.zz.output}: there is no step "zz".'
            ),
        ],
        id="prompt faults",
    ),
    pytest.param(
        "prompt_name",
        [
            Told(
                E,
                "undefined_variable",
                37,
                24,
                "/steps/1/config/prompt_template",
                "g defines ${nmae}. Defined here: context, input, steps.",
            ),
        ],
        id="prompt name",
    ),
    pytest.param(
        "prompt_name_md",
        [
            Told(
                E,
                "prompt_not_found",
                29,
                24,
                "/steps/0/config/prompt_template",
                'There is no prompt file "round". Did you mean "round.md"?',
            ),
        ],
        id="prompt name md",
    ),
    pytest.param(
        "prompt_step",
        [
            Told(E, "unknown_step", 37, 24, "/steps/1/config/prompt_template", 'Did you mean "places"?'),
        ],
        id="prompt step",
    ),
    pytest.param(
        "prompt_syntax",
        [
            Told(
                E,
                "invalid_prompt",
                37,
                24,
                "/steps/1/config/prompt_template",
                "me behind the dot is missing, at character 17 (line 2).",
            ),
        ],
        id="prompt syntax",
    ),
    pytest.param(
        "provider",
        [
            Told(
                W,
                "model_without_price",
                29,
                14,
                "/steps/0/config/model",
                "models` lists the names; EXTERNAL_SERVICE_PRICING gives a model a price.",
            ),
        ],
        id="provider",
    ),
    pytest.param(
        "python_words",
        [
            Told(E, "not_json", 3, 12, "", "True is written true in JSON."),
            Told(E, "not_json", 4, 7, "", "None is written null in JSON."),
        ],
        id="python words",
    ),
    pytest.param(
        "ref_js",
        [
            Told(
                E,
                "invalid_reference",
                30,
                20,
                "/steps/0/config/input/0",
                "a default is written ${path ?? default}, not with ||, at character 14.",
            ),
            Told(
                E,
                "invalid_reference",
                31,
                20,
                "/steps/0/config/input/1",
                "n a reference; a transform step before changes a value, at character 14.",
            ),
            Told(
                E,
                "invalid_reference",
                32,
                17,
                "/steps/0/config/input/2",
                " calculates nothing; a map transform's expression does, at character 11.",
            ),
            Told(
                E,
                "invalid_reference",
                33,
                23,
                "/steps/0/config/input/3",
                'ON literal; text is written in double quotes: "nobody", at character 17.',
            ),
            Told(
                E,
                "invalid_reference",
                34,
                21,
                "/steps/0/config/input/4",
                " key in quotes, or *; items are counted from the front, at character 15.",
            ),
            Told(
                E,
                "invalid_reference",
                35,
                19,
                "/steps/0/config/input/5",
                'e is no "?."; a default is given by ${path ?? default}, at character 13.',
            ),
            Told(
                E,
                "invalid_reference",
                36,
                20,
                "/steps/0/config/input/6",
                "a } is missing before this ${, at character 14.",
            ),
        ],
        id="ref js",
    ),
    pytest.param(
        "regex",
        [
            Told(
                E,
                "shape",
                47,
                17,
                "/steps/2/config/config/pattern",
                "The pattern (a does not compile: missing ), at character 3.",
            ),
        ],
        id="regex",
    ),
    pytest.param(
        "retry1",
        [
            Told(
                W,
                "no_effect",
                40,
                21,
                "/steps/1/retry/max_attempts",
                "pt too: with 1 nothing is tried again. Write 2 or more.",
            ),
        ],
        id="retry1",
    ),
    pytest.param(
        "retry_count_text",
        [
            Told(E, "shape", 27, 19, "/steps/0/retry_count", 'e number, not text ("3"). Write it without quotes.'),
        ],
        id="retry count text",
    ),
    pytest.param(
        "retry_delay",
        [
            Told(
                E,
                "unknown_field",
                28,
                5,
                "/steps/0/retry/delay",
                'Unknown field "delay". Did you mean "delay_seconds"?',
            ),
            Told(
                E,
                "unknown_field",
                29,
                5,
                "/steps/0/retry/backoff",
                'Unknown field "backoff". Did you mean "backoff_multiplier"?',
            ),
        ],
        id="retry delay",
    ),
    pytest.param(
        "retry_in_cfg",
        [
            Told(
                E,
                "unknown_field",
                38,
                5,
                "/steps/1/config/retry",
                'retry". It belongs on the step itself, beside "config".',
            ),
        ],
        id="retry in cfg",
    ),
    pytest.param(
        "retry_str",
        [
            Told(
                E,
                "shape",
                40,
                21,
                "/steps/1/retry/max_attempts",
                'whole number, not text ("3"). Write it without quotes.',
            ),
        ],
        id="retry str",
    ),
    pytest.param(
        "retry_typo",
        [
            Told(E, "unknown_field", 40, 5, "/steps/1/retry/max_attemps", 'Did you mean "max_attempts"?'),
        ],
        id="retry typo",
    ),
    pytest.param(
        "schema_pattern",
        [
            Told(E, "invalid_schema", 8, 16, "/input_schema/properties/mail/pattern", '"[a" is no regular expression.'),
        ],
        id="schema pattern",
    ),
    pytest.param(
        "secret_name",
        [
            Told(
                E,
                "unknown_reference",
                33,
                13,
                "/steps/0/config/parameters/headers/A",
                'hing called "secret" here. Did you mean "secrets"?',
            ),
        ],
        id="secret name",
    ),
    pytest.param(
        "secrets",
        [
            Told(
                E,
                "secret_not_allowed",
                37,
                21,
                "/steps/1/config/prompt_text",
                "secrets are for the config of external_api steps only.",
            ),
        ],
        id="secrets",
    ),
    pytest.param(
        "secrets_in_tr",
        [
            Told(
                E,
                "secret_not_allowed",
                45,
                15,
                "/steps/2/config/input",
                "secrets are for the config of external_api steps only.",
            ),
        ],
        id="secrets in tr",
    ),
    pytest.param(
        "self",
        [
            Told(
                E,
                "step_not_reachable",
                37,
                21,
                "/steps/1/config/prompt_text",
                "${steps.draft.content}: a step cannot read its own output.",
            ),
        ],
        id="self",
    ),
    pytest.param(
        "service",
        [
            Told(
                E,
                "unknown_service",
                25,
                16,
                "/steps/0/config/service",
                "no service 'google_place'. Did you mean google_places?",
            ),
        ],
        id="service",
    ),
    pytest.param(
        "single_quotes",
        [
            Told(E, "not_json", 2, 2, "", 'Keys stand in double quotes: write "name".'),
        ],
        id="single quotes",
    ),
    pytest.param(
        "sort_by",
        [
            Told(E, "unknown_field", 31, 6, "/steps/0/config/config/by", 'Unknown field "by". Did you mean "key"?'),
            Told(
                E,
                "unknown_field",
                32,
                6,
                "/steps/0/config/config/order",
                'Unknown field "order". Did you mean "reverse"?',
            ),
        ],
        id="sort by",
    ),
    pytest.param(
        "step_id",
        [
            Told(E, "unknown_field", 22, 4, "/steps/0/step_id", 'Did you mean "id"?'),
        ],
        id="step id",
    ),
    pytest.param(
        "steps_obj",
        [
            Told(E, "shape", 20, 11, "/steps", 'Write [{"id": ..., "type": ..., "config": {...}}, ...].'),
        ],
        id="steps obj",
    ),
    pytest.param(
        "steps_object",
        [
            Told(
                E,
                "shape",
                28,
                14,
                "/steps/0/config/steps",
                "t, not an object. Write [{...}, {...}], without keys before the objects.",
            ),
        ],
        id="steps object",
    ),
    pytest.param(
        "stepz",
        [
            Told(E, "unknown_field", 3, 2, "/stepz", 'Did you mean "steps"?'),
        ],
        id="stepz",
    ),
    pytest.param(
        "str_timeout",
        [
            Told(
                E, "shape", 44, 21, "/timeout_seconds", 'must be a number, not text ("300"). Write it without quotes.'
            ),
        ],
        id="str timeout",
    ),
    pytest.param(
        "temp",
        [
            Told(E, "shape", 38, 20, "/steps/1/config/temperature", '"temperature" must be at most 2; this is 3.'),
        ],
        id="temp",
    ),
    pytest.param(
        "tpye",
        [
            Told(E, "unknown_field", 23, 4, "/steps/0/tpye", 'Did you mean "type"?'),
        ],
        id="tpye",
    ),
    pytest.param(
        "trailing_comma",
        [
            Told(E, "not_json", 3, 13, "", "a too many: nothing follows it before the }. Remove it."),
        ],
        id="trailing comma",
    ),
    pytest.param(
        "two_bad",
        [
            Told(
                E,
                "invalid_reference",
                28,
                24,
                "/steps/0/config/parameters/query",
                "read: a name behind the dot is missing, at character 9.",
            ),
            Told(E, "unknown_reference", 28, 28, "/steps/0/config/parameters/query", 'Did you mean "input"?'),
            Told(
                E,
                "invalid_reference",
                28,
                40,
                "/steps/0/config/parameters/query",
                "read: name a step: ${steps.ID.output}, at character 25.",
            ),
        ],
        id="two bad",
    ),
    pytest.param(
        "two_inputs",
        [
            Told(
                E,
                "shape",
                31,
                15,
                "/steps/0/config/source",
                '"source" says the same as "input", and both are given; keep one.',
            ),
        ],
        id="two inputs",
    ),
    pytest.param(
        "two_names",
        [
            Told(
                E,
                "unknown_field",
                32,
                6,
                "/steps/0/config/config/format",
                'he same as "schema", and both are given; keep one.',
            ),
        ],
        id="two names",
    ),
    pytest.param(
        "two_prompts",
        [
            Told(
                E,
                "shape",
                30,
                24,
                "/steps/0/config/prompt_template",
                "Give prompt_template (a file) or prompt_text, not both.",
            ),
            Told(
                E,
                "shape",
                32,
                24,
                "/steps/0/config/system_template",
                "Give system_template (a file) or system_prompt, not both.",
            ),
            Told(
                E,
                "shape",
                33,
                21,
                "/steps/0/config/user_message",
                'er_message" must be text, not a whole number. Write it in double quotes.',
            ),
        ],
        id="two prompts",
    ),
    pytest.param(
        "two_ways",
        [
            Told(
                E,
                "shape",
                32,
                18,
                "/steps/0/config/config/template",
                "kes one of expression, template and fields; given: expression, template.",
            ),
        ],
        id="two ways",
    ),
    pytest.param(
        "type_case",
        [
            Told(E, "unknown_step_type", 34, 12, "/steps/1/type", 'Did you mean "llm"?'),
        ],
        id="type case",
    ),
    pytest.param(
        "type_http",
        [
            Told(
                E,
                "unknown_step_type",
                26,
                12,
                "/steps/0/type",
                'tp". Write "type": "external_api", with "service": "http" in the config.',
            ),
            Told(
                E,
                "unknown_step_type",
                33,
                12,
                "/steps/1/type",
                'p". A loop is a step of the type "parallel" with for_each in the config.',
            ),
            Told(
                E,
                "unknown_step_type",
                38,
                12,
                "/steps/2/type",
                'ter". Write "type": "transform", with this as "operation" in the config.',
            ),
        ],
        id="type http",
    ),
    pytest.param(
        "unclosed_brace",
        [
            Told(E, "not_json", 5, 2, "", "A } is missing before this ]: the { of line 4 is still open."),
        ],
        id="unclosed brace",
    ),
    pytest.param(
        "unclosed_ref",
        [
            Told(
                E,
                "invalid_reference",
                28,
                32,
                "/steps/0/config/parameters/query",
                'sed (a literal ${ is written ${"${"}), at character 17.',
            ),
        ],
        id="unclosed ref",
    ),
    pytest.param(
        "unk_step_twice",
        [
            Told(E, "unknown_step", 42, 9, "/outputs/a", 'Did you mean "draft"?'),
            Told(E, "unknown_step", 42, 35, "/outputs/a", 'Did you mean "draft"?'),
        ],
        id="unk step twice",
    ),
    pytest.param(
        "unk_top",
        [
            Told(E, "unknown_field", 44, 2, "/descripton", 'Did you mean "description"?'),
        ],
        id="unk top",
    ),
    pytest.param(
        "unused",
        [
            Told(W, "unused_step", 41, 10, "/steps/2/id", "put} in a later step or in outputs, or remove the step."),
        ],
        id="unused",
    ),
    pytest.param(
        "usage_key",
        [
            Told(W, "unknown_key", 42, 9, "/outputs/a", 'Did you mean "total_tokens"?'),
            Told(W, "unknown_key", 43, 9, "/outputs/b", 't of "draft".content is text, so there is no "x" in it.'),
            Told(W, "unknown_key", 44, 9, "/outputs/c", 'ut of "draft".parsed is null, so there is no "y" in it.'),
        ],
        id="usage key",
    ),
    pytest.param(
        "var",
        [
            Told(E, "undefined_variable", 37, 24, "/steps/1/config/prompt_text", 'Did you mean "name"?'),
        ],
        id="var",
    ),
    pytest.param(
        "wait_event",
        [
            Told(
                E,
                "shape",
                16,
                14,
                "/steps/0/config/event",
                'ame of 1 to 100 letters, digits, _ . : or -, not "the mail".',
            ),
            Told(
                W,
                "waits_without_end",
                16,
                14,
                "/steps/0/config/event",
                "timeout_seconds it waits for the signal as long as it takes.",
            ),
            Told(
                E, "shape", 22, 15, "/steps/1/timeout", 'econds" goes with "event"; a wait for a time ends by itself.'
            ),
            Told(
                E,
                "unknown_field",
                30,
                4,
                "/steps/2/seconds",
                'nknown field "seconds". It belongs into the step\'s "config".',
            ),
        ],
        id="wait event",
    ),
    pytest.param(
        "wait_nothing",
        [
            Told(
                E,
                "unknown_field",
                16,
                5,
                "/steps/0/config/duration",
                'Unknown field "duration". Did you mean "seconds"?',
            ),
            Told(E, "shape", 22, 14, "/steps/1/config", 's", "until" (an ISO time) or "event" (the name of a signal).'),
            Told(E, "shape", 29, 14, "/steps/2/config/event", 'Wait for one thing: "seconds" or "event", not both.'),
        ],
        id="wait nothing",
    ),
    pytest.param(
        "wait_until",
        [
            Told(
                E,
                "wait_config_invalid",
                16,
                14,
                "/steps/0/config/until",
                ' ISO 8601 time such as 2026-11-20T10:00:00Z, not "tomorrow".',
            ),
        ],
        id="wait until",
    ),
    pytest.param(
        "weather_city",
        [
            Told(
                E, "unknown_field", 31, 6, "/steps/0/config/parameters/city", 'Unknown field "city". Did you mean "q"?'
            ),
        ],
        id="weather city",
    ),
    pytest.param(
        "when_const",
        [
            Told(
                W,
                "constant_condition",
                39,
                12,
                "/steps/1/when",
                "ndition is always false: what depends on it never runs.",
            ),
        ],
        id="when const",
    ),
    pytest.param(
        "when_false",
        [
            Told(
                W,
                "constant_condition",
                39,
                12,
                "/steps/1/when",
                "ndition is always false: what depends on it never runs.",
            ),
        ],
        id="when false",
    ),
    pytest.param(
        "when_in_config",
        [
            Told(
                E, "unknown_field", 28, 5, "/steps/0/config/when", 'ition that chooses a branch is called "condition".'
            ),
        ],
        id="when in config",
    ),
    pytest.param(
        "word",
        [
            Told(W, "unused_step", 22, 10, "/steps/0/id", "put} in a later step or in outputs, or remove the step."),
            Told(W, "undefined_word", 37, 24, "/steps/1/config/prompt_text", 'Did you mean "name"?'),
        ],
        id="word",
    ),
    pytest.param(
        "yaml",
        [
            Told(E, "not_json", 1, 1, "", ' looks like YAML. A definition is JSON: {"name": "...", "steps": [...]}.'),
        ],
        id="yaml",
    ),
]


async def build_reader() -> WorkflowFileReader:
    async with open_workbench(Settings(_env_file=None)) as workbench:
        return workbench.reader


@pytest.fixture(scope="module")
def reader() -> WorkflowFileReader:
    """Return what a server reads files with: all that ships, nobody to call."""
    return asyncio.run(build_reader())


def findings_in(reader: WorkflowFileReader, path: Path) -> Sequence[WorkflowFinding]:
    read = reader.with_folders(folders_for(path, reader.folders)).read(path)
    return read.warnings if isinstance(read, LoadedWorkflow) else read.findings


def mutations(value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every place in `value` with what stands there."""
    stack: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while stack:
        place, item = stack.pop()
        yield place, item
        children = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
        stack.extend(((*place, key), child) for key, child in children)


def mutate(value: Any, place: tuple[str | int, ...], change: str) -> Any:
    """Return a copy of `value` that is changed at `place`."""
    copy = json.loads(json.dumps(value))
    holder = copy
    for part in place[:-1]:
        holder = holder[part]
    if change == "remove":
        del holder[place[-1]]
    elif change == "rename" and isinstance(holder, dict):
        holder[f"{place[-1]}x"] = holder.pop(place[-1])
    else:
        holder[place[-1]] = {"text": "x", "number": -1, "null": None, "list": [[]], "object": {"id": {}}}.get(change, 0)
    return copy


class TestBrokenFiles:
    @pytest.mark.parametrize(("name", "told"), CASES)
    def test_tells_each_mistake_once_at_its_place(
        self, reader: WorkflowFileReader, name: str, told: list[Told]
    ) -> None:
        findings = findings_in(reader, BROKEN / f"{name}.json")

        places = [(each.severity, each.code, each.line, each.column, each.pointer) for each in findings]
        assert places == [each[:5] for each in told]
        for finding, expected in zip(findings, told, strict=True):
            assert expected.hint in finding.message
            assert finding.file == f"{name}.json"

    def test_every_file_has_its_case(self) -> None:
        names = {case.values[0] for case in CASES}

        assert names == {path.stem for path in BROKEN.glob("*.json")}

    @pytest.mark.parametrize(
        ("name", "place"),
        [
            pytest.param("prompt_syntax", "prompt_syntax.md:2:13", id="reference"),
            pytest.param("prompt_name", "prompt_name.md:3:2", id="undefined name"),
            pytest.param("prompt_step", "prompt_step.md:2:2", id="unknown step"),
            pytest.param("include_gone", "include_gone.md:2:1", id="missing include"),
            pytest.param("include_circle", "round.md:1:3", id="circle"),
        ],
    )
    def test_names_the_line_of_the_prompt(self, reader: WorkflowFileReader, name: str, place: str) -> None:
        (finding,) = findings_in(reader, BROKEN / f"{name}.json")

        assert finding.related is not None
        assert finding.related.describe() == place

    def test_tells_a_fault_of_a_shared_include_once(self, reader: WorkflowFileReader, tmp_path: Path) -> None:
        (tmp_path / "prompts").mkdir()
        (tmp_path / "prompts" / "shared.md").write_text("Hi ${input..a}")
        steps = [
            {"id": name, "type": "llm", "config": {"model": "gpt-4o", "prompt_template": "shared.md"}} for name in "ab"
        ]
        path = tmp_path / "w.json"
        path.write_text(json.dumps({"name": "w", "steps": steps, "outputs": ["${steps.a}", "${steps.b}"]}))

        findings = findings_in(reader, path)

        assert [each.pointer for each in findings] == ["/steps/0/config/prompt_template"]


class TestAnyMutation:
    @settings(
        max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )  # the folder is written anew
    @given(data=st.data())
    def test_gives_findings_inside_the_file(
        self, reader: WorkflowFileReader, tmp_path: Path, data: st.DataObject
    ) -> None:
        original = json.loads((SHIPPED / "hello.json").read_text())
        places = [place for place, _ in mutations(original) if place]
        place = data.draw(st.sampled_from(places))
        change = data.draw(st.sampled_from(["remove", "rename", "text", "number", "null", "list", "object"]))
        text = json.dumps(mutate(original, place, change), indent=2)
        path = tmp_path / "mutated.json"
        path.write_text(text)

        findings = reader.read(path)

        told = findings.warnings if isinstance(findings, LoadedWorkflow) else findings.findings
        assert isinstance(findings, LoadedWorkflow) or any(each.is_error for each in told)
        for each in told:
            assert each.line is not None
            assert 1 <= each.line <= text.count("\n") + 1
            assert each.message.endswith((".", "?", ")"))


class TestLargeFiles:
    @pytest.mark.parametrize(
        "source", [pytest.param("${steps.q%d.output}", id="bad references"), pytest.param("x", id="unused")]
    )
    def test_take_seconds_for_ten_thousand_steps(self, reader: WorkflowFileReader, tmp_path: Path, source: str) -> None:
        config = [source % index if "%d" in source else source for index in range(10_000)]
        steps = [
            {"id": f"s{index}", "type": "transform", "config": {"operation": "join", "input": text}}
            for index, text in enumerate(config)
        ]
        path = tmp_path / "large.json"
        path.write_text(json.dumps({"name": "large", "steps": steps, "outputs": 1}))
        started = time.perf_counter()

        findings = findings_in(reader, path)

        assert 500 <= len(findings) <= 501
        assert time.perf_counter() - started < 30  # 3 s alone; a quadratic search takes minutes

    def test_a_definition_in_a_request_has_limits(self, reader: WorkflowFileReader) -> None:
        steps = [{"id": f"s{index}", "type": "llm", "config": {"prompt_text": "x"}} for index in range(501)]

        read = reader.read_value({"name": "large", "steps": steps}, name="request")

        assert not isinstance(read, LoadedWorkflow)
        assert [each.code for each in read.findings] == ["too_many_steps"]


class TestFoldersFor:
    def test_finds_folders_beside_and_above_the_file(self, tmp_path: Path) -> None:
        defaults = WorkflowFolders(
            prompts_dir=tmp_path / "p", markdown_schemas_dir=tmp_path / "m", definitions_dir=tmp_path / "own"
        )
        for folder in ("flows/prompts", "markdown_schemas", "own", "prompts"):
            (tmp_path / folder).mkdir(parents=True)

        beside = folders_for(tmp_path / "flows" / "a.json", defaults)
        own = folders_for(tmp_path / "own" / "a.json", defaults)
        given = folders_for(tmp_path / "flows" / "a.json", defaults, prompts_dir=tmp_path / "x")

        assert (beside.prompts_dir, beside.markdown_schemas_dir) == (
            tmp_path / "flows" / "prompts",
            tmp_path / "markdown_schemas",
        )
        assert own == defaults
        assert given.prompts_dir == tmp_path / "x"


class TestSourceText:
    @pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
    def test_finds_values_keys_and_places_in_text(self, line_end: str) -> None:
        source = SourceText(
            line_end.join(["{", ' "a/b": "x\\u00e9\\ud83d\\ude00\\"${y}",', ' "ü": [1, {"~": 2}]', "}"])
        )

        assert source.locate("/a~1b") == (2, 9)
        assert source.locate("/a~1b", at_key=True) == (2, 2)
        assert source.locate("/a~1b", offset=4) == (2, 31)  # quote 9, x 10, \\u00e9 11, a pair of \\u 17, \\" 29
        assert source.locate("/ü/1/~0") == (3, 17)
        assert source.locate("/ü/7/z") == (3, 7)
