"""Agents and their runner: what is asked, how the answer is read, and the second chance of one that does not fit."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from callboard.llm.agents import Agent, AgentOutputError, NoAgentModelError, NoRunnerError, Runner
from callboard.llm.client import Candidate, LLMClient
from callboard.llm.errors import ProviderAuthError, ProviderServerError
from callboard.llm.port import LLMRequest, LLMResponse, Message
from callboard.llm.processors import Processor
from callboard.llm.translation import Translation, Translator
from tests.fixtures.scripted_provider import ScriptedProvider


class Verdict(BaseModel):
    is_polite: bool
    since: date | None = None


SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


def runner_for(*providers: ScriptedProvider, **more: Any) -> Runner:
    return Runner(LLMClient(providers), provider=providers[0].name, model="default-model", **more)


class TestAgent:
    async def test_gives_text_as_it_came(self) -> None:
        provider = ScriptedProvider("main", "Dear Ada")
        agent = Agent("writer", "Write kindly.", "m", str, runner=runner_for(provider))

        text, raw = await agent.run("To Ada")

        assert text == "Dear Ada"
        assert (raw.content, raw.provider, raw.model, raw.finish_reason) == ("Dear Ada", "main", "m-2026", "stop")
        assert (raw.usage.total_tokens, raw.cost_usd, raw.duration_ms) == (15, Decimal("0.000105"), 7)

    async def test_is_told_its_instructions_and_the_text(self) -> None:
        provider = ScriptedProvider("main", "ok")

        await Agent("writer", "Write kindly.", "m", str, runner=runner_for(provider, temperature=0.2)).run("To Ada")

        (asked,) = provider.asked
        assert asked.messages == (Message("system", "Write kindly."), Message("user", "To Ada"))
        assert (asked.model, asked.temperature, asked.output_schema) == ("m", 0.2, None)

    async def test_gives_an_instance_of_its_model(self) -> None:
        provider = ScriptedProvider("main", '```json\n{"is_polite": true, "since": "2026-01-02"}\n```')

        verdict, _ = await Agent("judge", "Judge.", "m", Verdict, runner=runner_for(provider)).run("Hi")

        assert verdict == Verdict(is_polite=True, since=date(2026, 1, 2))
        assert provider.asked[0].output_schema == Verdict.model_json_schema()

    async def test_gives_json_that_fits_a_schema(self) -> None:
        provider = ScriptedProvider("main", 'Sure: {"n": 7}')

        output, _ = await Agent("counter", "Count.", "m", SCHEMA, runner=runner_for(provider)).run("7")

        assert output == {"n": 7}

    @pytest.mark.parametrize(
        ("output_type", "misfit", "good", "mistake"),
        [
            (Verdict, '{"is_polite": "maybe"}', '{"is_polite": false}', "/is_polite: "),
            (SCHEMA, '{"n": "x"}', '{"n": 1}', '/n: "x" is not of type "integer"'),
            (Verdict, "I cannot.", '{"is_polite": false}', "holds no JSON"),
        ],
        ids=["model", "schema", "no JSON"],
    )
    async def test_asks_once_more_with_the_mistakes(
        self, output_type: Any, misfit: str, good: str, mistake: str
    ) -> None:
        provider = ScriptedProvider("main", misfit, good)

        _, raw = await Agent("judge", "Judge.", "m", output_type, runner=runner_for(provider)).run("Hi")

        first, second = provider.asked
        assert second.messages[:2] == first.messages
        assert second.messages[2] == Message("assistant", misfit)
        assert mistake in second.messages[3].content
        assert (raw.usage.total_tokens, raw.cost_usd) == (30, Decimal("0.000210"))  # 2 calls

    async def test_tells_what_was_paid_when_two_answers_do_not_fit(self) -> None:
        provider = ScriptedProvider("main", "no", "{}")

        with pytest.raises(AgentOutputError, match="judge") as failed:
            await Agent("judge", "Judge.", "m", Verdict, runner=runner_for(provider)).run("Hi")

        assert failed.value.details["mistakes"] == ["/is_polite: Field required"]
        assert failed.value.raw.cost_usd == Decimal("0.000210")

    async def test_wants_a_runner(self) -> None:
        with pytest.raises(NoRunnerError, match="hand it to one"):
            await Agent("judge", "Judge.", "m", str).run("Hi")

    @pytest.mark.parametrize("output_type", [int, "text", None])
    def test_knows_three_output_types(self, output_type: Any) -> None:
        with pytest.raises(TypeError, match="a Pydantic model or a JSON Schema"):
            Agent("judge", "Judge.", "m", output_type)

    def test_refuses_a_schema_that_leads_out_of_itself(self) -> None:
        with pytest.raises(ValueError, match="not fetched"):
            Agent("judge", "Judge.", "m", {"$ref": "https://example.com/schema.json"})


class TestRunner:
    async def test_runs_an_agent_on_another_provider_unchanged(self) -> None:
        one, other = ScriptedProvider("one", "1"), ScriptedProvider("other", "2")
        runner, agent = runner_for(one, other), Agent("writer", "Write.", "m", str)

        _, first = await runner.run(agent, "Hi")
        _, second = await replace(runner, provider="other").run(agent, "Hi")

        assert (first.provider, second.provider) == ("one", "other")

    async def test_lends_its_model_to_agents_that_name_none(self) -> None:
        provider = ScriptedProvider("main", "ok")

        await runner_for(provider).run(Agent("writer", "Write.", None, str), "Hi")

        assert provider.asked[0].model == "default-model"

    async def test_replaces_retired_models(self) -> None:
        provider = ScriptedProvider("main", "ok")

        await runner_for(provider, model_aliases={"old": "new"}).run(Agent("writer", "Write.", "old", str), "Hi")

        assert provider.asked[0].model == "new"

    async def test_asks_the_next_when_the_first_cannot_answer(self) -> None:
        main, other = ScriptedProvider("main", ProviderServerError()), ScriptedProvider("other", "ok")
        runner = runner_for(main, other, fallbacks=(Candidate("other", "m2"),))

        _, raw = await runner.run(Agent("writer", "Write.", "m", str), "Hi")

        assert (raw.provider, raw.model) == ("other", "m2-2026")

    async def test_lets_failures_through(self) -> None:
        with pytest.raises(ProviderAuthError):
            await runner_for(ScriptedProvider("main", ProviderAuthError())).run(Agent("w", "W.", "m", str), "Hi")

    async def test_wants_a_model(self) -> None:
        runner = Runner(LLMClient([ScriptedProvider("main")]), provider="main")

        with pytest.raises(NoAgentModelError, match="writer"):
            await runner.run(Agent("writer", "Write.", None, str), "Hi")

    async def test_takes_anyone_who_answers(self) -> None:
        counted: list[str] = []
        client = LLMClient([ScriptedProvider("main", "ok")])

        class Counting:
            async def generate(self, request: LLMRequest, candidates: Sequence[Candidate]) -> LLMResponse:
                counted.append(candidates[0].model)
                return await client.generate(request, candidates)

        await Runner(Counting(), provider="main").run(Agent("writer", "Write.", "m", str), "Hi")

        assert counted == ["m"]


class TestTranslator:
    async def test_translates_by_its_rules(self) -> None:
        provider = ScriptedProvider("main", '{"text": "Guten Tag, Ada", "source_language": "en"}')
        translator: Processor[str, Translation] = Translator(
            runner_for(provider), target_language="German", glossary={"job": "Auftrag"}
        )

        translation, raw = await translator.run("Hello Ada")

        assert translation == Translation(text="Guten Tag, Ada", source_language="en")
        assert (raw.provider, translator.name) == ("main", "translator")
        instructions = provider.asked[0].messages[0].content
        assert "into German" in instructions
        assert "- job: Auftrag" in instructions
        assert "${name} or {{name}}" in instructions

    async def test_is_told_the_language_that_is_known(self) -> None:
        provider = ScriptedProvider("main", '{"text": "x", "source_language": "fr"}')

        await Translator(runner_for(provider), target_language="de", source_language="French").run("Bonjour")

        assert "It is written in French." in provider.asked[0].messages[0].content
