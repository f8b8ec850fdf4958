"""How an llm step asks: what is kept of its answers, and what a watcher of a streamed one is told."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from callboard.core.cache import AnswerCache
from callboard.core.json_values import JsonValue
from callboard.llm.errors import ProviderConnectionError, ProviderServerError
from callboard.workflows.errors import RunFailedError
from tests.fixtures.scripted_provider import ScriptedProvider, compile_llm_step
from tests.fixtures.scripted_steps import WatchedCheckpointer, run_workflow

SCHEMA = {"type": "object", "required": ["name"]}
KEPT: Mapping[str, Any] = {"prompt_text": "Hi ${input.who}", "cache_ttl": 60}


class Listener(WatchedCheckpointer):
    """Notes the text that it is told, by path."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, str]] = []

    def note_text(self, path: str, text: str) -> None:
        self.heard.append((path, text))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.heard)


async def run(
    cache: AnswerCache, provider: ScriptedProvider, config: Mapping[str, Any] = KEPT, *, who: str = "Ada", **step: Any
) -> JsonValue:
    workflow = compile_llm_step(config, provider, *step.pop("others", ()), cache=cache, **step)
    return await run_workflow(workflow, step.pop("journal", None), input_data={"who": who})


class TestKeptAnswers:
    async def test_cost_nothing(self) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", "Hello")
        first = await run(cache, provider)

        second = await run(cache, provider)

        assert (first["cached"], first["cost_usd"], first["usage"]["total_tokens"]) == (False, 0.000105, 15)
        assert (second["cached"], second["cost_usd"], second["usage"]["total_tokens"]) == (True, 0, 0)
        told = {"content": "Hello", "provider": "main", "model": "default-model-2026", "finish_reason": "stop"}
        assert {name: second[name] for name in told} == told

    async def test_have_a_usage_row_that_says_so(self) -> None:
        cache, provider, journal = AnswerCache(), ScriptedProvider("main", "Hello"), WatchedCheckpointer()
        workflow = compile_llm_step(KEPT, provider, cache=cache)
        await run_workflow(workflow, input_data={"who": "Ada"})

        await run_workflow(workflow, journal, input_data={"who": "Ada"})

        ((path, usage),) = journal.usage
        assert (path, usage.service, usage.provider, usage.model) == ("draft#1", "llm", "main", "default-model-2026")
        assert (usage.input_units, usage.output_units, usage.cost_usd) == (0, 0, Decimal(0))
        assert usage.metadata["cached"] is True

    @pytest.mark.parametrize(
        "changed",
        [
            {"prompt_text": "Bye ${input.who}"},
            {"system_prompt": "S"},
            {"model": "other"},
            {"temperature": 0.5},
            {"max_tokens": 9},
            {"top_p": 0.5},
            {"fallbacks": [{"model": "other"}]},
            {"output_schema": {"type": "string"}},
        ],
        ids=lambda changed: next(iter(changed)),
    )
    async def test_are_those_of_the_same_question(self, changed: dict[str, Any]) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", "one", '"two"')
        await run(cache, provider)

        assert (await run(cache, provider, {**KEPT, **changed}))["cached"] is False

    async def test_do_not_ask_how_long_it_may_take_or_whether_it_is_streamed(self) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", "one")
        await run(cache, provider)

        assert (await run(cache, provider, {**KEPT, "stream": True}, timeout_seconds=5))["cached"] is True

    async def test_are_left_alone_by_a_step_without_a_ttl(self) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", "one", "two")
        await run(cache, provider)

        assert (await run(cache, provider, {**KEPT, "cache_ttl": 0}))["content"] == "two"

    async def test_equal_questions_at_once_are_asked_once(self) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", "one")

        outputs = await asyncio.gather(*(run(cache, provider) for _ in range(10)))

        assert [output["content"] for output in outputs] == ["one"] * 10
        assert sorted(output["cached"] for output in outputs) == [False] + [True] * 9

    async def test_are_no_failures(self) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", ProviderServerError(), "fine")
        with pytest.raises(RunFailedError):
            await run(cache, provider)

        assert (await run(cache, provider))["content"] == "fine"

    @pytest.mark.parametrize(
        ("finish_reason", "is_kept"), [("stop", True), ("other", True), ("length", False), ("content_filter", False)]
    )
    async def test_are_whole(self, finish_reason: str, is_kept: bool) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", "one", "two", finish_reason=finish_reason)
        await run(cache, provider)

        assert (await run(cache, provider))["cached"] is is_kept

    async def test_fit_the_schema(self) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", "no", "nor this", '{"name": "Ada"}')
        config = {**KEPT, "output_schema": SCHEMA}
        with pytest.raises(RunFailedError):
            await run(cache, provider, config)

        assert (await run(cache, provider, config))["cached"] is False
        assert (await run(cache, provider, config))["parsed"] == {"name": "Ada"}
        assert len(provider.asked) == 3

    async def test_are_the_ones_that_fitted_at_the_second_try(self) -> None:
        cache, provider = AnswerCache(), ScriptedProvider("main", "no", '{"name": "Ada"}')
        config = {**KEPT, "output_schema": SCHEMA}
        first = await run(cache, provider, config)

        second = await run(cache, provider, config)

        assert (first["parsed"], first["usage"]["total_tokens"]) == ({"name": "Ada"}, 30)  # two calls of 15
        assert (second["parsed"], second["usage"]["total_tokens"]) == ({"name": "Ada"}, 0)


