"""The contract of a language model provider, kept by every one of them, over a real socket.

The fake server speaks the vendors' formats. That it speaks them rightly, and that we read them rightly, is
checked by the vendors' own SDKs against the same server: they and we must read the same.
"""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import anthropic
import openai
import pytest
from structlog.testing import capture_logs

from callboard.core.errors import PermanentError, TemporaryError
from callboard.core.http_client import HttpClient, HttpRequest
from callboard.core.replay import RecordedAnswers
from callboard.llm.anthropic import AnthropicProvider
from callboard.llm.client import Candidate, LLMClient
from callboard.llm.errors import (
    LLMError,
    ProviderAuthError,
    ProviderBadRequestError,
    ProviderConnectionError,
    ProviderCreditsError,
    ProviderRateLimitError,
    ProviderServerError,
    ProviderTimeoutError,
    UnusableAnswerError,
)
from callboard.llm.openai_compatible import OpenAICompatibleProvider
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse, Message, Provider
from callboard.llm.pricing import ModelPrices
from callboard.llm.replay import ReplayProvider, recorded_request
from callboard.llm.sandbox import SandboxProvider
from tests.fixtures.fake_llm import GOOD_KEY, WRONG_KEY, FakeLLM

ROOT = Path(__file__).parents[2]
WIRE = ["openrouter", "openai", "ollama", "anthropic"]
KEYED = ["openrouter", "openai", "anthropic"]
ALL = [*WIRE, "sandbox", "replay"]
MODELS = {
    "openrouter": "anthropic/claude-3.5-sonnet",
    "openai": "gpt-4o",
    "ollama": "llama3.1",
    "anthropic": "claude-sonnet-5-5",
    "sandbox": "gpt-4o",
    "replay": "gpt-4o",
}
CALLS_AT_ONCE = 100  # two sockets each; some machines give a process 256 files
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    http = HttpClient()
    yield http
    await http.close()


Build: TypeAlias = Callable[..., Provider]


@pytest.fixture
def build(fake: FakeLLM, http: HttpClient, tmp_path: Path) -> Build:
    """Give a function that builds the provider of a name, pointed at the fake server."""

    def build_provider(name: str, key: str = GOOD_KEY) -> Provider:
        prices = ModelPrices()
        urls = {"openrouter": fake.openrouter_url, "openai": fake.openai_url, "ollama": fake.ollama_url}
        if name in urls:
            api_key = None if name == "ollama" else key
            return OpenAICompatibleProvider(name, base_url=urls[name], api_key=api_key, http=http, prices=prices)
        if name == "anthropic":
            return AnthropicProvider(api_key=key, http=http, prices=prices, base_url=fake.anthropic_url)
        return SandboxProvider() if name == "sandbox" else ReplayProvider(_recorded(tmp_path), prices)

    return build_provider


def _request(name: str, prompt: str = "Where is it?", timeout_seconds: float = 5.0, **more: Any) -> LLMRequest:
    messages = (Message("system", "Be short."), Message("user", prompt))
    return LLMRequest(model=MODELS[name], messages=messages, timeout_seconds=timeout_seconds, **more)


def _recorded(folder: Path) -> RecordedAnswers:
    response = {"content": "In Seattle, of course", "model": "gpt-4o", "provider": "openai"}
    counts = {"input_tokens": 5, "output_tokens": 4, "duration_ms": 10}
    answer = {"service": "llm", "request": recorded_request(_request("replay")), "response": {**response, **counts}}
    content = {"workflow": "w", "origin": "this test", "answers": [answer]}
    (folder / "w.replay.json").write_text(json.dumps(content), encoding="utf-8")
    return RecordedAnswers.load(folder)


async def _streamed(provider: Provider, request: LLMRequest) -> tuple[list[str], LLMResponse]:
    chunks = [chunk async for chunk in provider.stream(request)]
    *pieces, last = chunks
    assert last.response is not None
    assert all(piece.response is None for piece in pieces)
    return [piece.text for piece in pieces], last.response


async def _call(provider: Provider, request: LLMRequest, *, way: str) -> LLMResponse:
    if way == "generate":
        return await provider.generate(request)
    return (await _streamed(provider, request))[1]


