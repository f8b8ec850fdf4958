"""`callboard run` and `test` in a process of their own, with a model that answers over a socket."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from callboard.core.config import Settings
from tests.fixtures.fake_llm import GOOD_KEY, FakeLLM

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_SECONDS = 30.0
ENDS_BY_ITSELF = {"max_attempts": 3, "delay_seconds": 0.01, "jitter": False}


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    exit_code: int | None
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Callboard:
    """Runs `callboard` in `folder` as its own process, with a live model by default."""

    def __init__(self, folder: Path, fake: FakeLLM) -> None:
        ours = {name.upper() for name in Settings.model_fields} | {"FORCE_COLOR"}
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if name.upper() not in ours}
        self.environment |= {
            "PYTHONPATH": str(ROOT / "src"),
            "OPENAI_API_KEY": GOOD_KEY,
            "OPENAI_BASE_URL": fake.openai_url,
        }

    def write(self, name: str, *steps: Mapping[str, Any], **top_level: Any) -> str:
        """Write a workflow and return its file's name."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"name": name, "steps": list(steps), **top_level}), "utf-8")
        return path.name

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "callboard.cli.main",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.environment,
            cwd=self.folder,
        )

    async def run(self, *arguments: str) -> Ran:
        process = await self.start(*arguments)
        async with asyncio.timeout(PATIENCE_SECONDS):
            stdout, stderr = await process.communicate()
        return Ran(process.returncode, stdout.decode(), stderr.decode())


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as started:
        yield started


@pytest.fixture
def callboard(tmp_path: Path, fake: FakeLLM) -> Callboard:
    return Callboard(tmp_path, fake)


def ask(step_id: str, prompt: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "llm", "retry": ENDS_BY_ITSELF, "config": {"prompt_text": prompt, **config}}


class TestRun:
    async def test_a_live_run_says_so_and_what_it_cost(self, callboard: Callboard) -> None:
        file = callboard.write(
            "flow", ask("a", "[[say:Hello]] [[tokens:100:20]]"), outputs={"text": "${steps.a.content}"}
        )

        ran = await callboard.run("run", file)

        assert (ran.exit_code, ran.json) == (0, {"text": "Hello"})
        for said in ("openai (live)", "120 tokens", "$0.000"):
            assert said in ran.stderr

    async def test_retries_are_shown(self, callboard: Callboard) -> None:
        file = callboard.write("flow", ask("a", "[[fail:503:times=1]] [[key:r]] [[say:up]]"))

        ran = await callboard.run("run", file)

        assert ran.exit_code == 0
        assert "↻ a  again in" in ran.stderr
        assert "(2 attempts)" in ran.stderr

    async def test_a_streamed_answer_is_the_same(self, callboard: Callboard) -> None:
        file = callboard.write("flow", ask("a", "[[say:a long answer]]", stream=True), outputs="${steps.a.content}")

        assert (await callboard.run("run", file)).json == {"value": "a long answer"}

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
    async def test_a_signal_ends_calls_and_says_what_was_paid(
        self, callboard: Callboard, fake: FakeLLM, number: signal.Signals
    ) -> None:
        file = callboard.write("flow", ask("a", "[[say:x]] [[tokens:5:5]]"), ask("b", "[[hang]] [[key:hangs]]"))

        process = await callboard.start("run", file, "--record", "kept.json")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not fake.started["hangs"]:  # noqa: ASYNC110 - the fake has no event for it
                await asyncio.sleep(0.02)
            process.send_signal(number)
            _, stderr = await process.communicate()

        assert process.returncode == 130
        assert "Stopped. So far: 1 call, 10 tokens" in stderr.decode()
        assert "Traceback" not in stderr.decode()
        kept = json.loads((callboard.folder / "kept.json").read_text("utf-8"))
        assert [answer["step"] for answer in kept["answers"]] == ["a#1"]

    async def test_a_key_stands_in_no_recording(self, callboard: Callboard) -> None:
        file = callboard.write("flow", ask("a", f"[[say:your key is {GOOD_KEY}]]"))

        await callboard.run("run", file, "--record", "kept.json")

        assert GOOD_KEY not in (callboard.folder / "kept.json").read_text("utf-8")

    async def test_a_recording_is_played_without_any_call(self, callboard: Callboard, fake: FakeLLM) -> None:
        loop = {"for_each": ["x", "x"], "steps": [ask("each_one", "[[say:same]]")]}
        steps = [
            {"id": "all", "type": "parallel", "config": loop},
            ask("json", '[[json:{"n": 1}]]', output_schema={"type": "object", "required": ["n"]}),
            ask("again", "[[fail:503:times=1]] [[key:again]] [[say:up]]"),
        ]
        file = callboard.write(
            "flow", *steps, outputs={"all": "${steps.all.output[*].content}", "n": "${steps.json.parsed.n}"}
        )
        first = await callboard.run("run", file, "--record", "kept.json")
        called = len(fake.requests)
        del callboard.environment["OPENAI_API_KEY"]

        played = await callboard.run("run", file, "--replay", "kept.json", "--json")

        assert first.exit_code == 0, first.stderr
        assert played.json["result"] == first.json
        assert [step["attempts"] for step in played.json["steps"] if step["path"] == "again"] == [2]
        assert len(fake.requests) == called


class TestTest:
    async def test_records_live_and_then_passes_without_a_key(self, callboard: Callboard, fake: FakeLLM) -> None:
        callboard.write("flow", ask("a", "[[say:Hello]]"), outputs={"text": "${steps.a.content}"})
        (callboard.folder / "flow.test.json").write_text('{"name": "says hello"}', "utf-8")

        recorded = await callboard.run("test", ".", "--record")
        called = len(fake.requests)
        del callboard.environment["OPENAI_API_KEY"]
        tested = await callboard.run("test", ".", "--json")

        assert recorded.exit_code == 0, recorded.stderr
        assert (tested.exit_code, tested.json["passed"]) == (0, 1)
        assert json.loads((callboard.folder / "flow.test.json").read_text("utf-8"))["expect"]["outputs"] == {
            "text": "Hello"
        }
        assert (called, len(fake.requests)) == (1, 1)

    async def test_fifty_cases_take_seconds(self, callboard: Callboard) -> None:
        callboard.write("flow", ask("a", "Hi ${input}"), outputs={"text": "${steps.a.content}"})
        cases = [
            {
                "input": number,
                "answers": [{"step": "a", "content": str(number)}],
                "expect": {"outputs": {"text": str(number)}},
            }
            for number in range(50)
        ]
        (callboard.folder / "flow.test.json").write_text(json.dumps({"cases": cases}), "utf-8")

        ran = await callboard.run("test", ".", "--json")

        assert (ran.json["passed"], ran.json["failed"]) == (50, 0)
        assert ran.json["duration_ms"] < 5000