class TestStream:
    async def test_gives_the_same_output(self) -> None:
        config = {"prompt_text": "Hi"}

        plain = await run(AnswerCache(), ScriptedProvider("main", "Hello dear Ada"), config)
        streamed = await run(AnswerCache(), ScriptedProvider("main", "Hello dear Ada"), {**config, "stream": True})

        assert streamed == plain

    async def test_tells_the_text_as_it_comes(self) -> None:
        listener, provider = Listener(), ScriptedProvider("main", "Hello dear Ada")
        workflow = compile_llm_step({"prompt_text": "Hi", "stream": True}, provider)

        await run_workflow(workflow, listener)

        assert listener.heard == [("draft", "Hello"), ("draft", " dear"), ("draft", " Ada")]

    async def test_without_it_nothing_is_told(self) -> None:
        listener, provider = Listener(), ScriptedProvider("main", "Hello")

        await run_workflow(compile_llm_step({"prompt_text": "Hi"}, provider), listener)

        assert (listener.heard, provider.streamed) == ([], 0)

    async def test_tells_a_kept_answer_at_once(self) -> None:
        cache, listener = AnswerCache(), Listener()
        workflow = compile_llm_step({**KEPT, "stream": True}, ScriptedProvider("main", "Hello dear"), cache=cache)
        await run_workflow(workflow, input_data={"who": "Ada"})

        await run_workflow(workflow, listener, input_data={"who": "Ada"})

        assert listener.heard == [("draft", "Hello dear")]

    async def test_a_break_in_the_middle_is_tried_again_and_asks_nobody_else(self) -> None:
        main = ScriptedProvider("main", "Hello dear", "Hello dear", breaks=ProviderConnectionError())
        other, journal = ScriptedProvider("other", "Hi"), Listener()
        config = {"prompt_text": "Hi", "stream": True, "fallbacks": [{"provider": "other", "model": "m"}]}

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_llm_step(config, main, other, retry={"max_attempts": 2}), journal)

        assert failed.value.error["type"] == "provider_unreachable"
        assert (main.streamed, other.streamed) == (2, 0)
        assert journal.calls == {}

    async def test_a_failure_before_the_first_piece_asks_the_next_model(self) -> None:
        main, other = ScriptedProvider("main", ProviderServerError()), ScriptedProvider("other", "Hi there")
        listener = Listener()
        config = {"prompt_text": "Hi", "stream": True, "fallbacks": [{"provider": "other", "model": "m"}]}

        output = await run_workflow(compile_llm_step(config, main, other), listener)

        assert (output["provider"], listener.text) == ("other", "Hi there")