class _Single:
    """A client that asks one provider only, called like a provider."""

    def __init__(self, provider: Provider) -> None:
        self._client = LLMClient([provider])
        self.name = provider.name

    async def generate(self, request: LLMRequest) -> LLMResponse:
        return await self._client.generate(request, [Candidate(self.name, request.model)])

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        async for chunk in self._client.stream(request, [Candidate(self.name, request.model)]):
            yield chunk

    async def close(self) -> None:
        await self._client.close()


class TestEveryProvider:
    @pytest.mark.parametrize("name", ALL)
    async def test_answers_with_all_that_the_port_promises(self, build: Build, name: str) -> None:
        response = await build(name).generate(_request(name))

        assert response.content
        assert response.provider == name
        assert response.usage.input_tokens > 0
        assert response.usage.output_tokens > 0
        assert isinstance(response.cost.usd, Decimal)
        assert response.duration_ms >= 0
        assert response.finish_reason == "stop"

    @pytest.mark.parametrize("name", ALL)
    async def test_streams_the_same_answer_in_pieces(self, build: Build, name: str) -> None:
        provider = build(name)
        whole = await provider.generate(_request(name))

        pieces, response = await _streamed(provider, _request(name))

        assert "".join(pieces) == response.content == whole.content
        assert all(pieces)
        assert (response.usage, response.cost, response.finish_reason, response.model, response.response_id) == (
            whole.usage, whole.cost, whole.finish_reason, whole.model, whole.response_id,
        )  # fmt: skip

    @pytest.mark.parametrize("name", ALL)
    async def test_closes_without_closing_the_others(self, build: Build, name: str) -> None:
        provider, other = build(name), build("openai")

        await provider.close()

        assert (await other.generate(_request("openai"))).content


class TestCost:
    async def test_openrouter_reports_it(self, build: Build) -> None:
        response = await build("openrouter").generate(_request("openrouter", "[[tokens:1000:100]]"))

        assert (response.cost.usd, response.cost.source) == (Decimal("0.0045"), "provider")  # 1000 x 3 + 100 x 15 USD/M

    @pytest.mark.parametrize(("name", "usd"), [("openai", "0.0035"), ("anthropic", "0.003")])
    async def test_others_are_looked_up(self, build: Build, name: str, usd: str) -> None:
        response = await build(name).generate(_request(name, "[[tokens:1000:100]]"))

        assert (response.cost.usd, response.cost.source) == (Decimal(usd), "genai-prices")

    async def test_a_model_of_ones_own_costs_nothing(self, build: Build) -> None:
        response = await build("ollama").generate(_request("ollama"))

        assert (response.cost.usd, response.cost.source) == (Decimal(0), "none")


class TestStructuredOutput:
    @pytest.mark.parametrize("way", ["generate", "stream"])
    @pytest.mark.parametrize("name", [*WIRE, "sandbox"])
    async def test_the_answer_is_json_in_the_content(self, build: Build, name: str, way: str) -> None:
        request = _request(name, '[[json:{"city": "Seattle"}]]', output_schema=SCHEMA)

        response = await _call(build(name), request, way=way)

        assert json.loads(response.content)["city"]
        assert response.finish_reason == "stop"


FAULTS = [
    ("fail:400", ProviderBadRequestError),
    ("fail:401", ProviderAuthError),
    ("fail:402", ProviderCreditsError),
    ("fail:403", ProviderAuthError),
    ("fail:404", ProviderBadRequestError),
    ("fail:408", ProviderTimeoutError),
    ("fail:429", ProviderRateLimitError),
    ("fail:500", ProviderServerError),
    ("fail:503", ProviderServerError),
    ("fail:504", ProviderTimeoutError),
    ("fail:529", ProviderServerError),
    ("error-in-answer:429", ProviderRateLimitError),
    ("garbage", UnusableAnswerError),
    ("html", UnusableAnswerError),
    ("empty", UnusableAnswerError),
    ("no-choice", UnusableAnswerError),
    ("half", UnusableAnswerError),
    ("close", ProviderConnectionError),
    ("hang", ProviderTimeoutError),
]
STREAM_FAULTS = [
    ("no-end", UnusableAnswerError),
    ("error-mid-stream:529", ProviderServerError),
]
TEMPORARY = (
    ProviderRateLimitError, ProviderTimeoutError, ProviderServerError, ProviderConnectionError, UnusableAnswerError,
)  # fmt: skip


