"""The llm step: what is asked, whom, what comes out, and the second chance of an answer that does not fit."""

from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from callboard.llm.client import LLMClient
from callboard.llm.errors import ProviderAuthError, ProviderRateLimitError
from callboard.llm.port import Message
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from callboard.workflows.steps.base import RunSuspended
from callboard.workflows.steps.llm import LLMStep
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.scripted_provider import ScriptedProvider, compile_llm_step
from tests.fixtures.scripted_steps import WatchedCheckpointer, echo, run_workflow

SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
PROMPTS = {
    "mail.md": "Answer ${mail} for ${input.who}.{{include:tone.md}}",
    "tone.md": " Be {{tone}}.",
    "sys.md": "S ${mail}",
}
compile_llm = partial(compile_llm_step, prompts=PROMPTS)


async def ask(config: Mapping[str, Any], *providers: ScriptedProvider, **step: Any) -> Any:
    return await run_workflow(compile_llm(config, *providers, **step), input_data={"who": "Ada", "list": [1]})


class TestOutput:
    async def test_has_the_documented_shape(self) -> None:
        output = await ask({"prompt_text": "Hi"}, ScriptedProvider("main", "Hello"))

        assert output == {
            "content": "Hello",
            "parsed": None,
            "provider": "main",
            "model": "default-model-2026",
            "finish_reason": "stop",
            "duration_ms": 7,
            "cached": False,
            "cost_usd": 0.000105,
            "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
            "llm_usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "cost_usd": 0.000105},
        }

    async def test_an_alias_is_the_content(self) -> None:
        after = [echo("end", "${steps.draft.reply}")]

        output = await ask({"prompt_text": "Hi"}, ScriptedProvider("main", "Hello"), outputs=["reply"], after=after)

        assert output == {"value": "Hello"}

    async def test_with_a_schema_an_alias_is_what_was_parsed(self) -> None:
        config = {"prompt_text": "Hi", "output_schema": SCHEMA}
        after = [echo("end", "${steps.draft.person.name}")]

        output = await ask(config, ScriptedProvider("main", '{"name": "Ada"}'), outputs=["person"], after=after)

        assert output == {"value": "Ada"}

    async def test_an_alias_of_a_default_value_is_the_value(self) -> None:
        step = {"error_mode": "default", "default_value": "sorry", "outputs": ["reply"]}
        after = [echo("end", "${steps.draft.reply}")]

        output = await ask({"prompt_text": "Hi"}, ScriptedProvider("main", ProviderAuthError()), after=after, **step)

        assert output == {"value": "sorry"}

    async def test_every_call_is_recorded_with_usage(self) -> None:
        journal = WatchedCheckpointer()

        await run_workflow(compile_llm({"prompt_text": "Hi"}, ScriptedProvider("main", "Hello")), journal)

        ((key, usage),) = journal.usage
        assert (key, usage.service, usage.provider, usage.model) == ("draft#1", "llm", "main", "default-model-2026")
        assert (usage.input_units, usage.output_units, usage.cost_usd) == (10, 5, Decimal("0.000105"))
        assert usage.task_name == "draft"


