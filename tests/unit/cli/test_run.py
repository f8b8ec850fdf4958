"""`callboard run` in this process: what it prints where, how it ends, and what a recording is good for."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Command, Flows

GREET = {"id": "greet", "type": "llm", "config": {"prompt_text": "Greet ${input.name}.", "max_tokens": 50}}
HELLO = {
    "id": "hello",
    "type": "transform",
    "config": {"operation": "template", "config": {"template": "Hi ${input.name}"}},
}
NAME_SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
ADA = '{"name": "Ada"}'


@pytest.fixture
def greeting(flows: Flows) -> Path:
    """A workflow without a model."""
    return flows.workflow("greeting", HELLO, input_schema=NAME_SCHEMA, outputs={"text": "${steps.hello.output}"})


@pytest.fixture
def asking(flows: Flows) -> Path:
    """A workflow with one call of a model, which the sandbox answers."""
    return flows.workflow("asking", GREET, outputs={"text": "${steps.greet.content}"})


class TestRun:
    def test_prints_the_outputs_alone_on_stdout(self, command: Command, greeting: Path) -> None:
        ran = command("run", str(greeting), "--input", ADA)

        assert (ran.exit_code, ran.json) == (0, {"text": "Hi Ada"})

    def test_shows_each_step_and_the_end_on_stderr(self, command: Command, asking: Path) -> None:
        ran = command("run", str(asking), "--input", ADA)

        for said in ("▸ greet  llm", "✓ greet  llm", "tokens", "completed in", "sandbox (made-up answers"):
            assert said in ran.stderr

    def test_quiet_shows_no_step(self, command: Command, asking: Path) -> None:
        ran = command("run", str(asking), "--input", ADA, "--quiet")

        assert (ran.exit_code, ran.stderr) == (0, "")

    def test_json_has_all_that_is_known_in_one_document(self, command: Command, asking: Path) -> None:
        ran = command("run", str(asking), "--input", ADA, "--json")

        assert (ran.json["status"], ran.json["workflow_name"]) == ("completed", "asking")
        assert [(step["path"], step["status"]) for step in ran.json["steps"]] == [("greet", "succeeded")]
        assert ran.json["cost_data"]["llm_calls"][0]["provider"] == "sandbox"
        assert ran.stderr == ""

    def test_takes_the_name_of_a_workflow(self, command: Command, greeting: Path) -> None:
        assert command("run", "greeting", "--input", ADA).json == {"text": "Hi Ada"}

    def test_takes_a_name_that_is_not_its_files(self, command: Command, flows: Flows) -> None:
        flows.write("definitions/other.json", {"name": "hi", "steps": [HELLO], "outputs": {}})

        flows.write("definitions/hi.json", {"name": "taken", "steps": [HELLO], "outputs": {"other": True}})

        assert command("run", "hi", "--input", ADA).json == {}

    def test_runs_another_workflow_that_stands_beside_the_file(self, command: Command, asking: Path) -> None:
        sub = {"id": "sub", "type": "workflow", "config": {"workflow": "asking", "input": {"name": "Lin"}}}
        outer = asking.with_name("outer.json")
        outer.write_text(json.dumps({"name": "outer", "steps": [sub], "outputs": "${steps.sub.text}"}))
        recording = asking.with_name("outer.replay.json")

        ran = command("run", str(outer), "--json", "--record", str(recording))
        again = command("run", str(outer), "--json", "--replay", str(recording))

        assert [step["path"] for step in ran.json["steps"]] == ["sub/greet", "sub"]
        assert (again.json["status"], again.json["result"]) == ("completed", ran.json["result"])
        assert json.loads(recording.read_text())["answers"][0]["step"] == "sub/greet#1"

    @pytest.mark.parametrize("how", ["file", "stdin"])
    def test_takes_the_input_from_anywhere(self, command: Command, flows: Flows, greeting: Path, how: str) -> None:
        path = str(flows.write("ada.json", ADA)) if how == "file" else "-"

        assert command("run", "greeting", "--input", path, stdin=ADA).json == {"text": "Hi Ada"}

    def test_finds_prompts_beside_the_file(self, command: Command, tmp_path: Path, flows: Flows) -> None:
        step = {"id": "a", "type": "llm", "config": {"prompt_template": "ask.md"}}
        flows.write("../away/flow.json", {"name": "flow", "steps": [step], "outputs": "${steps.a.content}"})
        flows.write("../away/prompts/ask.md", "What is new?")

        ran = command("run", str(tmp_path / "away/flow.json"))

        assert "What is new?" in ran.json["value"]

    def test_reads_secrets_from_the_environment(self, command: Command, flows: Flows) -> None:
        parameters = {"query": "${secrets.WORD}"}
        config = {"service": "google_places", "method": "text_search", "parameters": parameters}
        flows.workflow("secret", {"id": "a", "type": "external_api", "config": config}, outputs="${steps.a.success}")
        command.environment |= {"CALLBOARD_SECRET_WORD": "hush", "DEFAULT_LLM_PROVIDER": "sandbox"}

        assert command("run", "secret").json == {"value": True}

    def test_tells_of_warnings(self, command: Command, flows: Flows) -> None:
        path = flows.workflow("doubtful", HELLO)

        ran = command("run", "doubtful", "--input", ADA)

        assert (ran.exit_code, ran.json) == (0, {"value": "Hi Ada"})
        assert f"doubtful has 1 warning: callboard validate {path}" in ran.stderr.replace("\n", "")


NAP = {"id": "nap", "type": "wait", "config": {"seconds": 3600}}
FORM = {"type": "object", "required": ["fine"], "properties": {"fine": {"type": "boolean"}}}
OK = {"id": "ok", "type": "approval", "config": {"title": "Fine?", "timeout_seconds": 60, "form_schema": FORM}}
PAID = {"id": "paid", "type": "wait", "config": {"event": "paid", "timeout_seconds": 60, "on_timeout": "continue"}}


class TestWaits:
    @pytest.fixture
    def signing(self, flows: Flows) -> Path:
        return flows.workflow("signing", NAP, OK, PAID, outputs=["${steps.ok.answer}", "${steps.paid.output}"])

    def test_end_by_what_was_written_ahead(self, command: Command, flows: Flows, signing: Path) -> None:
        answers = flows.write("answers.json", {"people": {"ok": {"fine": True}}, "signals": {"paid": []}})

        ran = command("run", str(signing), "--answers", str(answers), "--skip-waits")

        assert (ran.exit_code, ran.json) == (0, {"value": [{"fine": True}, None]})
        assert "⏸ nap  waits 3,600 s" in ran.stderr
        assert "⏸ ok  waits for a person" in ran.stderr

    def test_of_many_inputs_end_by_the_same_file(self, command: Command, flows: Flows, signing: Path) -> None:
        answers = flows.write("answers.json", {"people": {"ok": [{"fine": True}]}, "signals": {"paid": [1]}})
        inputs = flows.write("many.jsonl", "{}\n{}\n")

        ran = command("run", str(signing), "--inputs", str(inputs), "--answers", str(answers), "--skip-waits")

        assert [line["result"]["value"][0] for line in ran.json_lines] == [{"fine": True}] * 2

    @pytest.mark.usefixtures("signing")
    def test_that_nobody_ends_fail_the_run_and_say_how_to(self, command: Command) -> None:
        ran = command("run", "signing", "--skip-waits", "--json")

        assert (ran.exit_code, ran.json["error"]["type"]) == (1, "nobody_answers")
        assert '--answers FILE with {"people": {"ok": ...}}' in ran.json["error"]["message"]

    @pytest.mark.usefixtures("signing")
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            pytest.param({"people": {"okay": 1}}, 'has no step "okay". Did you mean "ok"?', id="another step"),
            pytest.param(
                {"persons": {}}, 'Unknown field "persons". Known fields: people, signals.', id="another field"
            ),
            pytest.param({"signals": {"paid": 1}}, "must be a list", id="no list"),
            pytest.param("[", "is not JSON", id="no json"),
        ],
    )
    def test_refuse_a_file_that_says_nothing(self, command: Command, flows: Flows, content: Any, said: str) -> None:
        answers = flows.write("answers.json", content)

        ran = command("run", "signing", "--answers", str(answers))

        assert ran.exit_code == 2
        assert said in " ".join(ran.stderr.split())


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "exit_code", "said"),
        [
            pytest.param(("greting",), 5, "greeting", id="an unknown name"),
            pytest.param(("nowhere.json",), 6, "nowhere.json", id="no such file"),
            pytest.param(("greeting", "--input", "{"), 2, "not JSON", id="an input that is no JSON"),
            pytest.param(("greeting", "--input", "gone.json"), 2, "gone.json", id="no such input"),
            pytest.param(("greeting",), 6, "name", id="an input that does not fit"),
            pytest.param(("greeting", "--input", '{"name": NaN}'), 6, "/name", id="an input that is no JSON value"),
            pytest.param(("greeting", "--input", ADA, "--replay", "gone.json"), 2, "gone.json", id="no recording"),
            pytest.param(
                ("greeting", "--input", ADA, "--record", "no/a.json"), 2, "no/a.json", id="no folder to record to"
            ),
            pytest.param(("greeting", "--input", ADA, "--inputs", "-"), 2, "--input", id="two ways to give inputs"),
        ],
    )
    def test_say_what_is_wrong(
        self, command: Command, greeting: Path, arguments: tuple[str, ...], exit_code: int, said: str
    ) -> None:
        ran = command("run", *arguments)

        assert (ran.exit_code, ran.stdout) == (exit_code, "")
        assert said in ran.stderr

    def test_tell_every_fault_of_an_input(self, command: Command, flows: Flows) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
        flows.workflow("strict", HELLO, input_schema=schema, outputs={})

        ran = command("run", "strict", "--input", '{"a": "x", "b": 1}', "--json")

        assert [part["pointer"] for part in ran.json["errors"]] == ["/a", "/b"]

    def test_tell_every_fault_of_a_file(self, command: Command, flows: Flows) -> None:
        flows.workflow("broken", {"id": "a", "type": "transfrm"}, {"id": "a b", "type": "llm"})

        ran = command("run", "broken")

        assert ran.exit_code == 6
        for said in ("transform", "/steps/1/id"):
            assert said in ran.stderr

    def test_show_a_sample_to_who_gives_no_input(self, command: Command, flows: Flows, greeting: Path) -> None:
        sample = flows.write("inputs/greeting.json", ADA)

        assert str(sample) in command("run", "greeting").stderr.replace("\n", "")


class TestFailures:
    def test_tell_step_path_and_what_was_paid(self, command: Command, flows: Flows) -> None:
        config = {"operation": "template", "input": "${input.x.y}", "config": {"template": "a"}}
        bad = {"id": "bad", "type": "transform", "config": config}
        flows.workflow("failing", GREET, bad)

        ran = command("run", "failing", "--input", ADA)

        assert (ran.exit_code, ran.stdout) == (1, "")
        for said in ("failed in", "1 call", 'step "bad"', "✗ bad"):
            assert said in ran.stderr


class TestRecordings:
    def test_play_what_was_recorded(self, command: Command, flows: Flows, asking: Path) -> None:
        recording = flows.root / "asked.json"
        first = command("run", "asking", "--input", ADA, "--record", str(recording))

        played = command("run", "asking", "--input", ADA, "--replay", str(recording))

        assert first.json == played.json
        assert "replay (kept answers" in played.stderr
        assert json.loads(recording.read_text("utf-8"))["answers"][0]["step"] == "greet#1"

    def test_do_not_depend_on_the_settings_of_the_machine(self, command: Command, flows: Flows, asking: Path) -> None:
        recording = str(flows.root / "asked.json")
        command("run", "asking", "--input", ADA, "--record", recording)
        command.environment |= {"DEFAULT_LLM_PROVIDER": "openai_compatible", "DEFAULT_LLM_MODEL_NAME": "other"}

        assert command("run", "asking", "--input", ADA, "--replay", recording).exit_code == 0

    def test_show_what_differs_in_a_request(self, command: Command, flows: Flows, asking: Path) -> None:
        recording = str(flows.root / "asked.json")
        command("run", "asking", "--input", ADA, "--record", recording)

        ran = command("run", "asking", "--input", '{"name": "Bob"}', "--replay", recording, "--json")

        assert ran.exit_code == 1
        for said in ("Greet Ada.", "Greet Bob.", "--record"):
            assert said in ran.json["error"]["message"]


class TestInputs:
    def test_give_a_line_for_each_in_their_order(self, command: Command, greeting: Path) -> None:
        lines = "\n".join(json.dumps({"name": name}) for name in "abc")

        ran = command("run", "greeting", "--inputs", "-", stdin=lines)

        assert [(line["line"], line["result"]["text"]) for line in ran.json_lines] == [
            (1, "Hi a"),
            (2, "Hi b"),
            (3, "Hi c"),
        ]

    def test_go_on_after_one_that_does_not_fit(self, command: Command, greeting: Path) -> None:
        ran = command("run", "greeting", "--inputs", "-", stdin=f'{{"name": 1}}\n\n{ADA}\n')

        outcomes: list[Any] = [(line["line"], line["status"]) for line in ran.json_lines]
        assert (ran.exit_code, outcomes) == (1, [(1, "failed"), (3, "completed")])
        assert ran.json_lines[0]["error"]["errors"][0]["pointer"] == "/name"

    def test_name_the_line_that_is_no_json(self, command: Command, greeting: Path) -> None:
        ran = command("run", "greeting", "--inputs", "-", stdin=f"{ADA}\n{{\n")

        assert ran.exit_code == 2
        assert "line 2" in ran.stderr
