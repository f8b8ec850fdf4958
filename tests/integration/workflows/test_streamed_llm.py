"""`stream: true` against a real HTTP server: the text as it comes, the same journal, and faults like any other."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from callboard.core.http_client import HttpClient
from callboard.core.json_values import loads
from callboard.llm.client import LLMClient
from callboard.llm.openai_compatible import OpenAICompatibleProvider
from callboard.llm.pricing import ModelPrices
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import RunFailedError
from callboard.workflows.steps.llm import LLMStep
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.scripted_steps import WatchedCheckpointer, run_workflow

ANSWER = "[[say:One two three four]] [[tokens:9:4]] Count."


class Listener(WatchedCheckpointer):
    """Notes the pieces that it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def note_text(self, path: str, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
async def client() -> AsyncIterator[LLMClient]:
    http = HttpClient()
    async with FakeLLM() as fake:
        provider = OpenAICompatibleProvider(
            "openai_compatible", base_url=fake.ollama_url, api_key=None, http=http, prices=ModelPrices()
        )
        yield LLMClient([provider])
        await http.close()


def compile_question(client: LLMClient, prompt: str, **step: Any) -> CompiledWorkflow:
    config = {"prompt_text": prompt, "stream": step.pop("stream", True)}
    definition = {"name": "test", "steps": [{"id": "draft", "type": "llm", "config": config, **step}]}
    defaults = {"provider": "openai_compatible", "model": "gpt-4o"}
    return compile_workflow(Bundle(definition=definition, defaults=defaults), StepRegistry([LLMStep(client)]))


class TestStream:
    async def test_is_journaled_like_an_answer_in_one_piece(self, client: LLMClient) -> None:
        streamed, plain = Listener(), Listener()

        await run_workflow(compile_question(client, ANSWER), streamed)
        await run_workflow(compile_question(client, ANSWER, stream=False), plain)

        journaled = [loads(journal.calls["draft#1"]) for journal in (streamed, plain)]
        for row in journaled:
            del row["duration_ms"]
        assert journaled[0] == journaled[1]
        assert (streamed.heard, plain.heard) == (["One", " two", " three", " four"], [])

    async def test_ends_with_the_time_of_the_whole_call_however_alive_it_is(self, client: LLMClient) -> None:
        journal = Listener()

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_question(client, f"[[pace:0.1]] {ANSWER}", timeout_seconds=0.35), journal)

        assert failed.value.error["type"] == "provider_timeout"
        assert journal.heard[:1] == ["One"]
        assert journal.calls == {}

    async def test_a_break_in_the_middle_is_tried_again_from_the_start(self, client: LLMClient) -> None:
        journal = Listener()
        workflow = compile_question(client, f"[[error-mid-stream:502]] {ANSWER}", retry={"max_attempts": 2})

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(workflow, journal)

        assert failed.value.error["type"] == "provider_server_error"
        assert journal.heard == ["One", "One"]
        assert (len(journal.retries), journal.usage) == (1, [])
