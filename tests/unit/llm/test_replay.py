"""The provider `replay` answers what was recorded, at today's price, and names the ways out of a miss."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from callboard.core.replay import RecordedAnswers
from callboard.llm.errors import ReplayMissError
from callboard.llm.port import LLMRequest, Message
from callboard.llm.pricing import ModelPrices
from callboard.llm.replay import SERVICE, ReplayProvider, recorded_request, recorded_response
from callboard.llm.sandbox import SandboxProvider

REQUEST = LLMRequest(model="anthropic/claude-3.5-sonnet", messages=(Message("user", "Hi"),), temperature=0.2)
RESPONSE = {
    "content": "Hello " * 40,
    "model": "anthropic/claude-3.5-sonnet",
    "provider": "openrouter",
    "input_tokens": 1000,
    "output_tokens": 100,
    "duration_ms": 2300,
}


def _provider(folder: Path, response: dict[str, Any]) -> ReplayProvider:
    answer = {"service": "llm", "request": recorded_request(REQUEST), "response": response}
    content = {"workflow": "hello", "origin": "by hand", "answers": [answer]}
    (folder / "hello.replay.json").write_text(json.dumps(content), encoding="utf-8")
    return ReplayProvider(RecordedAnswers.load(folder), ModelPrices())


class TestGenerate:
    async def test_gives_the_recorded_answer_as_replay(self, tmp_path: Path) -> None:
        response = await _provider(tmp_path, RESPONSE).generate(REQUEST)

        assert (response.content, response.provider) == (RESPONSE["content"], "replay")
        assert (response.model, response.duration_ms, response.finish_reason) == (RESPONSE["model"], 2300, "stop")
        assert (response.usage.input_tokens, response.usage.output_tokens) == (1000, 100)

    async def test_costs_what_the_recorded_model_costs(self, tmp_path: Path) -> None:
        response = await _provider(tmp_path, RESPONSE).generate(REQUEST)

        assert (response.cost.usd, response.cost.source) == (Decimal("0.0045"), "genai-prices")  # 1000 x 3 + 100 x 15

    async def test_a_miss_names_the_ways_out_and_the_nearest(self, tmp_path: Path) -> None:
        asked = LLMRequest(model=REQUEST.model, messages=(Message("user", "Ho"),), temperature=0.2)

        with pytest.raises(ReplayMissError) as caught:
            await _provider(tmp_path, RESPONSE).generate(asked)

        for words in ("Restore the input", "OPENROUTER_API_KEY", "DEFAULT_LLM_PROVIDER=sandbox"):
            assert words in caught.value.message
        assert "hello.replay.json, differs in messages" in caught.value.message
        assert caught.value.code == "replay_miss"

    async def test_an_answer_of_the_wrong_shape_is_said_with_its_file(self, tmp_path: Path) -> None:
        with pytest.raises(ReplayMissError, match=r"hello\.replay\.json.*response\.input_tokens"):
            await _provider(tmp_path, {**RESPONSE, "input_tokens": "many"}).generate(REQUEST)


class TestStream:
    async def test_gives_the_recorded_answer_in_pieces(self, tmp_path: Path) -> None:
        chunks = [chunk async for chunk in _provider(tmp_path, RESPONSE).stream(REQUEST)]

        assert "".join(chunk.text for chunk in chunks) == RESPONSE["content"]
        assert len(chunks) == 4  # 240 characters in pieces of 80, and the response
        assert chunks[-1].response is not None


class TestRecordedRequest:
    def test_leaves_out_what_does_not_shape_the_answer(self) -> None:
        request = LLMRequest(model="m", messages=(Message("system", "s"),), top_p=0.5, timeout_seconds=7)

        assert recorded_request(request) == {
            "model": "m",
            "messages": [{"role": "system", "content": "s"}],
            "top_p": 0.5,
        }


class TestRecordedAnswer:
    async def test_what_it_writes_is_found_again(self, tmp_path: Path) -> None:
        response = await SandboxProvider().generate(REQUEST)
        entry = {"service": SERVICE, "request": recorded_request(REQUEST), "response": recorded_response(response)}
        content = {"workflow": "w", "origin": "sandbox", "answers": [entry]}
        (tmp_path / "w.replay.json").write_text(json.dumps(content), encoding="utf-8")

        replayed = await ReplayProvider(RecordedAnswers.load(tmp_path), ModelPrices()).generate(REQUEST)

        assert replayed.content == response.content
