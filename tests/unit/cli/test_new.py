"""`callboard new`: what it makes runs and passes at once, and it overwrites nothing."""

import json
from pathlib import Path

import pytest

from callboard.cli.new import TEMPLATES
from tests.unit.cli.conftest import Command, Flows


@pytest.fixture
def in_folder(flows: Flows, command: Command) -> Command:
    """A command in a folder without workflows, which has no key and may make answers up."""
    command.environment["DEFAULT_LLM_PROVIDER"] = "sandbox"
    return command


class TestWorkflow:
    @pytest.mark.parametrize("template", TEMPLATES)
    def test_what_it_makes_runs_and_passes(self, in_folder: Command, flows: Flows, template: str) -> None:
        made = in_folder("new", "workflow", "mine", "--template", template, "--json")

        answers = flows.root / "inputs/mine.answers.json"
        ahead = ["--answers", str(answers)] if answers.exists() else []
        ran = in_folder("run", "mine", "--input", str(flows.root / "inputs/mine.json"), "--json", *ahead)
        tested = in_folder("test", "--json")

        assert made.exit_code == 0, made.stderr
        assert (ran.exit_code, ran.json["status"]) == (0, "completed"), ran.stdout
        assert (tested.exit_code, tested.json["failed"]) == (0, 0), tested.stdout
        assert tested.json["passed"] >= 1

    def test_says_what_it_made_and_what_to_do_next(self, in_folder: Command) -> None:
        ran = in_folder("new", "workflow", "mine")

        for said in ("mine.json", "mine.test.json", "callboard validate", "callboard run", "callboard test"):
            assert said in ran.stdout

    def test_overwrites_nothing(self, in_folder: Command, flows: Flows) -> None:
        there = flows.write("inputs/mine.json", "{}")

        ran = in_folder("new", "workflow", "mine")

        assert ran.exit_code == 6
        assert str(there) in ran.stderr.replace("\n", "")
        assert not (flows.root / "definitions").exists()

    def test_goes_to_the_folder_that_is_named(self, in_folder: Command, tmp_path: Path) -> None:
        in_folder("new", "workflow", "mine", "--dir", str(tmp_path / "there"))

        assert (tmp_path / "there/prompts/mine/read.md").is_file()
        assert in_folder("test", str(tmp_path / "there")).exit_code == 0

    def test_names_the_workflow_everywhere(self, in_folder: Command, flows: Flows) -> None:
        in_folder("new", "workflow", "mine")

        definition = json.loads((flows.root / "definitions/mine.json").read_text("utf-8"))
        assert definition["name"] == "mine"
        assert "__NAME__" not in json.dumps(definition)

    @pytest.mark.parametrize(
        ("arguments", "hint"),
        [
            ((), "NAME"),
            (("My Flow",), "my_flow"),
            (("../out",), "out"),
            (("mine", "--template", "lop"), '"loop"'),
        ],
        ids=["no name", "a name with a blank", "a path", "a misspelt template"],
    )
    def test_says_what_is_wrong(self, in_folder: Command, arguments: tuple[str, ...], hint: str) -> None:
        ran = in_folder("new", "workflow", *arguments)

        assert ran.exit_code == 2
        assert hint in ran.stderr

    def test_lists_the_templates(self, in_folder: Command) -> None:
        listed = in_folder("new", "workflow", "--list", "--json").json["templates"]

        assert [each["name"] for each in listed] == list(TEMPLATES)