class TestRequest:
    async def test_fills_prompt_files_with_includes_variables_and_scope(self) -> None:
        provider = ScriptedProvider("main", "ok")
        config = {"prompt_template": "mail.md", "variables": {"mail": "${input.who}'s mail", "tone": "kind"}}

        await ask(config, provider)

        assert provider.asked[0].messages == (Message("user", "Answer Ada's mail for Ada. Be kind."),)

    @pytest.mark.parametrize(
        ("config", "messages"),
        [
            ({"prompt_text": "P ${mail}"}, [("user", "P x")]),
            ({"prompt_text": "P", "user_message": "U ${input.who}"}, [("user", "P\n\nU Ada")]),
            ({"user_message": "U"}, [("user", "U")]),
            ({"prompt_text": "P", "system_prompt": "S"}, [("system", "S"), ("user", "P")]),
            ({"prompt_text": "P", "system_template": "sys.md"}, [("system", "S x"), ("user", "P")]),
        ],
        ids=["prompt", "and message", "message", "system", "system file"],
    )
    async def test_builds_the_conversation(self, config: dict[str, Any], messages: list[tuple[Any, str]]) -> None:
        provider = ScriptedProvider("main", "ok")

        await ask({"variables": {"mail": "x"}, **config}, provider)

        assert provider.asked[0].messages == tuple(Message(role, text) for role, text in messages)

    async def test_what_was_put_in_is_not_scanned_again(self) -> None:
        provider = ScriptedProvider("main", "ok")
        workflow = compile_llm({"prompt_text": "${v}", "variables": {"v": "${input.mail}"}}, provider)

        await run_workflow(workflow, input_data={"mail": "${input.who} {{include:mail.md}}"})

        assert provider.asked[0].messages[0].content == "${input.who} {{include:mail.md}}"

    async def test_hands_on_the_settings_of_the_step(self) -> None:
        provider = ScriptedProvider("main", "ok")
        config = {"prompt_text": "P", "temperature": 0.2, "max_tokens": 50, "top_p": "${input.list[0]}", "stream": True}

        await ask(config, provider, timeout_seconds=9)

        request = provider.asked[0]
        assert (request.temperature, request.max_tokens, request.top_p) == (0.2, 50, 1)
        assert request.timeout_seconds == 9

    @pytest.mark.parametrize(
        ("config", "asked"),
        [
            ({}, ("main", "default-model")),
            ({"model": "old"}, ("main", "new")),
            ({"model": "m", "provider": "other"}, ("other", "m")),
            ({"model": "${input.who}"}, ("main", "Ada")),
        ],
        ids=["defaults", "alias", "own", "reference"],
    )
    async def test_picks_provider_and_model(self, config: dict[str, Any], asked: tuple[str, str]) -> None:
        providers = {name: ScriptedProvider(name, "ok") for name in ("main", "other")}

        await ask({"prompt_text": "P", **config}, *providers.values())

        assert [(name, request.model) for name, p in providers.items() for request in p.asked] == [asked]

    async def test_a_reference_that_brings_the_wrong_type_fails_the_step(self) -> None:
        with pytest.raises(RunFailedError, match="max_tokens") as failed:
            await ask({"prompt_text": "P", "max_tokens": "${input.who}"}, ScriptedProvider("main"))

        assert failed.value.error["type"] == "llm_config_invalid"


class TestFallbacks:
    FALLBACKS = [{"provider": "other", "model": "old"}]  # noqa: RUF012 - no test changes it

    async def test_answer_inside_one_call(self) -> None:
        main, other = ScriptedProvider("main", ProviderAuthError()), ScriptedProvider("other", "ok")
        journal = WatchedCheckpointer()

        output = await run_workflow(
            compile_llm({"prompt_text": "P", "fallbacks": self.FALLBACKS}, main, other), journal
        )

        assert (output["provider"], output["model"]) == ("other", "new-2026")
        assert list(journal.calls) == ["draft#1"]

    async def test_a_retry_begins_with_the_first_again(self) -> None:
        main = ScriptedProvider("main", ProviderRateLimitError(retry_after_seconds=3), "ok")
        other = ScriptedProvider("other", ProviderRateLimitError(), "never asked")
        config = {"prompt_text": "P", "fallbacks": self.FALLBACKS}
        journal = WatchedCheckpointer()

        output = await run_workflow(compile_llm(config, main, other, retry={"max_attempts": 2}), journal)

        assert output["provider"] == "main"
        assert len(journal.slept) == 1


