"""What commands and code of one's own get from the settings: who runs agents, and what keeps answers."""

from pathlib import Path

import pytest

from callboard.core.config import Settings
from callboard.llm.agents import Agent
from callboard.workbench import open_workbench
from tests.fixtures.fake_llm import FakeLLM


class TestRunner:
    async def test_runs_on_the_provider_of_the_settings(self, tmp_path: Path) -> None:
        async with FakeLLM() as fake:
            settings = Settings(
                openai_compatible_base_url=fake.ollama_url,
                default_llm_provider="openai_compatible",
                default_llm_model_name="gpt-4o",
                model_aliases={"old": "llama"},
                prompts_dir=tmp_path,
            )
            async with open_workbench(settings) as workbench:
                runner = workbench.runner()
                agents = [Agent("writer", "Write.", model, str) for model in (None, "old")]
                answers = [await runner.run(agent, "[[say:ok]]") for agent in agents]

        assert [(text, raw.provider, raw.model) for text, raw in answers] == [
            ("ok", "openai_compatible", "gpt-4o"),
            ("ok", "openai_compatible", "llama"),
        ]

    @pytest.mark.parametrize(
        ("provider", "model"), [(None, "sandbox"), ("openai", "gpt-4o")], ids=["settings", "named"]
    )
    async def test_knows_a_model_for_every_provider(self, tmp_path: Path, provider: str | None, model: str) -> None:
        async with open_workbench(Settings(default_llm_provider="sandbox", prompts_dir=tmp_path)) as workbench:
            assert workbench.runner(provider).model == model
