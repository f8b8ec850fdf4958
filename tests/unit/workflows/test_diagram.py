"""The diagram of a workflow as text: every construct has its place, and texts cannot break out of theirs.

What a browser makes of it is seen by tests/browser.
"""

import json
import re
from copy import deepcopy
from typing import Any

import pytest

from callboard.workflows.definition import read_definition
from callboard.workflows.diagram import draw_diagram, draw_markdown
from tests.fixtures.workflow_zoo import HOSTILE_TEXTS, ask, call, hostile, transform, zoo

NODE = re.compile(r'^\s*(\w+)(?:\{\{|\{|\[\[|\[/|\[\\|\[|\(\[|\(|>)"(.*)"(?:\}\}|\}|\]\]|/\]|\]\)|\]|\))', re.MULTILINE)
EDGE = re.compile(r"^\s*(\w+) -->(?:\|\"(.*)\"\|)? (\w+)$", re.MULTILINE)


def draw(*steps: dict[str, Any], **fields: Any) -> str:
    definition = read_definition({"name": "drawn", "steps": list(steps), **fields}).definition
    assert definition is not None
    return draw_diagram(definition)


def draw_file(raw: dict[str, Any]) -> str:
    definition = read_definition(raw).definition
    assert definition is not None
    return draw_diagram(definition)


def edges(text: str) -> set[tuple[str, str, str]]:
    """Return (from, label, to) of each line."""
    return {(start, label, end) for start, label, end in EDGE.findall(text)}


class TestDrawDiagram:
    def test_leads_from_the_input_through_every_step_to_the_outputs(self) -> None:
        text = draw(transform("first"), transform("second"))

        assert edges(text) == {
            ("flow_input", "", "step_first"),
            ("step_first", "", "step_second"),
            ("step_second", "", "flow_outputs"),
        }

    @pytest.mark.parametrize(
        ("step", "node"),
        [
            (ask("a"), 'step_a{{"a<br>llm gpt-4o"}}:::llm'),
            (call("a"), 'step_a[/"a<br>google_places place_details"/]:::external_api'),
            (transform("a"), 'step_a["a<br>template"]:::transform'),
            ({"id": "a", "type": "conditional", "config": {"condition": "true"}}, 'step_a{"a<br>decision"}:::decision'),
            ({"id": "a", "type": "approval"}, 'step_a[\\"a<br>a person answers"/]:::person'),
            (
                {"id": "a", "type": "approval", "config": {"required_answers": 2, "title": "Send it?"}},
                'step_a[\\"a<br>2 people answer: Send it?"/]:::person',
            ),
            (
                {"id": "a", "type": "approval", "timeout": 60, "config": {"on_timeout": "default"}},
                'step_a[\\"a<br>a person answers<br>on time-out: default value"/]:::person',
            ),
            (
                {
                    "id": "a",
                    "type": "wait",
                    "config": {"event": "paid", "timeout_seconds": 9, "on_timeout": "continue"},
                },
                'step_a>"a<br>wait for paid<br>on time-out: continue"]:::person',
            ),
            ({"id": "a", "type": "wait", "config": {"seconds": 5}}, 'step_a>"a<br>wait 5 s"]:::person'),
            ({"id": "a", "type": "wait", "config": {"until": "${input.at}"}}, 'step_a>"a<br>wait until input.at"]'),
            ({"id": "a", "type": "workflow", "config": {"workflow": "b"}}, 'step_a[["a<br>workflow b"]]:::workflow'),
            ({"id": "a", "type": "shout"}, 'step_a("a<br>shout"):::other'),
        ],
        ids=lambda value: value["type"] if isinstance(value, dict) else "",
    )
    def test_gives_each_type_a_shape_of_its_own(self, step: dict[str, Any], node: str) -> None:
        assert node in draw(step)

    def test_puts_the_condition_on_the_line_to_its_branch(self) -> None:
        config = {"condition": "input.n > 1", "if_true": [transform("big")], "if_false": [transform("small")]}

        text = draw({"id": "size", "type": "conditional", "config": config}, transform("after"))

        assert edges(text) >= {
            ("step_size", "input.n #gt; 1", "step_big"),
            ("step_size", "otherwise", "step_small"),
            ("step_big", "", "step_after"),
            ("step_small", "", "step_after"),
        }

    def test_goes_around_a_branch_without_steps(self) -> None:
        config = {"cases": [{"when": "input.a", "steps": [transform("a")]}, {"when": True, "steps": []}]}

        text = draw({"id": "which", "type": "conditional", "config": config}, transform("after"))

        assert edges(text) >= {
            ("step_which", "input.a", "step_a"),
            ("step_which", "always", "step_after"),
            ("step_which", "otherwise", "step_after"),
        }

    def test_goes_around_a_step_with_a_condition(self) -> None:
        text = draw(transform("maybe", when="input.a"), transform("after"))

        assert edges(text) >= {
            ("flow_input", "", "when_maybe"),
            ("when_maybe", "input.a", "step_maybe"),
            ("step_maybe", "", "step_after"),
            ("when_maybe", "otherwise", "step_after"),
        }

    def test_draws_branches_in_boxes_that_are_entered_and_left_as_one(self) -> None:
        config = {"branches": {"left": [transform("a"), transform("b")], "right": [transform("c")]}}

        text = draw({"id": "both", "type": "parallel", "config": config}, transform("after"))

        assert 'subgraph box_both["both<br>side by side"]' in text
        assert 'subgraph box_both_left["left"]' in text
        assert edges(text) == {
            ("flow_input", "", "box_both"),
            ("step_a", "", "step_b"),
            ("box_both", "", "step_after"),
            ("step_after", "", "flow_outputs"),
        }

    def test_says_what_a_loop_goes_over(self) -> None:
        config = {"for_each": "${input.places}", "as": "place", "steps": [transform("a")]}

        text = draw({"id": "each", "type": "parallel", "config": config})

        assert 'subgraph box_each["each<br>for each place of input.places"]' in text

    def test_ends_a_box_where_its_last_step_may_be_passed_by(self) -> None:
        config = {"for_each": [1, 2], "steps": [transform("a", when="item > 1")]}

        text = draw({"id": "each", "type": "parallel", "config": config})

        assert 'subgraph box_each["each<br>for each item of 2 items"]' in text
        assert edges(text) >= {("step_a", "", "done"), ("when_a", "otherwise", "done")}

    def test_marks_what_a_failure_does(self) -> None:
        text = draw(
            transform("a", retry={"max_attempts": 4}, error_mode="continue"),
            transform("b", error_mode="default", default_value=1),
            transform("c", error_mode="retry"),
            transform("d"),
            default_error_mode="continue",
        )

        labels = dict(NODE.findall(text))
        assert labels["step_a"].endswith("4 attempts, on error: continue")
        assert labels["step_b"].endswith("on error: default value")
        assert labels["step_c"].endswith("tried again")
        assert labels["step_d"].endswith("on error: continue")

    def test_names_what_goes_in_and_out(self) -> None:
        schema = {"type": "object", "required": ["mail"], "properties": {"tone": {}, "mail": {}}}

        labels = dict(NODE.findall(draw(transform("a"), input_schema=schema, outputs={"reply": "${steps.a.output}"})))

        assert (labels["flow_input"], labels["flow_outputs"]) == ("Input<br>mail, tone?", "Outputs<br>reply")

    def test_cuts_a_very_long_condition(self) -> None:
        text = draw(transform("a", when="input.n == 1 || " * 100 + "input.n == 2"))

        (label,) = [label for start, label, end in edges(text) if end == "step_a"]
        assert label.endswith("…")
        assert len(label) < 140

    def test_gives_ids_that_differ_only_in_marks_nodes_of_their_own(self) -> None:
        ids = ["a-b", "a_b", "a--b", "a__b", "end", "default", "-"]

        nodes = [node for node, _ in NODE.findall(draw(*map(transform, ids)))]

        assert len(set(nodes)) == len(ids) + 2
        assert all(re.fullmatch(r"(step|flow)_\w*", node) for node in nodes)

    @pytest.mark.parametrize("branch", [None, 5, "steps", [], [5], [{"id": "x"}], {}], ids=str)
    def test_says_so_where_steps_cannot_be_read(self, branch: Any) -> None:
        config = {"for_each": "${input.a}", "steps": branch}

        text = draw({"id": "each", "type": "parallel", "config": config})

        assert "steps that cannot be read" in text


