"""Which candidate is asked, when the next one is, and what is told about it."""

from collections.abc import AsyncIterator, Sequence

import pytest
from structlog.testing import capture_logs

from callboard.core.breaker import CircuitBreakers
from callboard.core.pricing import NO_COST
from callboard.llm.client import Candidate, LLMClient
from callboard.llm.errors import (
    LLMError,
    MissingKeyError,
    ProviderAuthError,
    ProviderBadRequestError,
    ProviderCircuitOpenError,
    ProviderConnectionError,
    ProviderCreditsError,
    ProviderRateLimitError,
    ProviderServerError,
    ProviderTimeoutError,
    UnknownProviderError,
    UnusableAnswerError,
)
from callboard.llm.port import LLMChunk, LLMRequest, LLMResponse, Message, Usage
from callboard.llm.sandbox import SandboxProvider

REQUEST = LLMRequest(model="whatever", messages=(Message("user", "a prompt nobody may log"),))
FIRST, SECOND = Candidate("first", "m1"), Candidate("second", "m2")


class ScriptedProvider:
    """Answers, or raises, what its script says, in order; then the last entry again."""

    def __init__(self, name: str, *script: LLMError | str, pieces: Sequence[str] = ()) -> None:
        self.name = name
        self.calls: list[LLMRequest] = []
        self.is_closed = False
        self._script = list(script)
        self._pieces = pieces

    async def generate(self, request: LLMRequest) -> LLMResponse:
        self.calls.append(request)
        outcome = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(outcome, LLMError):
            raise outcome
        return LLMResponse(
            content=outcome,
            model=request.model,
            provider=self.name,
            usage=Usage(input_tokens=3, output_tokens=5),
            cost=NO_COST,
            duration_ms=1,
            finish_reason="stop",
        )

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        for piece in self._pieces:
            yield LLMChunk(text=piece)
        yield LLMChunk(response=await self.generate(request))

    async def close(self) -> None:
        self.is_closed = True


def _client(*providers: ScriptedProvider, threshold: int = 3) -> LLMClient:
    return LLMClient(providers, breakers=CircuitBreakers(threshold=threshold, open_seconds=60))


class TestGenerate:
    async def test_asks_the_first_candidate_for_its_model(self) -> None:
        first, second = ScriptedProvider("first", "one"), ScriptedProvider("second", "two")

        response = await _client(first, second).generate(REQUEST, [FIRST, SECOND])

        assert (response.content, first.calls[0].model) == ("one", "m1")
        assert second.calls == []

    @pytest.mark.parametrize(
        "error",
        [
            ProviderAuthError("e"),
            ProviderCreditsError("e"),
            ProviderRateLimitError("e"),
            ProviderTimeoutError("e"),
            ProviderServerError("e"),
            ProviderConnectionError("e"),
            UnusableAnswerError("e"),
        ],
        ids=lambda error: error.code,
    )
    async def test_falls_back_on_failures_that_another_may_not_share(self, error: LLMError) -> None:
        first, second = ScriptedProvider("first", error), ScriptedProvider("second", "two")

        response = await _client(first, second).generate(REQUEST, [FIRST, SECOND])

        assert (response.content, response.model) == ("two", "m2")

    async def test_does_not_fall_back_on_a_refused_request(self) -> None:
        first, second = ScriptedProvider("first", ProviderBadRequestError("no")), ScriptedProvider("second", "two")

        with pytest.raises(ProviderBadRequestError):
            await _client(first, second).generate(REQUEST, [FIRST, SECOND])

        assert second.calls == []

    async def test_never_asks_a_candidate_twice(self) -> None:
        first = ScriptedProvider("first", ProviderServerError("e"), "one")

        with pytest.raises(ProviderServerError):
            await _client(first).generate(REQUEST, [FIRST])

        assert len(first.calls) == 1

    async def test_tells_what_became_of_each(self) -> None:
        first = ScriptedProvider("first", ProviderTimeoutError("slow"))
        second = ScriptedProvider("second", ProviderServerError("broken"))

        with pytest.raises(ProviderServerError) as caught:
            await _client(first, second).generate(REQUEST, [FIRST, SECOND])

        assert caught.value.details["tried"] == [
            {"provider": "first", "model": "m1", "code": "provider_timeout", "message": "slow"},
            {"provider": "second", "model": "m2", "code": "provider_server_error", "message": "broken"},
        ]

    async def test_a_temporary_failure_speaks_for_a_permanent_one_after_it(self) -> None:
        first = ScriptedProvider("first", ProviderRateLimitError("slow down", retry_after_seconds=7))
        second = ScriptedProvider("second", ProviderAuthError("bad key"))

        with pytest.raises(ProviderRateLimitError) as caught:
            await _client(first, second).generate(REQUEST, [FIRST, SECOND])

        assert caught.value.retry_after_seconds == 7

    async def test_an_unknown_provider_is_named_with_the_nearest(self) -> None:
        with pytest.raises(UnknownProviderError, match="Did you mean first"):
            await _client(ScriptedProvider("first", "one")).generate(REQUEST, [Candidate("frist", "m")])

    async def test_a_known_provider_without_a_key_names_the_setting_and_falls_back(self) -> None:
        client = _client(ScriptedProvider("first", "one"))

        with pytest.raises(MissingKeyError, match="OPENAI_API_KEY"):
            await client.generate(REQUEST, [Candidate("openai", "gpt-4o")])
        response = await client.generate(REQUEST, [Candidate("openai", "gpt-4o"), FIRST])

        assert response.content == "one"


