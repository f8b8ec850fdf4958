"""What is sent to Anthropic: the system prompt apart, a limit always, and schemas in the way the model knows."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from callboard.core.http_client import HttpClient
from callboard.llm.anthropic import AnthropicProvider
from callboard.llm.errors import ProviderCreditsError
from callboard.llm.port import LLMRequest, Message, Role
from callboard.llm.pricing import ModelPrices
from tests.fixtures.fake_llm import GOOD_KEY, FakeLLM

NEW, OLD = "claude-sonnet-4-5-20250929", "claude-3-5-sonnet-20241022"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}, "required": ["a"]}
OPEN_SCHEMA = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


@pytest.fixture
async def provider(fake: FakeLLM) -> AsyncIterator[AnthropicProvider]:
    http = HttpClient()
    yield AnthropicProvider(api_key=GOOD_KEY, http=http, prices=ModelPrices(), base_url=fake.anthropic_url)
    await http.close()


def _request(model: str = NEW, *turns: tuple[Role, str], **more: Any) -> LLMRequest:
    messages = tuple(Message(role, content) for role, content in turns or (("user", "Hi"),))
    return LLMRequest(model=model, messages=messages, **more)


class TestRequest:
    async def test_carries_the_system_prompt_apart(self, provider: AnthropicProvider, fake: FakeLLM) -> None:
        await provider.generate(_request(NEW, ("system", "a"), ("user", "Hi"), ("assistant", "Yes?"), ("system", "b")))

        body = fake.requests[-1].body
        assert body["system"] == "a\n\nb"
        assert [turn["role"] for turn in body["messages"]] == ["user", "assistant"]

    async def test_a_system_prompt_alone_is_asked_as_the_user(self, provider: AnthropicProvider, fake: FakeLLM) -> None:
        await provider.generate(_request(NEW, ("system", "Say hi")))

        body = fake.requests[-1].body
        assert (body["messages"], "system" in body) == ([{"role": "user", "content": "Say hi"}], False)

    @pytest.mark.parametrize(
        ("model", "asked", "sent"),
        [(NEW, None, 8192), (OLD, None, 8192), ("claude-3-haiku-20240307", None, 4096), (NEW, 5, 5)],
        ids=["new", "3.5", "3", "asked"],
    )
    async def test_always_sends_a_limit(
        self, provider: AnthropicProvider, fake: FakeLLM, model: str, asked: int | None, sent: int
    ) -> None:
        await provider.generate(_request(model, max_tokens=asked))

        assert fake.requests[-1].body["max_tokens"] == sent

    @pytest.mark.parametrize(
        ("model", "sent"),
        [
            (OLD, {"temperature", "top_p"}),
            ("claude-sonnet-4-20250514", {"temperature", "top_p"}),
            (NEW, {"temperature"}),
            ("claude-opus-4-6", {"temperature"}),
            ("claude-opus-4-7", set()),
            ("claude-sonnet-5", set()),
            ("claude-mythos-preview", set()),
        ],
    )
    async def test_sends_the_sampling_that_the_model_takes(
        self, provider: AnthropicProvider, fake: FakeLLM, model: str, sent: set[str]
    ) -> None:
        await provider.generate(_request(model, temperature=0.1, top_p=0.9))

        assert fake.requests[-1].body.keys() & {"temperature", "top_p"} == sent

    async def test_names_key_and_version_in_headers(self, provider: AnthropicProvider, fake: FakeLLM) -> None:
        await provider.generate(_request())

        headers = {name.lower(): value for name, value in fake.requests[-1].headers.items()}
        assert (headers["x-api-key"], headers["anthropic-version"]) == (GOOD_KEY, "2023-06-01")


class TestSchema:
    async def test_a_new_model_gets_it_as_the_format_of_the_answer(
        self, provider: AnthropicProvider, fake: FakeLLM
    ) -> None:
        response = await provider.generate(_request(NEW, ("user", '[[json:{"a":"x"}]]'), output_schema=SCHEMA))

        closed = {**SCHEMA, "properties": {"a": {"type": "string"}}, "additionalProperties": False}
        assert fake.requests[-1].body["output_config"] == {"format": {"type": "json_schema", "schema": closed}}
        assert (response.content, response.finish_reason) == ('{"a":"x"}', "stop")

    async def test_an_old_model_gets_it_as_a_tool_that_it_must_use(
        self, provider: AnthropicProvider, fake: FakeLLM
    ) -> None:
        response = await provider.generate(_request(OLD, ("user", '[[json:{"a":"x"}]]'), output_schema=SCHEMA))

        body = fake.requests[-1].body
        assert body["tools"][0]["input_schema"] == SCHEMA
        assert body["tool_choice"] == {"type": "tool", "name": "answer"}
        assert (response.content, response.finish_reason) == ('{"a":"x"}', "stop")

    async def test_the_input_of_the_tool_is_streamed_as_text(self, provider: AnthropicProvider) -> None:
        request = _request(OLD, ("user", '[[json:{"a": "x y"}]]'), output_schema=SCHEMA)

        chunks = [chunk async for chunk in provider.stream(request)]

        assert "".join(chunk.text for chunk in chunks) == '{"a": "x y"}'
        assert chunks[-1].response is not None
        assert chunks[-1].response.finish_reason == "stop"

    @pytest.mark.parametrize(("model", "schema"), [(NEW, OPEN_SCHEMA), (OLD, {"type": "array"})], ids=["new", "old"])
    async def test_what_neither_way_takes_is_said_in_words(
        self, provider: AnthropicProvider, fake: FakeLLM, model: str, schema: dict[str, Any]
    ) -> None:
        await provider.generate(_request(model, ("system", "s"), ("user", "u"), output_schema=schema))

        body = fake.requests[-1].body
        assert body.keys().isdisjoint({"output_config", "tools"})
        assert body["system"].startswith("s\n\nAnswer with one JSON value")


class TestUsage:
    async def test_counts_cached_input_within_the_input(self, provider: AnthropicProvider) -> None:
        response = await provider.generate(_request(NEW, ("user", "[[tokens:1000:100]][[cached:800]]")))

        assert (response.usage.input_tokens, response.usage.cached_input_tokens) == (1000, 800)
        assert response.cost.usd == Decimal("0.00234")  # 200 x 3 + 800 x 0.3 + 100 x 15 USD/M


class TestErrors:
    async def test_no_credits_are_told_apart_from_a_bad_request(self, provider: AnthropicProvider) -> None:
        prompt = "[[fail:400]][[reason:Your credit balance is too low to access the API.]]"

        with pytest.raises(ProviderCreditsError):
            await provider.generate(_request(NEW, ("user", prompt)))
