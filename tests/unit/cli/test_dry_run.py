"""`callboard dry-run`: the plan as people see it, here and from a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from callboard.workflows.dry_runs.schemas import ValidationRead
from tests.fixtures.fake_callboard import Answer, FakeCallboard
from tests.unit.cli.conftest import Command, Ran

VALIDATE = "POST /api/v1/workflow/validate"
SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
MODEL = {"provider": "openai", "model": "gpt-4o", "prompt_template": "hi.md", "max_tokens": 100}
ASK = {"id": "greet", "type": "llm", "config": MODEL}
CHOOSE = {
    "id": "choose",
    "type": "conditional",
    "config": {
        "condition": "steps.greet.content == 'x'",
        "if_true": [{"id": "again", "type": "llm", "config": {**MODEL, "model": "gpt-none"}}],
    },
}
LOOP = {"id": "each", "type": "parallel", "config": {"for_each": [1, 2], "as": "n", "steps": [{**ASK, "id": "many"}]}}


@pytest.fixture
def flow(tmp_path: Path) -> str:
    """A workflow file with its prompts beside it."""
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "hi.md").write_text("Hello ${input.name}, well met")
    return write(tmp_path, ASK)


def write(folder: Path, *steps: Any, name: str = "flow") -> str:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"name": name, "input_schema": SCHEMA, "steps": steps, "outputs": "x"}))
    return str(path)


def row(ran: Ran, begin: str) -> list[str]:
    """Return the words of the line that begins with `begin`."""
    return next(line.split() for line in ran.stdout.splitlines() if line.strip().startswith(begin))


class TestHere:
    def test_shows_the_plan_the_totals_and_their_basis(self, command: Command, flow: str) -> None:
        ran = command("dry-run", flow, "--input", '{"name": "Ada"}')

        assert ran.exit_code == 0
        assert row(ran, "greet") == ["greet", "openai", "gpt-4o", "9", "50", "$0.000522"]  # 19 / 4 + 4, 100 / 2
        assert row(ran, "tokens out") == ["tokens", "out", "12", "50", "100"]
        assert row(ran, "cost")[-1] == "$0.001030"  # 12 x 2.5 + 100 x 10 USD/M
        assert "Estimated from the prompts, at 4 characters a token. Nobody was called." in ran.stdout

    def test_shows_branches_and_loops(self, command: Command, flow: str) -> None:
        ran = command("dry-run", write(Path(flow).parent, ASK, CHOOSE, LOOP, name="more"), "-i", '{"name": "Ada"}')

        assert "if steps.greet.content == 'x': 50% likely" in ran.stdout
        assert "otherwise: 50% likely" in ran.stdout
        assert row(ran, "again")[-1] == "?"
        assert row(ran, "each")[1:4] == ["for", "2", "items"]
        assert row(ran, "many")[3] == "2"
        assert row(ran, "cost") == ["cost", "?", "?", "?"]
        assert "Nobody knows the price of the model" in ran.stderr

    def test_shows_prompts_on_demand(self, command: Command, flow: str) -> None:
        assert "Hello Ada" not in command("dry-run", flow, "-i", '{"name": "Ada"}').stdout
        ran = command("dry-run", flow, "-i", '{"name": "Ada"}', "--show-prompts")

        assert "greet, user: about 9 tokens\nHello Ada, well met\n" in ran.stdout

    def test_does_without_an_input(self, command: Command, flow: str) -> None:
        ran = command("dry-run", flow, "--show-prompts")

        assert (ran.exit_code, "Hello «input.name: unknown, about 100 characters», well met" in ran.stdout) == (0, True)

    def test_an_input_that_does_not_fit_is_told_beside_the_plan(self, command: Command, flow: str) -> None:
        ran = command("dry-run", flow, "-i", "{}")

        assert ran.exit_code == 6
        assert "error: /input_data" in ran.stderr
        assert row(ran, "greet")

    def test_gives_json_to_programs_as_the_api_does(self, command: Command, flow: str) -> None:
        ran = command("dry-run", flow, "-i", '{"name": "Ada"}', "--json")

        assert ValidationRead.model_validate(ran.json).model_dump(mode="json") == ran.json
        assert (ran.json["valid"], ran.json["estimated_tokens"], ran.json["basis"]) == (True, 59, "prompt")

    def test_tells_what_is_wrong_with_the_file(self, command: Command, flow: str) -> None:
        Path(flow).write_text(Path(flow).read_text().replace("hi.md", "ho.md"))

        ran = command("dry-run", flow)

        assert ran.exit_code == 6
        assert "hi.md" in ran.stderr

    def test_takes_prompts_from_elsewhere(self, command: Command, flow: str, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "hi.md").write_text("Other")

        assert "\nOther\n" in command("dry-run", flow, "--prompts", str(tmp_path / "other"), "--show-prompts").stdout

    @pytest.mark.parametrize("given", ["{", "no-such-file.json", '{"name": NaN}'])
    def test_refuses_an_input_that_is_none(self, command: Command, flow: str, given: str) -> None:
        ran = command("dry-run", flow, "-i", given)

        assert ran.exit_code == 2
        assert "The input cannot be" in ran.stderr


class TestOnServer:
    def seen_by(self, command: Command, flow: str) -> Any:
        """Return an answer as a server with ten earlier runs would give it."""
        found = command("dry-run", flow, "-i", '{"name": "Ada"}', "--json").json
        return {**found, "basis": "history", "runs_seen": 10}

    def test_asks_about_a_workflow_by_its_name(self, callboard: Command, server: FakeCallboard, flow: str) -> None:
        server.on(VALIDATE, Answer(self.seen_by(callboard, flow)))

        ran = callboard("dry-run", "flow", "-i", '{"name": "Ada"}', "--server")

        assert ran.exit_code == 0
        assert server.seen(VALIDATE)[0].body == {"workflow_name": "flow", "input_data": {"name": "Ada"}}
        assert "Estimated from 10 earlier runs of this workflow" in ran.stdout

    def test_sends_the_definition_of_a_file(self, callboard: Command, server: FakeCallboard, flow: str) -> None:
        server.on(VALIDATE, Answer(self.seen_by(callboard, flow)))

        callboard("dry-run", flow, "--server")

        assert server.seen(VALIDATE)[0].body == {"definition": json.loads(Path(flow).read_text())}

    def test_a_broken_definition_is_told(self, callboard: Command, server: FakeCallboard, flow: str) -> None:
        finding = {"severity": "error", "code": "shape", "message": "It is wrong.", "pointer": "/steps/0"}
        unknown = ["plan", "estimated_tokens", "estimated_cost_usd", "estimated_duration_seconds", "basis"]
        nothing = dict.fromkeys([*unknown, "input_tokens", "output_tokens", "cost_usd", "duration_seconds"])
        broken = {"valid": False, "workflow_name": "flow", "errors": [finding], "warnings": [], "assumptions": []}
        server.on(VALIDATE, Answer({**nothing, **broken, "runs_seen": 0}))

        ran = callboard("dry-run", flow, "--server")

        assert ran.exit_code == 6
        assert "error: /steps/0 It is wrong." in ran.stderr

    def test_a_server_that_is_away_is_told(self, command: Command) -> None:
        ran = command("dry-run", "flow", "--server", "--url", "http://127.0.0.1:9", "--api-key", "k")

        assert ran.exit_code == 3
