"""`mission_generation` as a job of a running server: from its recorded answer, and streamed by a model."""

from pathlib import Path
from typing import Any

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import running_app
from tests.fixtures.shipped_workflows import WORKFLOWS, sample

SHIPPED: dict[str, Any] = {
    "workflows_dir": WORKFLOWS / "definitions",
    "prompts_dir": WORKFLOWS / "prompts",
    "markdown_schemas_dir": WORKFLOWS / "markdown_schemas",
}
PORTLAND = "mission_generation.portland.json"
ANSWER = (
    "## Mission Overview\n\nStay at home.\n\n## Bundle Recommendations\n\n"
    "### Water\n- **Slug**: water-two-weeks\n- **Fit Score**: 93\n\n### Rocket\n- **Slug**: rocket\n"
)


class TestMissionGeneration:
    async def test_is_served_from_its_recorded_answer(self, database_url: str, tmp_path: Path) -> None:
        async with running_app(database_url, tmp_path, default_llm_provider="replay", **SHIPPED) as server:
            job = await server.ended(await server.submit("mission_generation", sample(PORTLAND)))

        assert job["status"] == "completed"
        assert job["result"]["mission"]["sections"]["overview"].startswith("The goal is fourteen days at home")
        assert [each["slug"] for each in job["result"]["bundleRecommendations"]][:2] == [
            "medicine-cooler",
            "water-two-weeks",
        ]

    async def test_is_streamed_by_the_model_and_counted(self, database_url: str, tmp_path: Path) -> None:
        household = sample(PORTLAND)
        household["formData"]["notes"] = f"[[tokens:1000:200]] [[say:{ANSWER}]]"

        async with FakeLLM() as fake, running_app(database_url, tmp_path, llm_url=fake.ollama_url, **SHIPPED) as server:
            job = await server.ended(await server.submit("mission_generation", household))

        assert [request.body["stream"] for request in fake.requests] == [True]
        assert job["result"]["mission"]["markdown"] == ANSWER
        assert [each["slug"] for each in job["result"]["bundleRecommendations"]] == ["water-two-weeks"]
        assert job["result"]["cost_data"]["total_tokens"] == 1200
