"""`callboard test` in this process: what passes, what fails and how that is told, and how tests are written anew."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.unit.cli.conftest import Command, Flows

ROOT = Path(__file__).resolve().parents[3]
DRAFT = {"id": "draft", "type": "llm", "config": {"prompt_text": "Write about ${input.topic}."}}
CHOICE = {
    "id": "choice",
    "type": "conditional",
    "config": {
        "condition": "steps.draft.content == 'good'",
        "if_true": [
            {"id": "keep", "type": "transform", "config": {"operation": "template", "config": {"template": "kept"}}}
        ],
        "if_false": [
            {"id": "drop", "type": "transform", "config": {"operation": "template", "config": {"template": "no"}}}
        ],
    },
}
GOOD = {"step": "draft", "content": "good"}


@pytest.fixture
def letter(flows: Flows) -> Path:
    """A workflow with a call and a choice."""
    outputs = {"text": "${steps.draft.content}", "choice": "${steps.choice.output}"}
    return flows.workflow("letter", DRAFT, CHOICE, outputs=outputs)


def write(flows: Flows, name: str = "letter", **content: Any) -> Path:
    return flows.write(f"definitions/{name}.test.json", {"input": {"topic": "bees"}, "answers": [GOOD], **content})


def failures(command: Command) -> list[str]:
    """Return the pointers of what is not as expected in the only case."""
    (case,) = command("test", "--json").json["cases"]
    return [each["pointer"] for each in case["differences"]]


class TestWorkflowsInside:
    def test_steps_are_named_by_id_or_path(self, command: Command, flows: Flows, letter: Path) -> None:
        sub = {"id": "sub", "type": "workflow", "config": {"workflow": letter.stem, "input": "${input}"}}
        flows.workflow("outer", sub, outputs={"text": "${steps.sub.text}"})
        expect = {"outputs": {"text": "good"}, "steps": ["sub", "sub/draft", "sub/choice/if_true/keep"]}
        write(flows, "outer", answers=[{"step": "sub/draft", "content": "good"}], expect=expect)

        (case,) = command("test", "--json").json["cases"]

        assert (case["differences"], case["findings"]) == ([], [])


@pytest.mark.usefixtures("letter")
class TestExpectations:
    @pytest.mark.parametrize(
        ("expect", "pointers"),
        [
            pytest.param({"outputs": {"text": "good", "choice": "kept"}}, [], id="outputs"),
            pytest.param({"outputs": {"text": "good"}}, ["/outputs/choice"], id="outputs are the whole"),
            pytest.param({"outputs_contain": {"text": {"$matches": "^g"}}}, [], id="a part of the outputs"),
            pytest.param({"outputs_contain": {"text": "bad"}}, ["/outputs/text"], id="another text"),
            pytest.param({"steps": ["draft", "choice", "keep"]}, [], id="steps in order"),
            pytest.param({"steps": ["choice/if_true/keep"]}, [], id="a step by its path"),
            pytest.param({"steps": ["keep", "draft"]}, ["/steps/1"], id="steps in another order"),
            pytest.param({"not_taken": ["drop"]}, [], id="a branch not taken"),
            pytest.param({"not_taken": ["keep"]}, ["/not_taken/0"], id="a branch that was taken"),
            pytest.param({"status": "failed"}, ["/status"], id="a failure that did not come"),
            pytest.param({"max_cost_usd": 0}, [], id="nothing is dearer than nothing"),
        ],
    )  # fmt: skip
    def test_of_a_run_that_completes(
        self, command: Command, flows: Flows, expect: dict[str, Any], pointers: list[str]
    ) -> None:
        write(flows, expect=expect)

        assert failures(command) == pointers

    @pytest.mark.parametrize(
        ("error", "pointers"),
        [
            pytest.param({"type": "provider_timeout", "step": "draft", "message": "late"}, [], id="this error"),
            pytest.param({}, [], id="any error"),
            pytest.param({"type": "other"}, ["/error/type"], id="another code"),
            pytest.param({"step": "choice"}, ["/error/step_id"], id="another step"),
            pytest.param({"message": "early"}, ["/error/message"], id="another message"),
        ],
    )
    def test_of_a_run_that_fails(
        self, command: Command, flows: Flows, error: dict[str, Any], pointers: list[str]
    ) -> None:
        failed = {"step": "draft", "error": {"type": "provider_timeout", "message": "too late"}}
        write(flows, answers=[failed], expect={"error": error})

        assert failures(command) == pointers

    def test_of_what_calls_cost(self, command: Command, flows: Flows) -> None:
        write(flows, answers=[{**GOOD, "cost_usd": 0.02}], expect={"max_cost_usd": 0.01})

        assert failures(command) == ["/max_cost_usd"]

    def test_a_failure_nobody_expected_tells_its_message(self, command: Command, flows: Flows) -> None:
        write(flows, answers=[])

        ran = command("test")

        assert ran.exit_code == 1
        for said in ("/status", 'step "draft"', '{"step": "draft", "content": "..."}'):
            assert said in ran.stdout

    def test_an_input_that_does_not_fit_fails_the_case(self, command: Command, flows: Flows) -> None:
        flows.workflow("letter", DRAFT, CHOICE, outputs={}, input_schema={"required": ["nobody"]})
        write(flows)

        assert failures(command) == ["/input"]


@pytest.mark.usefixtures("letter")
class TestTestFiles:
    @pytest.mark.parametrize(
        ("content", "pointer", "hint"),
        [
            ({"expct": {}}, "/expct", '"expect"'),
            ({"expect": {"outputs": {"$matchs": "a"}}}, "/expect/outputs/$matchs", "$matches"),
            ({"answers": [{"step": "drft", "content": ""}]}, "/answers/0/step", '"draft"'),
            ({"answers": [{"step": "draft"}]}, "/answers/0", "content"),
            ({"expect": {"steps": ["kep"]}}, "/expect/steps/0", '"keep"'),
            ({"answers": "gone.json"}, "/answers", "--record"),
            ({"cases": [{"input_file": "gone.json"}]}, "/cases/0/input_file", "No such file"),
            ({"input_file": "gone.json", "cases": [{}]}, "/input_file", "No such file"),
            ({"workflow": "gone.json"}, "/workflow", "gone.json"),
        ],
        ids=str,
    )
    def test_that_are_wrong_say_where_and_what_to_do(
        self, command: Command, flows: Flows, content: dict[str, Any], pointer: str, hint: str
    ) -> None:
        write(flows, **content)

        ran = command("test", "--json")

        (finding,) = ran.json["cases"][0]["findings"]
        assert (ran.exit_code, finding["pointer"]) == (1, pointer)
        assert hint in finding["message"]
        assert finding["line"] >= 1

    def test_that_are_no_json_say_at_which_line(self, command: Command, flows: Flows) -> None:
        flows.write("definitions/letter.test.json", '{\n  "expect": {},,\n}')

        assert "letter.test.json:2:" in command("test").stdout

    def test_a_broken_workflow_is_told(self, command: Command, flows: Flows) -> None:
        flows.workflow("letter", {"id": "draft", "type": "lm", "config": {}})
        write(flows)

        ran = command("test")

        assert ran.exit_code == 1
        assert '"llm"' in ran.stdout

    def test_cases_take_from_their_file_what_they_do_not_say(self, command: Command, flows: Flows) -> None:
        bad = {"name": "bad", "answers": [{"step": "draft", "content": "bad"}], "expect": {"steps": ["drop"]}}
        write(flows, cases=[{"name": "good", "expect": {"steps": ["keep"]}}, bad])

        assert [case["passed"] for case in command("test", "--json").json["cases"]] == [True, True]


class TestShippedTests:
    def test_pass(self, command: Command) -> None:
        ran = command("test", str(ROOT / "workflows/definitions"))

        assert ran.exit_code == 0, ran.stdout


@pytest.mark.usefixtures("letter")
class TestCommand:
    def test_nothing_to_test_ends_with_5(self, command: Command) -> None:
        ran = command("test")

        assert ran.exit_code == 5
        assert "callboard new workflow" in ran.stderr

    def test_runs_what_has_a_name_alone(self, command: Command, flows: Flows) -> None:
        write(flows, cases=[{"name": "one"}, {"name": "two"}])

        assert [case["name"] for case in command("test", "-k", "TWO", "--json").json["cases"]] == ["two"]

    def test_takes_a_workflow_for_its_tests(self, command: Command, flows: Flows, letter: Path) -> None:
        write(flows)

        assert command("test", str(letter), "--json").json["passed"] == 1

    def test_counts_in_the_last_line(self, command: Command, flows: Flows) -> None:
        write(flows, cases=[{}, {"expect": {"steps": ["drop"]}}])

        assert command("test").stdout.splitlines()[-1].startswith("1 passed, 1 failed in ")

    def test_writes_junit(self, command: Command, flows: Flows, tmp_path: Path) -> None:
        write(flows, cases=[{"name": "good"}, {"name": "bad\u0007", "expect": {"steps": ["drop"]}}])

        command("test", "--junit", str(tmp_path / "report.xml"))

        suite = ET.parse(tmp_path / "report.xml").getroot()[0]
        assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
        assert "drop to run" in (suite[1][0].text or "")

    def test_no_case_sees_what_another_has_cached(self, command: Command, flows: Flows) -> None:
        cached = {**DRAFT, "config": {"prompt_text": "Write.", "cache_ttl": 60}}
        flows.workflow("letter", cached, outputs={"text": "${steps.draft.content}"})
        cases = [
            {"name": text, "answers": [{"step": "draft", "content": text}], "expect": {"outputs": {"text": text}}}
            for text in ("one", "two")
        ]
        write(flows, cases=cases)

        assert command("test", "--json").json["passed"] == 2


@pytest.mark.usefixtures("letter")
class TestRecording:
    def test_makes_a_test_of_an_input(self, command: Command, flows: Flows) -> None:
        path = flows.write("definitions/letter.test.json", {"input": {"topic": "bees"}})

        recorded = command("test", "--record")

        content = json.loads(path.read_text("utf-8"))
        assert recorded.exit_code == 0, recorded.stderr
        assert "1 answer of sandbox" in " ".join(recorded.stderr.split())  # wherever the line is broken
        assert content["answers"] == "letter.replay.json"
        assert "bees" in content["expect"]["outputs"]["text"]
        assert command("test").exit_code == 0

    def test_keeps_a_file_in_another_folder_where_it_is(self, command: Command, flows: Flows) -> None:
        named = {"input": {"topic": "bees"}, "answers": "../answers/bees.replay.json"}
        path = flows.write("definitions/letter.test.json", named)
        (path.parent.parent / "answers").mkdir()

        recorded = command("test", "--record")

        assert recorded.exit_code == 0, recorded.stderr
        assert json.loads(path.read_text("utf-8"))["answers"] == "../answers/bees.replay.json"
        assert command("test").exit_code == 0

    def test_leaves_answers_beside_a_workflow_that_are_no_workflow(self, command: Command, flows: Flows) -> None:
        path = flows.write("definitions/letter.test.json", {"input": {"topic": "bees"}})

        command("test", "--record")

        assert (path.parent / "letter.replay.json").is_file()
        assert command("validate", str(path.parent)).exit_code == 0

    def test_keeps_a_file_per_case(self, command: Command, flows: Flows) -> None:
        cases = [{"name": "On bees", "input": {"topic": "bees"}}, {"name": "On ants", "input": {"topic": "ants"}}]
        path = flows.write("definitions/letter.test.json", {"cases": cases})

        command("test", "--record")

        files = [case["answers"] for case in json.loads(path.read_text("utf-8"))["cases"]]
        assert files == ["letter.on_bees.replay.json", "letter.on_ants.replay.json"]

    def test_a_changed_prompt_passes_with_a_note(self, command: Command, flows: Flows) -> None:
        flows.write("definitions/letter.test.json", {"input": {"topic": "bees"}})
        command("test", "--record")
        changed = {**DRAFT, "config": {"prompt_text": "Write well about ${input.topic}."}}
        outputs = {"text": "${steps.draft.content}", "choice": "${steps.choice.output}"}
        flows.workflow("letter", changed, CHOICE, outputs=outputs)

        ran = command("test")

        assert ran.exit_code == 0
        assert "asks something else than was recorded" in ran.stdout

    def test_a_changed_prompt_fails_where_requests_are_matched(self, command: Command, flows: Flows) -> None:
        path = flows.write("definitions/letter.test.json", {"input": {"topic": "bees"}, "match": "request"})
        command("test", "--record")
        flows.workflow("letter", {**DRAFT, "config": {"prompt_text": "Write."}}, CHOICE)

        ran = command("test", str(path))

        assert ran.exit_code == 1
        assert "Write about bees." in ran.stdout

    def test_leaves_answers_alone_that_were_written_by_hand(self, command: Command, flows: Flows) -> None:
        path = write(flows)
        before = path.read_text("utf-8")

        ran = command("test", "--record")

        assert ran.exit_code == 1
        assert "written by hand" in ran.stderr
        assert path.read_text("utf-8") == before

    def test_update_makes_what_comes_out_expected(self, command: Command, flows: Flows) -> None:
        path = write(flows, expect={"outputs": {"text": "old"}})

        ran = command("test", "--update")

        assert ran.exit_code == 0
        assert json.loads(path.read_text("utf-8"))["expect"]["outputs"] == {"text": "good", "choice": "kept"}

    def test_update_leaves_rules_alone(self, command: Command, flows: Flows) -> None:
        path = write(flows, expect={"outputs_contain": {"text": {"$matches": "^b"}}})
        before = path.read_text("utf-8")

        ran = command("test", "--update")

        assert ran.exit_code == 1
        assert path.read_text("utf-8") == before


OK = {"id": "ok", "type": "approval", "config": {"title": "Fine?", "timeout_seconds": 3600, "on_timeout": "continue"}}
PAID = {"id": "paid", "type": "wait", "config": {"event": "paid", "timeout_seconds": 3600, "on_timeout": "continue"}}
NAP = {"id": "nap", "type": "wait", "config": {"seconds": 86400}}


class TestWaits:
    @pytest.fixture(autouse=True)
    def signing(self, flows: Flows) -> Path:
        """A workflow that waits for a day, a person and a signal."""
        return flows.workflow("signing", NAP, OK, PAID, outputs=["${steps.ok.answer}", "${steps.paid.payload}"])

    @pytest.mark.parametrize(
        ("case", "value"),
        [
            pytest.param({"people": {"ok": "yes"}, "signals": {"paid": [5]}}, ["yes", 5], id="in time"),
            pytest.param({"people": {"ok": {"$timed_out": True}}, "signals": {"paid": []}}, [None, None], id="late"),
        ],
    )
    def test_end_as_the_case_says(self, command: Command, flows: Flows, case: dict[str, Any], value: Any) -> None:
        write(
            flows, "signing", answers=[], **case, expect={"outputs": {"value": value}, "steps": ["nap", "ok", "paid"]}
        )

        assert command("test", "--json").json["passed"] == 1

    def test_that_nobody_ends_fail_the_case_and_say_how_to(self, command: Command, flows: Flows) -> None:
        write(flows, "signing", answers=[], signals={"paid": []})

        ran = command("test")

        assert ran.exit_code == 1
        assert 'Write it into the case: "people": {"ok": ...}.' in ran.stdout
        assert failures(command) == ["/people/ok"]

    def test_name_steps_that_are_there(self, command: Command, flows: Flows) -> None:
        path = write(flows, "signing", answers=[], people={"okay": 1})

        ran = command("test")

        assert f"{path.name}:" in ran.stdout
        assert 'has no step "okay". Did you mean "ok"?' in ran.stdout

    def test_take_from_the_file_what_a_case_does_not_say(self, command: Command, flows: Flows) -> None:
        cases = [{"name": "b", "people": {"ok": "no"}, "expect": {"outputs": {"value": ["no", 5]}}}]
        write(flows, "signing", answers=[], people={"ok": "yes"}, signals={"paid": [5]}, cases=cases)

        assert command("test", "--json").json["passed"] == 1
