"""What is sent in OpenAI's format, and how the odd answers of its many servers are read."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from callboard.core.http_client import HttpClient
from callboard.llm.errors import LLMError, ProviderServerError, UnusableAnswerError
from callboard.llm.openai_compatible import OpenAICompatibleProvider
from callboard.llm.port import LLMRequest, Message
from callboard.llm.pricing import ModelPrices

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


class _Server:
    """Answers one body, whatever is asked, and keeps what was."""

    def __init__(self) -> None:
        self.answer: Any = {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}
        self.seen: dict[str, Any] = {}
        self.headers: dict[str, str] = {}
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.seen = orjson.loads(await request.read())
        self.headers = dict(request.headers)
        body = self.answer if isinstance(self.answer, bytes) else orjson.dumps(self.answer)
        kind = "text/event-stream" if self.seen.get("stream") else "application/json"
        return web.Response(body=body, content_type=kind)


@pytest.fixture
async def server() -> AsyncIterator[_Server]:
    server = _Server()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield server
    await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    http = HttpClient()
    yield http
    await http.close()


def _provider(
    server: _Server, http: HttpClient, name: str = "openai", key: str | None = "k"
) -> OpenAICompatibleProvider:
    return OpenAICompatibleProvider(name, base_url=server.url + "/", api_key=key, http=http, prices=ModelPrices())


def _request(model: str = "gpt-4o", **more: Any) -> LLMRequest:
    return LLMRequest(model=model, messages=(Message("system", "s"), Message("user", "u")), **more)


class TestRequest:
    async def test_sends_messages_and_key(self, server: _Server, http: HttpClient) -> None:
        await _provider(server, http).generate(_request())

        assert server.seen == {
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        }
        assert server.headers["Authorization"] == "Bearer k"

    async def test_sends_no_authorization_without_a_key(self, server: _Server, http: HttpClient) -> None:
        await _provider(server, http, "ollama", None).generate(_request())

        assert "Authorization" not in server.headers

    @pytest.mark.parametrize(
        ("name", "field"),
        [("openai", "max_completion_tokens"), ("openrouter", "max_tokens"), ("ollama", "max_tokens")],
    )
    async def test_names_the_limit_as_the_server_does(
        self, server: _Server, http: HttpClient, name: str, field: str
    ) -> None:
        await _provider(server, http, name).generate(_request(max_tokens=7))

        assert {key: value for key, value in server.seen.items() if key.startswith("max")} == {field: 7}

    @pytest.mark.parametrize(
        ("name", "model", "is_sent"),
        [
            ("openai", "gpt-4o", True),
            ("openai", "gpt-5-chat-latest", True),
            ("openai", "gpt-5.1", True),
            ("openai", "gpt-5-mini", False),
            ("openai", "o3-mini", False),
            ("openrouter", "openai/o3-mini", True),
            ("ollama", "o3-mini", True),
        ],
    )
    async def test_leaves_out_sampling_that_the_model_would_refuse(
        self, server: _Server, http: HttpClient, name: str, model: str, *, is_sent: bool
    ) -> None:
        await _provider(server, http, name).generate(_request(model, temperature=0.0, top_p=0.5))

        assert ("temperature" in server.seen, "top_p" in server.seen) == (is_sent, is_sent)

    async def test_asks_openrouter_for_the_cost(self, server: _Server, http: HttpClient) -> None:
        await _provider(server, http, "openrouter").generate(_request())

        assert server.seen["usage"] == {"include": True}

    @pytest.mark.parametrize("strict", [True, False])
    async def test_asks_for_the_schema_strictly_where_it_is_strict(
        self, server: _Server, http: HttpClient, *, strict: bool
    ) -> None:
        schema = SCHEMA if strict else {**SCHEMA, "required": []}

        await _provider(server, http).generate(_request(output_schema=schema))

        assert server.seen["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": strict},
        }

    async def test_says_in_words_what_is_no_object(self, server: _Server, http: HttpClient) -> None:
        await _provider(server, http).generate(_request(output_schema={"type": "array"}))

        assert "response_format" not in server.seen
        assert '{"type":"array"}' in server.seen["messages"][0]["content"]

    @pytest.mark.parametrize("key", ["with\nbreak", "with space", "schlüssel"])
    async def test_refuses_a_key_that_no_header_can_carry(self, server: _Server, http: HttpClient, key: str) -> None:
        with pytest.raises(ValueError, match="API key of openai") as caught:
            _provider(server, http, key=key)

        assert key not in str(caught.value)


def _choice(message: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish}]}


class TestAnswer:
    @pytest.mark.parametrize(
        ("answer", "content", "finish"),
        [
            (_choice({"content": "hi"}), "hi", "stop"),
            (_choice({"content": None}, "length"), "", "length"),
            (_choice({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), "ab", "stop"),
            (_choice({"content": None, "refusal": "I will not."}), "I will not.", "content_filter"),
            (_choice({"content": None, "tool_calls": []}, "function_call"), "", "tool_calls"),
            (_choice({"content": "hi"}, "eos"), "hi", "other"),
            (_choice({"content": "hi"}, None), "hi", "other"),
        ],
        ids=["plain", "cut", "parts", "refusal", "tool", "unknown reason", "no reason"],
    )
    async def test_reads_what_servers_write(
        self, server: _Server, http: HttpClient, answer: dict[str, Any], content: str, finish: str
    ) -> None:
        server.answer = answer

        response = await _provider(server, http).generate(_request())

        assert (response.content, response.finish_reason, response.model) == (content, finish, "gpt-4o")

    async def test_an_answer_without_usage_counts_nothing_and_is_said(self, server: _Server, http: HttpClient) -> None:
        with capture_logs() as logs:
            response = await _provider(server, http).generate(_request())

        assert response.usage.total_tokens == 0
        assert "llm.usage_missing" in [log["event"] for log in logs]

    @pytest.mark.parametrize(
        "answer",
        [
            {},
            {"choices": []},
            {"choices": [{}]},
            {"choices": "none"},
            {"choices": [{"message": {"content": 5}}]},
            {**_choice({"content": "x"}), "usage": {"prompt_tokens": -1}},
            {**_choice({"content": "x"}), "usage": {"cost": "NaN"}},
            [],
            b"null",
            b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        ],
        ids=["nothing", "none", "no message", "text", "number", "negative", "nan", "list", "null", "lone surrogate"],
    )
    async def test_refuses_what_cannot_be_used(self, server: _Server, http: HttpClient, answer: Any) -> None:
        server.answer = answer

        with pytest.raises(UnusableAnswerError):
            await _provider(server, http).generate(_request())

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (
                {"code": 502, "message": "Provider returned error", "metadata": {"raw": "model is down"}},
                "model is down",
            ),
            ("just text", "just text"),
            ({"code": "strange"}, "strange"),
        ],
        ids=["openrouter", "text", "no message"],
    )
    async def test_an_error_inside_an_answer_is_an_error(
        self, server: _Server, http: HttpClient, error: Any, message: str
    ) -> None:
        server.answer = {"error": error}

        with pytest.raises(ProviderServerError, match=message):
            await _provider(server, http).generate(_request())

    async def test_an_error_that_repeats_the_key_does_not_pass_it_on(self, server: _Server, http: HttpClient) -> None:
        server.answer = {"error": {"message": "key 'my-secret' is bad", "code": 401}}
        provider = _provider(server, http, key="my-secret")

        with pytest.raises(LLMError) as caught:
            await provider.generate(_request())

        assert "my-secret" not in f"{caught.value!r} {caught.value} {caught.value.details} {provider!r}"