class TestCircuit:
    @pytest.mark.parametrize(
        "error",
        [ProviderTimeoutError("e"), ProviderServerError("e"), ProviderConnectionError("e"), UnusableAnswerError("e")],
        ids=lambda error: error.code,
    )
    async def test_opens_after_failures_of_the_provider(self, error: LLMError) -> None:
        provider = ScriptedProvider("first", error)
        client = _client(provider)
        for _ in range(3):
            with pytest.raises(type(error)):
                await client.generate(REQUEST, [FIRST])

        with pytest.raises(ProviderCircuitOpenError) as caught:
            await client.generate(REQUEST, [FIRST])

        assert len(provider.calls) == 3
        assert caught.value.retry_after_seconds == pytest.approx(60, abs=1)
        assert list(client.open_circuits()) == ["first/m1"]

    @pytest.mark.parametrize(
        "error",
        [ProviderAuthError("e"), ProviderCreditsError("e"), ProviderRateLimitError("e"), ProviderBadRequestError("e")],
        ids=lambda error: error.code,
    )
    async def test_stays_closed_after_answers_of_a_healthy_provider(self, error: LLMError) -> None:
        client = _client(ScriptedProvider("first", error))

        for _ in range(5):
            with pytest.raises(type(error)):
                await client.generate(REQUEST, [FIRST])

    async def test_is_of_one_model_only(self) -> None:
        client = _client(ScriptedProvider("first", ProviderServerError("e"), "one"), threshold=1)
        with pytest.raises(ProviderServerError):
            await client.generate(REQUEST, [FIRST])

        response = await client.generate(REQUEST, [Candidate("first", "other")])

        assert response.content == "one"

    async def test_an_open_one_leads_to_the_fallback(self) -> None:
        first, second = ScriptedProvider("first", ProviderServerError("e")), ScriptedProvider("second", "two")
        client = _client(first, second, threshold=1)

        contents = [(await client.generate(REQUEST, [FIRST, SECOND])).content for _ in range(3)]

        assert (contents, len(first.calls)) == (["two"] * 3, 1)


class TestStream:
    async def test_gives_the_pieces_and_the_response(self) -> None:
        client = _client(ScriptedProvider("first", "one", pieces=("o", "ne")))

        chunks = [chunk async for chunk in client.stream(REQUEST, [FIRST])]

        assert [chunk.text for chunk in chunks] == ["o", "ne", ""]
        assert chunks[-1].response is not None

    async def test_falls_back_before_the_first_piece(self) -> None:
        first = ScriptedProvider("first", ProviderServerError("e"))
        second = ScriptedProvider("second", "two", pieces=("two",))

        chunks = [chunk async for chunk in _client(first, second).stream(REQUEST, [FIRST, SECOND])]

        assert [chunk.text for chunk in chunks] == ["two", ""]

    async def test_does_not_fall_back_after_it(self) -> None:
        first = ScriptedProvider("first", UnusableAnswerError("broke off"), pieces=("half",))
        second = ScriptedProvider("second", "two")
        chunks = _client(first, second).stream(REQUEST, [FIRST, SECOND])
        begin = await anext(chunks)

        with pytest.raises(UnusableAnswerError):
            await anext(chunks)

        assert (begin.text, second.calls) == ("half", [])

    async def test_an_abandoned_stream_is_closed_at_once(self) -> None:
        closed = []

        class EndlessProvider(ScriptedProvider):
            async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
                try:
                    while True:
                        yield LLMChunk(text=".")
                finally:
                    closed.append(request.model)

        chunks = _client(EndlessProvider("first", "one")).stream(REQUEST, [FIRST])
        await anext(chunks)
        await chunks.aclose()

        assert closed == ["m1"]


class TestTelling:
    async def test_logs_each_call_without_the_prompt(self) -> None:
        first, second = ScriptedProvider("first", ProviderServerError("e")), ScriptedProvider("second", "an answer")

        with capture_logs() as logs:
            await _client(first, second).generate(REQUEST, [FIRST, SECOND])

        assert [(log["event"], log["provider"], log["outcome"]) for log in logs] == [
            ("llm.call", "first", "provider_server_error"),
            ("llm.call", "second", "succeeded"),
        ]
        assert (logs[1]["input_tokens"], logs[1]["output_tokens"], logs[1]["cost_usd"]) == (3, 5, "0")
        assert "nobody may log" not in str(logs)

    async def test_tells_the_hook_each_outcome(self) -> None:
        told: list[tuple[str, str, str, bool]] = []
        providers = [ScriptedProvider("first", ProviderTimeoutError("e")), ScriptedProvider("second", "two")]
        client = LLMClient(
            providers, on_outcome=lambda provider, model, outcome, response: told.append(
                (provider, model, outcome, response is not None)
            )
        )  # fmt: skip

        await client.generate(REQUEST, [FIRST, SECOND])

        assert told == [("first", "m1", "provider_timeout", False), ("second", "m2", "succeeded", True)]


class TestClose:
    async def test_closes_every_provider(self) -> None:
        first, second = ScriptedProvider("first", "one"), ScriptedProvider("second", "two")

        await _client(first, second).close()

        assert (first.is_closed, second.is_closed) == (True, True)

    def test_names_what_is_there(self) -> None:
        assert LLMClient([SandboxProvider()]).provider_names == ("sandbox",)