class TestFaults:
    @pytest.mark.parametrize("way", ["generate", "stream"])
    @pytest.mark.parametrize(("fault", "kind"), FAULTS, ids=[fault for fault, _ in FAULTS])
    @pytest.mark.parametrize("name", WIRE)
    async def test_each_has_its_error(
        self, build: Build, name: str, fault: str, kind: type[LLMError], way: str
    ) -> None:
        patience_seconds = 0.3 if fault == "hang" else 10
        request = _request(name, f"one two three [[{fault}]]", timeout_seconds=patience_seconds)

        with pytest.raises(LLMError) as caught:
            await _call(build(name), request, way=way)

        assert type(caught.value) is kind
        assert isinstance(caught.value, TemporaryError if kind in TEMPORARY else PermanentError)
        assert caught.value.details["provider"] == name

    @pytest.mark.parametrize(("fault", "kind"), STREAM_FAULTS, ids=[fault for fault, _ in STREAM_FAULTS])
    @pytest.mark.parametrize("name", WIRE)
    async def test_a_stream_has_faults_of_its_own(
        self, build: Build, name: str, fault: str, kind: type[LLMError]
    ) -> None:
        with pytest.raises(kind):
            await _streamed(build(name), _request(name, f"one two three [[{fault}]]"))

    @pytest.mark.parametrize("name", WIRE)
    @pytest.mark.parametrize(
        ("option", "low", "high"), [("retry=7", 7, 7), ("retry=0.5", 0.5, 0.5), ("retry-date=30", 27, 31)]
    )
    async def test_retry_after_is_kept(self, build: Build, name: str, option: str, low: float, high: float) -> None:
        with pytest.raises(ProviderRateLimitError) as caught:
            await build(name).generate(_request(name, f"[[fail:429:{option}]]"))

        assert caught.value.retry_after_seconds is not None
        assert low <= caught.value.retry_after_seconds <= high

    async def test_openrouter_may_put_the_error_into_the_choice(self, build: Build) -> None:
        with pytest.raises(ProviderServerError, match="The model behind this failed"):
            await build("openrouter").generate(_request("openrouter", "[[error-in-choice:502]]"))

    async def test_a_used_up_quota_is_no_reason_to_try_again(self, build: Build) -> None:
        with pytest.raises(ProviderCreditsError):
            await build("openai").generate(_request("openai", "[[fail:429:code=insufficient_quota]]"))

    @pytest.mark.parametrize("name", WIRE)
    async def test_it_never_tries_again_by_itself(self, build: Build, fake: FakeLLM, name: str) -> None:
        with pytest.raises(ProviderServerError):
            await build(name).generate(_request(name, "[[key:k]][[fail:500]]"))

        assert fake.started["k"] == 1

    @pytest.mark.parametrize("name", WIRE)
    async def test_the_next_call_after_each_fault_goes_through(self, build: Build, name: str) -> None:
        provider = build(name)
        for fault in ("half", "close", "garbage", "empty"):
            with pytest.raises(LLMError):
                await provider.generate(_request(name, f"a b c [[{fault}]]"))

            assert (await provider.generate(_request(name))).content


class TestStream:
    @pytest.mark.parametrize("text", ["Grüße aus 東京 😀", "two\nlines\n\nand data: x", "x" * 5000])
    @pytest.mark.parametrize("name", WIRE)
    async def test_text_arrives_whole_wherever_it_is_cut(self, build: Build, name: str, text: str) -> None:
        pieces, response = await _streamed(build(name), _request(name, f"[[bytewise]][[crlf]][[say:{text}]]"))

        assert "".join(pieces) == response.content == text

    @pytest.mark.parametrize("name", WIRE)
    async def test_uses_the_connection_again(self, build: Build, fake: FakeLLM, name: str) -> None:
        provider = build(name)

        for _ in range(3):
            await _streamed(provider, _request(name, "[[late-end]]"))

        assert len(fake.connections) == 1

    @pytest.mark.parametrize("name", WIRE)
    async def test_hanging_up_in_the_middle_harms_nothing(self, build: Build, name: str) -> None:
        provider = build(name)
        async with aclosing(provider.stream(_request(name))) as chunks:  # type: ignore[type-var]
            first = await anext(chunks)

        response = await provider.generate(_request(name))

        assert response.content.startswith(first.text)