class TestStability:
    def test_the_same_file_gives_the_same_text(self) -> None:
        assert draw_file(zoo()) == draw_file(json.loads(json.dumps(zoo())))

    def test_a_changed_step_changes_one_line(self) -> None:
        changed = deepcopy(zoo())
        changed["steps"][3]["config"]["model"] = "another-model"

        before, after = draw_file(zoo()).splitlines(), draw_file(changed).splitlines()

        assert len([pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]) == 1

    def test_a_new_step_changes_few_lines(self) -> None:
        longer = deepcopy(zoo())
        longer["steps"].insert(3, transform("new"))

        before, after = set(draw_file(zoo()).splitlines()), set(draw_file(longer).splitlines())

        assert len(before - after) <= 1  # the line that led past
        assert len(after - before) <= 3  # its node, and the lines to and from it


class TestHostileTexts:
    def test_leave_nothing_but_nodes_edges_and_boxes(self) -> None:
        _, _, body = draw_file(hostile()).partition("flowchart TD\n")

        known = re.compile(
            r"\s*(\w+(\{\{|\{|\[\[|\[/|\[|\(\[|\()\".*\"\S+:::\w+|subgraph \w+\[\".*\"\]|direction TB|end"
            r"|\w+ -->(\|\".*\"\|)? \w+|classDef \w+ \S+( 3)?|class \w+ box)"
        )
        for line in body.splitlines():
            assert known.fullmatch(line), line

    @pytest.mark.parametrize("text", HOSTILE_TEXTS)
    def test_hold_no_mark_that_mermaid_reads(self, text: str) -> None:
        (label,) = [label for node, label in NODE.findall(draw(transform("a", display_name=text))) if node == "step_a"]

        assert not re.search(r'[`<>"{}|%\\$*]', label.replace("<br>", ""))
        assert not re.search(r"(?<![\w])_|_(?![\w])|fa:fa|%%", label)


class TestDrawMarkdown:
    def test_puts_title_and_description_around_the_fence(self) -> None:
        definition = read_definition(
            {"name": "flow", "description": "Says *hi*.", "steps": [transform("a")]}
        ).definition
        assert definition is not None

        text = draw_markdown(definition)

        assert text.startswith("# flow\n\nSays \\*hi\\*.\n\n```mermaid\n---\n")
        assert text.endswith("```\n")
        assert draw_diagram(definition) in text

    def test_no_text_closes_the_fence(self) -> None:
        definition = read_definition(hostile()).definition
        assert definition is not None

        assert draw_markdown(definition).count("```") == 2
