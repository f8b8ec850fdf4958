"""Diagrams as Mermaid draws them: every shipped workflow, a zoo of constructs, texts that attack, made-up files."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callboard.workflows.definition import read_definition
from callboard.workflows.diagram import MAX_CONDITION_CHARS, MAX_NAME_CHARS, draw_diagram
from callboard.workflows.mermaid_text import cut
from tests.browser.conftest import Mermaid
from tests.fixtures.workflow_zoo import HOSTILE_TEXTS, hostile, zoo

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [
    path for path in sorted((ROOT / "workflows" / "definitions").glob("*.json")) if not path.name.endswith(".test.json")
]

pytestmark = pytest.mark.full


def draw(raw: dict[str, Any]) -> str:
    definition = read_definition(raw).definition
    assert definition is not None
    return draw_diagram(definition)


def as_shown(text: str, max_chars: int) -> str:
    """Return a text of a file as a picture shows it: on one line, cut, without characters that nobody sees."""
    return "".join("\N{REPLACEMENT CHARACTER}" if char == "\u202e" else char for char in cut(text, max_chars))


def as_read(text: str) -> str:
    """Return a text of a picture as people read it: what keeps two dollars apart cannot be seen."""
    return text.replace("\u200b", "")


class TestShippedWorkflows:
    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_are_drawn_with_every_step(self, mermaid: Mermaid, path: Path) -> None:
        raw = json.loads(path.read_text())

        picture = mermaid.render(draw(raw), name=path.stem)

        shown = {node.text.splitlines()[0] for node in picture.nodes} | {
            box.text.splitlines()[0] for box in picture.boxes
        }
        assert {"Input", "Outputs"} <= shown
        assert {step.get("display_name") or step["id"] for step in raw["steps"]} <= shown

    def test_branches_stand_in_the_order_of_the_file(self, mermaid: Mermaid) -> None:
        raw = json.loads((ROOT / "workflows" / "definitions" / "emergency_contacts.json").read_text())

        picture = mermaid.render(draw(raw), name="order")

        names = ["hospitals", "police", "fire_stations"]
        places = [picture.box(f"box_places_{name}").left for name in names]
        assert places == sorted(places)


class TestZoo:
    def test_shows_every_construct(self, mermaid: Mermaid) -> None:
        picture = mermaid.render(draw(zoo()), name="zoo")

        assert picture.node("step_classify").text == "What is it about?\nclassify: llm gpt-4o\n4 attempts"
        assert picture.node("step_order").text == "order\ngoogle_places place_details\non error: continue"
        assert picture.node("step_sign_off").text.endswith("on time-out: continue")
        assert picture.box("box_places").text == "places\nfor each place of input.places"
        assert picture.box("box_research").text == "Find out\nresearch: side by side"
        assert "input.mail.size() > 0 && !(input.tier in ['none', 'blocked'])" in picture.edges
        assert "steps.classify.content.contains('refund')" in picture.edges
        assert picture.edges.count("otherwise") == 6


class TestHostileTexts:
    def test_are_shown_as_they_are_and_do_nothing(self, mermaid: Mermaid) -> None:
        picture = mermaid.render(draw(hostile()), name="hostile")

        for number, text in enumerate(HOSTILE_TEXTS):
            name = as_shown(text, MAX_NAME_CHARS)
            assert as_read(picture.node(f"step_s{number}").text.splitlines()[0]) == name
            assert as_read(picture.box(f"box_p{number}").text.splitlines()[0]) == name
            assert as_shown(text, MAX_CONDITION_CHARS) in map(as_read, picture.edges)
        assert picture.foreign == []
        assert not picture.was_attacked


TEXTS = st.text(max_size=30) | st.sampled_from(HOSTILE_TEXTS)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "display_name": TEXTS,
        "when": TEXTS | st.booleans(),
        "error_mode": st.sampled_from(["fail", "continue", "retry"]),
        "retry": st.just({"max_attempts": 3}),
    },
)


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    config = st.dictionaries(
        st.sampled_from(["model", "service", "method", "operation", "seconds", "event", "title", "workflow"]), TEXTS
    )
    kinds = st.sampled_from(["llm", "external_api", "transform", "approval", "wait", "workflow", "shout"])
    return st.builds(
        lambda step_id, kind, config, fields: {"id": step_id, "type": kind, "config": config, **fields},
        IDS,
        kinds,
        config,
        FIELDS,
    )


def containers(steps: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    some = st.lists(steps, max_size=3)
    case = st.fixed_dictionaries({"when": TEXTS, "steps": some})
    conditional = st.one_of(
        st.fixed_dictionaries({"condition": TEXTS, "if_true": some, "if_false": some}),
        st.fixed_dictionaries({"cases": st.lists(case, max_size=3), "default": some}),
    )
    parallel = st.one_of(
        st.fixed_dictionaries({"steps": some}),
        st.fixed_dictionaries({"branches": st.dictionaries(TEXTS, some, max_size=3)}),
        st.fixed_dictionaries({"for_each": TEXTS, "as": TEXTS, "steps": some}),
    )
    configured = st.tuples(st.just("conditional"), conditional) | st.tuples(st.just("parallel"), parallel)
    return st.builds(
        lambda step_id, made, fields: {"id": step_id, "type": made[0], "config": made[1], **fields},
        IDS,
        configured,
        FIELDS,
    )


class TestMadeUpWorkflows:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(steps=st.lists(st.recursive(leaves(), containers, max_leaves=8), min_size=1, max_size=6), outputs=TEXTS)
    def test_can_always_be_parsed(self, mermaid: Mermaid, steps: list[dict[str, Any]], outputs: str) -> None:
        text = draw({"name": "made_up", "steps": steps, "outputs": {outputs: 1}})

        assert mermaid.faults_in([text]) == []

    def test_of_many_steps_are_drawn(self, mermaid: Mermaid) -> None:
        steps = [{"id": f"s{n}", "type": "llm", "config": {"prompt_text": "x"}, "when": "input.a"} for n in range(120)]

        picture = mermaid.render(draw({"name": "long", "steps": steps}), name="long")

        assert len(picture.nodes) == 242  # each step with its condition, input and outputs