class TestKeys:
    @pytest.mark.parametrize("way", ["generate", "stream"])
    @pytest.mark.parametrize("name", KEYED)
    async def test_a_key_is_never_shown(
        self, build: Build, name: str, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        provider = build(name, WRONG_KEY)  # the server repeats it in its message
        caplog.set_level(logging.DEBUG)

        with capture_logs() as logs, pytest.raises(ProviderAuthError) as caught:
            await _call(_Single(provider), _request(name), way=way)

        shown = [repr(provider), repr(vars(provider)), str(caught.value), repr(caught.value), caught.value.details]
        assert WRONG_KEY not in str([*shown, logs, caplog.text])
        assert "Incorrect API key provided" in caught.value.message


class TestFakeProcess:
    async def test_serves_and_counts_as_a_process_of_its_own(self, http: HttpClient) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fixtures.fake_llm", "--port", "0", stdout=asyncio.subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        url = f"http://127.0.0.1:{json.loads(await process.stdout.readline())['port']}"
        provider = OpenAICompatibleProvider(
            "openai", base_url=f"{url}/v1", api_key=GOOD_KEY, http=http, prices=ModelPrices()
        )

        await provider.generate(_request("openai", "[[key:abc]]"))
        counts = await http.send(HttpRequest(method="GET", url=f"{url}/counts", headers={}, timeout_seconds=5))

        process.terminate()
        await process.wait()
        assert json.loads(counts.body)["finished"] == {"abc": 1}


class TestLoad:
    async def test_holds_many_calls_at_once(self, build: Build, fake: FakeLLM) -> None:
        provider = build("openai")
        requests = [_request("openai", f"[[key:k{index}]][[delay:0.3]]", 30) for index in range(CALLS_AT_ONCE)]

        responses = await asyncio.gather(*(provider.generate(request) for request in requests))

        assert len(responses) == CALLS_AT_ONCE
        assert fake.finished == {f"k{index}": 1 for index in range(CALLS_AT_ONCE)}
        assert fake.most_in_flight == CALLS_AT_ONCE


OPENAI_FINISH = {"stop": "stop", "length": "length", "content_filter": "content_filter", "tool_calls": "tool_calls"}
ANTHROPIC_FINISH = {"end_turn": "stop", "max_tokens": "length", "refusal": "content_filter", "tool_use": "tool_calls"}
PROMPTS = [
    "Where is it?",
    "[[say:Grüße aus 東京 😀\n\nzwei]]",
    "[[tokens:1234:567]] how long?",
    "[[finish:length]] cut",
    "[[bytewise]] slow one",
]


class TestOpenAIOracle:
    @pytest.fixture(params=["openai", "openrouter", "ollama"])
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    async def sdk(self, fake: FakeLLM, name: str) -> AsyncIterator[openai.AsyncOpenAI]:
        urls = {"openrouter": fake.openrouter_url, "openai": fake.openai_url, "ollama": fake.ollama_url}
        async with openai.AsyncOpenAI(base_url=urls[name], api_key=GOOD_KEY, max_retries=0, timeout=0.5) as sdk:
            yield sdk

    @pytest.mark.parametrize("prompt", PROMPTS)
    async def test_we_read_the_same_answer(self, build: Build, sdk: openai.AsyncOpenAI, name: str, prompt: str) -> None:
        theirs = await sdk.chat.completions.create(model=MODELS[name], messages=_messages(prompt))

        ours = await build(name).generate(_request(name, prompt))

        assert theirs.usage is not None
        assert ours.content == theirs.choices[0].message.content
        assert ours.finish_reason == OPENAI_FINISH[theirs.choices[0].finish_reason]
        assert (ours.model, ours.response_id) == (theirs.model, theirs.id)
        assert (ours.usage.input_tokens, ours.usage.output_tokens, ours.usage.total_tokens) == (
            theirs.usage.prompt_tokens, theirs.usage.completion_tokens, theirs.usage.total_tokens,
        )  # fmt: skip

    @pytest.mark.parametrize("prompt", PROMPTS)
    async def test_we_read_the_same_stream(self, build: Build, sdk: openai.AsyncOpenAI, name: str, prompt: str) -> None:
        pieces, usage = [], None
        stream = await sdk.chat.completions.create(
            model=MODELS[name], messages=_messages(prompt), stream=True, stream_options={"include_usage": True}
        )
        async for chunk in stream:
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            usage = chunk.usage or usage

        ours, response = await _streamed(build(name), _request(name, prompt))

        assert usage is not None
        assert ours == pieces
        assert (response.usage.input_tokens, response.usage.output_tokens) == (
            usage.prompt_tokens, usage.completion_tokens,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("fault", "theirs", "ours"),
        [
            ("fail:400", openai.BadRequestError, ProviderBadRequestError),
            ("fail:401", openai.AuthenticationError, ProviderAuthError),
            ("fail:403", openai.PermissionDeniedError, ProviderAuthError),
            ("fail:404", openai.NotFoundError, ProviderBadRequestError),
            ("fail:422", openai.UnprocessableEntityError, ProviderBadRequestError),
            ("fail:409", openai.ConflictError, ProviderRateLimitError),
            ("fail:429", openai.RateLimitError, ProviderRateLimitError),
            ("fail:500", openai.InternalServerError, ProviderServerError),
            ("fail:503", openai.InternalServerError, ProviderServerError),
            ("close", openai.APIConnectionError, ProviderConnectionError),
            ("hang", openai.APITimeoutError, ProviderTimeoutError),
        ],
        ids=lambda value: value if isinstance(value, str) else value.__name__,
    )
    async def test_we_name_the_same_faults(
        self,
        build: Build,
        sdk: openai.AsyncOpenAI,
        name: str,
        fault: str,
        theirs: type[Exception],
        ours: type[LLMError],
    ) -> None:
        prompt = f"[[{fault}]]"

        with pytest.raises(openai.APIError) as their_error:
            await sdk.chat.completions.create(model=MODELS[name], messages=_messages(prompt))
        with pytest.raises(LLMError) as our_error:
            await build(name).generate(_request(name, prompt, timeout_seconds=0.5))

        assert (type(their_error.value), type(our_error.value)) == (theirs, ours)

    async def test_an_error_in_the_middle_of_a_stream_is_one_for_both(
        self, build: Build, sdk: openai.AsyncOpenAI, name: str
    ) -> None:
        prompt = "one two [[error-mid-stream:502]]"
        stream = await sdk.chat.completions.create(model=MODELS[name], messages=_messages(prompt), stream=True)

        with pytest.raises(openai.APIError, match="It broke"):
            [chunk async for chunk in stream]
        with pytest.raises(ProviderServerError, match="It broke"):
            await _streamed(build(name), _request(name, prompt))

    async def test_what_we_send_is_what_the_sdk_sends(
        self, build: Build, sdk: openai.AsyncOpenAI, fake: FakeLLM
    ) -> None:
        response_format: Any = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        }
        await sdk.chat.completions.create(
            model="gpt-4o",
            messages=_messages("Hi"),
            max_completion_tokens=9,
            temperature=0.5,
            response_format=response_format,
        )

        request = _request("openai", "Hi", max_tokens=9, temperature=0.5, output_schema=SCHEMA)
        await build("openai").generate(request)

        theirs, ours = (seen.body for seen in fake.requests)
        assert ours == theirs


