"""`callboard diagram`: where the picture's text goes, and what it says of files that are not right."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.workflow_zoo import zoo
from tests.unit.cli.conftest import Command

STEP = {"id": "a", "type": "transform", "config": {"operation": "template", "config": {"template": "x"}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, raw: Any, name: str = "flow") -> str:
    path = folder / f"{name}.json"
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    return str(path)


class TestDiagram:
    def test_prints_it(self, command: Command, folder: Path) -> None:
        ran = command("diagram", write(folder, {"name": "flow", "steps": [STEP]}))

        assert (ran.exit_code, ran.stderr) == (0, "")
        assert ran.stdout.startswith('---\ntitle: "flow"\n')
        assert 'step_a["a<br>template"]:::transform' in ran.stdout

    def test_writes_it_into_a_file(self, command: Command, folder: Path) -> None:
        path = write(folder, {"name": "flow", "steps": [STEP]})

        ran = command("diagram", path, "-o", str(folder / "new" / "flow.mmd"))

        assert (ran.exit_code, "has the diagram of flow" in ran.stdout.replace("\n", " ")) == (0, True)
        assert (folder / "new" / "flow.mmd").read_text() == command("diagram", path).stdout

    def test_puts_a_fence_around_it_in_markdown(self, command: Command, folder: Path) -> None:
        command("diagram", write(folder, {"name": "flow", "steps": [STEP]}), "-o", str(folder / "flow.md"))

        assert (folder / "flow.md").read_text().startswith("# flow\n\n```mermaid\n")

    def test_takes_the_name_of_a_workflow(self, command: Command, folder: Path) -> None:
        write(folder, {"name": "flow", "steps": [STEP]})
        command.environment["WORKFLOWS_DIR"] = str(folder)

        assert command("diagram", "flow").exit_code == 0
        ran = command("diagram", "flew")

        assert ran.exit_code == 5
        assert "flow" in ran.stderr

    def test_gives_json_to_programs(self, command: Command, folder: Path) -> None:
        ran = command("diagram", write(folder, {"name": "flow", "steps": [STEP]}), "--json")

        assert (ran.json["workflow"], ran.json["file"], ran.json["findings"]) == ("flow", None, [])
        assert "flowchart TD" in ran.json["diagram"]

    def test_draws_what_is_planned_without_a_word(self, command: Command, folder: Path) -> None:
        steps = [{"id": "ok", "type": "approval"}, {"id": "nap", "type": "wait"}, {"id": "sub", "type": "workflow"}]

        ran = command("diagram", write(folder, {"name": "flow", "steps": steps}))

        assert (ran.exit_code, ran.stderr) == (0, "")
        assert ":::person" in ran.stdout

    def test_draws_a_file_with_errors_as_far_as_it_can_be_read(self, command: Command, folder: Path) -> None:
        ran = command("diagram", write(folder, {"name": "flow", "steps": [STEP, {"id": "b", "typ": "llm"}]}))

        assert ran.exit_code == 0
        assert "step_a" in ran.stdout
        assert "drawn as far as it can be read: callboard validate" in ran.stderr.replace("\n", " ")

    @pytest.mark.parametrize("raw", ["{", "[]", {"name": "flow"}], ids=str)
    def test_tells_what_is_wrong_where_nothing_can_be_drawn(self, command: Command, folder: Path, raw: Any) -> None:
        ran = command("diagram", write(folder, raw))

        assert (ran.exit_code, ran.stdout) == (6, "")
        assert "flow.json:1:" in ran.stderr

    def test_says_why_it_cannot_write(self, command: Command, folder: Path) -> None:
        ran = command("diagram", write(folder, {"name": "flow", "steps": [STEP]}), "-o", str(folder))

        assert ran.exit_code == 2
        assert "cannot be written" in ran.stderr

    def test_draws_the_zoo(self, command: Command, folder: Path) -> None:
        assert command("diagram", write(folder, zoo())).exit_code == 0