class TestOutputSchema:
    CONFIG: Mapping[str, Any] = {"prompt_text": "Who?", "output_schema": SCHEMA}

    @pytest.mark.parametrize("content", ['{"name": "Ada"}', '```json\n{"name": "Ada"}\n```'], ids=["plain", "fenced"])
    async def test_parses_the_answer(self, content: str) -> None:
        provider = ScriptedProvider("main", content)

        output = await ask(self.CONFIG, provider)

        assert output["parsed"] == {"name": "Ada"}
        assert output["content"] == content
        assert provider.asked[0].output_schema == SCHEMA

    async def test_asks_once_more_with_the_errors(self) -> None:
        provider = ScriptedProvider("main", '{"name": 5}', '{"name": "Ada"}')

        output = await ask(self.CONFIG, provider)

        assert output["parsed"] == {"name": "Ada"}
        user, assistant, correction = provider.asked[1].messages
        assert (user.content, assistant) == ("Who?", Message("assistant", '{"name": 5}'))
        assert '- /name: 5 is not of type "string"' in correction.content

    async def test_counts_both_calls(self) -> None:
        journal = WatchedCheckpointer()
        provider = ScriptedProvider("main", "no", '{"name": "Ada"}')

        output = await run_workflow(compile_llm(self.CONFIG, provider), journal)

        assert list(journal.calls) == ["draft#1", "draft#2"]
        assert output["cost_usd"] == 0.00021  # 2 x 0.000105
        assert output["usage"] == {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
        assert output["duration_ms"] == 14

    async def test_a_second_misfit_fails_the_step_for_good(self) -> None:
        provider = ScriptedProvider("main", "no", "{}")

        with pytest.raises(RunFailedError) as failed:
            await ask(self.CONFIG, provider, retry={"max_attempts": 3})

        assert failed.value.error["type"] == "output_schema_mismatch"
        assert failed.value.error["details"] == {
            "errors": [{"pointer": "", "message": '"name" is a required property'}]
        }
        assert len(provider.asked) == 2

    async def test_a_replay_pays_neither_call_again(self) -> None:
        provider = ScriptedProvider("main", "no", '{"name": "Ada"}')
        workflow = compile_llm(self.CONFIG, provider)
        journal = WatchedCheckpointer(stop_at_save=1)
        with pytest.raises(RunSuspended):
            await run_workflow(workflow, journal)

        output = await run_workflow(workflow, WatchedCheckpointer(journal))

        assert output["parsed"] == {"name": "Ada"}
        assert len(provider.asked) == 2

    async def test_a_retry_between_the_calls_keeps_the_first_answer(self) -> None:
        provider = ScriptedProvider("main", "no", ProviderRateLimitError(), '{"name": "Ada"}')
        journal = WatchedCheckpointer()

        output = await run_workflow(compile_llm(self.CONFIG, provider, retry={"max_attempts": 2}), journal)

        assert output["usage"]["total_tokens"] == 30  # 2 finished calls x 15
        assert [len(request.messages) for request in provider.asked] == [1, 3, 3]


class TestCompile:
    @pytest.mark.parametrize(
        ("config", "pointer", "code"),
        [
            ({}, "/steps/0/config", "shape"),
            ({"prompt_text": "P", "prompt_template": "mail.md"}, "/steps/0/config/prompt_template", "shape"),
            ({"prompt_template": "mial.md"}, "/steps/0/config/prompt_template", "prompt_not_found"),
            ({"prompt_template": "../x.md"}, "/steps/0/config/prompt_template", "prompt_outside_folder"),
            ({"prompt_text": "${nobody}"}, "/steps/0/config/prompt_text", "undefined_variable"),
            ({"prompt_text": "${steps.x.y}"}, "/steps/0/config/prompt_text", "unknown_step"),
            ({"prompt_text": "{{steps.x.y}}"}, "/steps/0/config/prompt_text", "unknown_step"),
            ({"prompt_text": "P", "temperature": 9}, "/steps/0/config/temperature", "shape"),
            ({"prompt_text": "P", "temprature": 1}, "/steps/0/config/temprature", "unknown_field"),
            (
                {"prompt_text": "P", "output_schema": {"type": "x"}},
                "/steps/0/config/output_schema/type",
                "invalid_schema",
            ),
            ({"prompt_text": "P", "model": "${steps.x.y}"}, "/steps/0/config/model", "unknown_step"),
            ({"prompt_text": "P", "variables": {"a": "${steps.x.y}"}}, "/steps/0/config/variables/a", "unknown_step"),
            ({"prompt_text": "P", "fallbacks": [{"mdel": "x"}]}, "/steps/0/config/fallbacks/0/mdel", "unknown_field"),
        ],
    )
    def test_tells_what_is_wrong(self, config: dict[str, Any], pointer: str, code: str) -> None:
        with pytest.raises(InvalidWorkflowError) as refused:
            compile_llm(config)

        assert (pointer, code) in {(f.pointer, f.code) for f in refused.value.findings if f.is_error}

    def test_warns_of_words_that_nothing_defines(self) -> None:
        workflow = compile_llm({"prompt_text": "{{word}}"})

        assert "undefined_word" in {finding.code for finding in workflow.warnings}

    async def test_tells_when_no_model_is_named_anywhere(self) -> None:
        registry = StepRegistry([LLMStep(LLMClient([]))])
        definition = {"name": "test", "steps": [{"id": "a", "type": "llm", "config": {"prompt_text": "P"}}]}

        with pytest.raises(RunFailedError, match="DEFAULT_LLM_MODEL_NAME"):
            await run_workflow(compile_workflow(Bundle(definition=definition), registry))