class TestAnthropicOracle:
    @pytest.fixture
    async def sdk(self, fake: FakeLLM) -> AsyncIterator[anthropic.AsyncAnthropic]:
        async with anthropic.AsyncAnthropic(
            base_url=fake.anthropic_url, api_key=GOOD_KEY, max_retries=0, timeout=0.5
        ) as sdk:
            yield sdk

    @pytest.mark.parametrize("prompt", [*PROMPTS, "[[finish:content_filter]] no"])
    async def test_we_read_the_same_answer(self, build: Build, sdk: anthropic.AsyncAnthropic, prompt: str) -> None:
        theirs = await sdk.messages.create(**_anthropic_call(prompt))

        ours = await build("anthropic").generate(_request("anthropic", prompt))

        assert ours.content == "".join(block.text for block in theirs.content if block.type == "text")
        assert ours.finish_reason == ANTHROPIC_FINISH[str(theirs.stop_reason)]
        assert (ours.model, ours.response_id) == (theirs.model, theirs.id)
        assert (ours.usage.input_tokens, ours.usage.output_tokens) == (
            theirs.usage.input_tokens, theirs.usage.output_tokens,
        )  # fmt: skip

    @pytest.mark.parametrize("prompt", PROMPTS)
    async def test_we_read_the_same_stream(self, build: Build, sdk: anthropic.AsyncAnthropic, prompt: str) -> None:
        async with sdk.messages.stream(**_anthropic_call(prompt)) as stream:
            pieces = [text async for text in stream.text_stream]
            theirs = await stream.get_final_message()

        ours, response = await _streamed(build("anthropic"), _request("anthropic", prompt))

        assert ours == pieces
        assert response.finish_reason == ANTHROPIC_FINISH[str(theirs.stop_reason)]
        assert (response.usage.input_tokens, response.usage.output_tokens) == (
            theirs.usage.input_tokens, theirs.usage.output_tokens,
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("fault", "theirs", "ours"),
        [
            ("fail:400", anthropic.BadRequestError, ProviderBadRequestError),
            ("fail:401", anthropic.AuthenticationError, ProviderAuthError),
            ("fail:403", anthropic.PermissionDeniedError, ProviderAuthError),
            ("fail:404", anthropic.NotFoundError, ProviderBadRequestError),
            ("fail:409", anthropic.ConflictError, ProviderRateLimitError),
            ("fail:429", anthropic.RateLimitError, ProviderRateLimitError),
            ("fail:500", anthropic.InternalServerError, ProviderServerError),
            ("close", anthropic.APIConnectionError, ProviderConnectionError),
            ("hang", anthropic.APITimeoutError, ProviderTimeoutError),
        ],
        ids=lambda value: value if isinstance(value, str) else value.__name__,
    )
    async def test_we_name_the_same_faults(
        self,
        build: Build,
        sdk: anthropic.AsyncAnthropic,
        fault: str,
        theirs: type[Exception],
        ours: type[LLMError],
    ) -> None:
        prompt = f"[[{fault}]]"

        with pytest.raises(anthropic.APIError) as their_error:
            await sdk.messages.create(**_anthropic_call(prompt))
        with pytest.raises(LLMError) as our_error:
            await build("anthropic").generate(_request("anthropic", prompt, timeout_seconds=0.5))

        assert (type(their_error.value), type(our_error.value)) == (theirs, ours)

    async def test_an_error_in_the_middle_of_a_stream_is_one_for_both(
        self, build: Build, sdk: anthropic.AsyncAnthropic
    ) -> None:
        prompt = "one two [[error-mid-stream:529]]"

        with pytest.raises(anthropic.APIStatusError):
            async with sdk.messages.stream(**_anthropic_call(prompt)) as stream:
                await stream.get_final_message()
        with pytest.raises(ProviderServerError, match="It broke"):
            await _streamed(build("anthropic"), _request("anthropic", prompt))

    async def test_what_we_send_is_what_the_sdk_sends(
        self, build: Build, sdk: anthropic.AsyncAnthropic, fake: FakeLLM
    ) -> None:
        schema: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
        call = {**_anthropic_call("Hi"), "max_tokens": 9, "output_config": schema}
        await sdk.messages.create(**call)

        await build("anthropic").generate(_request("anthropic", "Hi", max_tokens=9, output_schema=SCHEMA))

        theirs, ours = (seen.body for seen in fake.requests)
        assert ours == theirs


def _messages(prompt: str) -> Any:
    return [{"role": "system", "content": "Be short."}, {"role": "user", "content": prompt}]


def _anthropic_call(prompt: str) -> dict[str, Any]:
    return {
        "model": MODELS["anthropic"],
        "max_tokens": 100,
        "system": "Be short.",
        "messages": [{"role": "user", "content": prompt}],
    }
