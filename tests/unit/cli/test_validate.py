"""`callboard validate` and `callboard schema`: what is said, where, and how the process ends."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Command

STEPS = [{"id": "a", "type": "llm", "config": {"model": "gpt-4o", "prompt_text": "Hi"}}]
GOOD = {"name": "good", "steps": STEPS, "outputs": "${steps.a.content}"}
DOUBTFUL = {"name": "doubtful", "steps": STEPS, "outputs": "${steps.a.contents}"}
BROKEN = {"name": "broken", "stepz": STEPS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    flows = tmp_path / "flows"
    flows.mkdir()
    for content in (GOOD, DOUBTFUL, BROKEN):
        (flows / f"{content['name']}.json").write_text(json.dumps(content, indent=2))
    (flows / "good.test.json").write_text("{")
    return flows


class TestValidate:
    def test_says_that_nothing_is_wrong(self, command: Command, folder: Path) -> None:
        ran = command("validate", str(folder / "good.json"))

        assert (ran.exit_code, ran.stdout) == (0, "1 file: nothing is wrong.\n")

    def test_shows_place_message_line_and_caret(self, command: Command, folder: Path) -> None:
        ran = command("validate", str(folder / "broken.json"))

        assert ran.exit_code == 1
        assert ran.stdout.splitlines() == [
            f'{folder}/broken.json:3:3: error: Unknown field "stepz". Did you mean "steps"?  /stepz [unknown_field]',
            '      "stepz": [',
            "      ^",
            "1 file: 1 error, 0 warnings.",
        ]

    def test_counts_warnings_as_errors_when_strict(self, command: Command, folder: Path) -> None:
        path = str(folder / "doubtful.json")

        assert command("validate", path).exit_code == 0
        assert command("validate", path, "--strict").exit_code == 1

    def test_reads_a_folder_without_its_recorded_tests(self, command: Command, folder: Path) -> None:
        ran = command("validate", str(folder), "--json")

        assert ran.exit_code == 1
        assert [(Path(each["file"]).name, each["is_valid"]) for each in ran.json["files"]] == [
            ("broken.json", False),
            ("doubtful.json", True),
            ("good.json", True),
        ]
        assert (ran.json["errors"], ran.json["warnings"]) == (1, 1)
        assert ran.json["files"][0]["findings"] == [
            {
                "severity": "error",
                "code": "unknown_field",
                "message": 'Unknown field "stepz". Did you mean "steps"?',
                "pointer": "/stepz",
                "file": f"{folder}/broken.json",
                "line": 3,
                "column": 3,
                "related": None,
            }
        ]

    def test_tells_of_one_name_in_two_files_of_a_folder(self, command: Command, folder: Path) -> None:
        (folder / "again.json").write_text(json.dumps(GOOD, indent=2))

        ran = command("validate", str(folder), "--json")

        told = {Path(each["file"]).name: [f["code"] for f in each["findings"]] for each in ran.json["files"]}
        assert told["again.json"] == told["good.json"] == ["duplicate_name"]

    def test_reads_stdin(self, command: Command) -> None:
        ran = command("validate", "-", stdin="{'name': 1}")

        assert ran.exit_code == 1
        assert 'stdin:1:2: error: Keys stand in double quotes: write "name".' in ran.stdout

    def test_finds_prompts_beside_the_file(self, command: Command, folder: Path) -> None:
        (folder / "prompts").mkdir()
        (folder / "prompts" / "hi.md").write_text("Hi ${nmae}")
        step = {"id": "a", "type": "llm", "config": {"model": "gpt-4o", "prompt_template": "hi.md"}}
        (folder / "good.json").write_text(json.dumps({**GOOD, "steps": [step]}))

        ran = command("validate", str(folder / "good.json"))

        assert ran.exit_code == 1
        assert "    in hi.md:1:4\n    Hi ${nmae}\n       ^\n" in ran.stdout

    @pytest.mark.parametrize("name", ["gone.json", "empty"])
    def test_refuses_what_is_not_there(self, command: Command, tmp_path: Path, name: str) -> None:
        (tmp_path / "empty").mkdir()

        ran = command("validate", str(tmp_path / name))

        assert ran.exit_code == 2
        assert "There is no" in ran.stderr


class TestSchema:
    def test_prints_and_writes_the_same_schema(self, command: Command, tmp_path: Path) -> None:
        printed = command("schema")
        written = command("schema", "-o", str(tmp_path / "workflow.schema.json"))

        assert (printed.exit_code, written.exit_code) == (0, 0)
        assert printed.json == json.loads((tmp_path / "workflow.schema.json").read_text())

    def test_says_where_it_cannot_write(self, command: Command, tmp_path: Path) -> None:
        ran = command("schema", "-o", str(tmp_path / "gone" / "x.json"))

        assert ran.exit_code == 2
        assert "cannot be written" in ran.stderr
