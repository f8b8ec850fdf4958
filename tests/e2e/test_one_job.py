"""One job over real HTTP, in the order of docs/one-job.md: a server in a process of its own, a provider beside it."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.processes import (
    environment_of,
    fake_provider,
    finished_calls,
    free_port,
    get_json,
    post_json,
    process,
    wait_until_ready,
)

KEY = "admin-key-of-the-operator"
WORKFLOW = {
    "name": "greet",
    "version": "1.2.0",
    "input_schema": {
        "type": "object",
        "required": ["name"],
        "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "times": {"type": "integer", "default": 2}},
    },
    "steps": [
        {"id": "ask", "type": "llm", "config": {"prompt_text": "[[key:ask]] [[say:Good day]] [[tokens:120:30]] hello"}},
        {
            "id": "both",
            "type": "parallel",
            "config": {
                "branches": {
                    "loud": [{"id": "loud", "type": "llm", "config": {"prompt_text": "[[key:loud]] [[say:HEY]] x"}}],
                    "quiet": [
                        {"id": "quiet", "type": "llm", "config": {"prompt_text": "[[key:quiet]] [[say:psst]] x"}}
                    ],
                }
            },
        },
        {
            "id": "text",
            "type": "transform",
            "config": {"operation": "template", "config": {"template": "${steps.ask.content}, ${input.name}!"}},
        },
    ],
    "outputs": {
        "greeting": "${steps.text}",
        "times": "${input.times}",
        "loud": "${steps.loud.content}",
        "quiet": "${steps.quiet.content}",
    },
}


@dataclass(frozen=True)
class Served:
    """A server and the provider that it asks."""

    url: str
    provider_url: str

    def get(self, path: str) -> Any:
        return get_json(self.url + path, KEY)

    def submit(self, body: Any, **headers: str) -> Any:
        return post_json(f"{self.url}/api/v1/workflow", body, KEY, **headers)


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[Served]:
    """`callboard serve` with the workflow above, on SQLite and on PostgreSQL."""
    for folder in ("definitions", "prompts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "definitions" / "greet.json").write_text(json.dumps(WORKFLOW))
    with fake_provider() as provider_url:
        port = free_port()
        settings = {
            "database_url": database_url.replace("+aiosqlite", "").replace("+asyncpg", ""),
            "callboard_home": tmp_path / "home",
            "workflows_dir": tmp_path / "definitions",
            "prompts_dir": tmp_path / "prompts",
            "admin_api_key": KEY,
            "openai_compatible_base_url": provider_url,
            "default_llm_provider": "openai_compatible",
            "default_llm_model_name": "gpt-4o",
            "external_service_pricing": json.dumps({"gpt-4o": {"prompt": 1, "completion": 10}}),
            "port": port,
            "log_level": "ERROR",
        }
        with process("-m", "callboard.cli.main", "serve", environment=environment_of(settings)) as running:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, running)
            yield Served(url, provider_url)


class TestOneJob:
    def test_goes_the_whole_way_from_submit_to_result_with_its_cost(self, served: Served) -> None:
        accepted = served.submit({"workflow_name": "greet", "input_data": {"name": "Ada"}, "user_id": "u1"})

        job_id = accepted["job_id"]
        assert accepted["status"] == "queued"
        job = served.get(f"{accepted['status_url']}?wait=20")
        assert job["status"] == "completed"
        job = served.get(f"/api/v1/jobs/{job_id}")
        result = job["result"]
        assert result["greeting"] == "Good day, Ada!"
        assert (result["times"], result["loud"], result["quiet"]) == (2, "HEY", "psst")  # the schema's default is in
        assert result["cost_data"]["input_tokens"] >= 120
        assert result["cost_data"]["cost_usd"] > 0.0004  # 120 x 1 USD + 30 x 10 USD a million = 0.00042

        steps = [step["path"] for step in served.get(f"/api/v1/jobs/{job_id}/steps")["items"]]
        assert sorted(steps) == ["ask", "both", "both/loud/loud", "both/quiet/quiet", "text"]
        assert (steps[0], steps[-1]) == ("ask", "text")
        calls = served.get(f"/api/v1/jobs/{job_id}/usage")["items"]
        assert sorted(call["step_id"] for call in calls) == ["ask", "loud", "quiet"]
        assert next(call["cost_usd"] for call in calls if call["step_id"] == "ask") == 0.00042
        assert finished_calls(served.provider_url) == {"ask": 1, "loud": 1, "quiet": 1}
        assert [each["job_id"] for each in served.get("/api/v1/jobs?user_id=u1")["jobs"]] == [job_id]

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_is_one_job_however_often_its_submit_is_sent(self, served: Served) -> None:
        body = {"workflow_name": "greet", "input_data": {"name": "Ada"}}

        answers = [served.submit(body, **{"Idempotency-Key": "once"}) for _ in range(3)]

        assert len({answer["job_id"] for answer in answers}) == 1
        served.get(f"{answers[0]['status_url']}?wait=20")
        assert finished_calls(served.provider_url) == {"ask": 1, "loud": 1, "quiet": 1}

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_is_refused_with_everything_that_is_wrong(self, served: Served) -> None:
        body = {"workflow_name": "greet", "input_data": {"times": "two", "unknown": 1}}

        with pytest.raises(urllib.error.HTTPError) as refused:
            served.submit(body)

        problem = json.load(refused.value)
        assert (refused.value.code, problem["error"]) == (422, "invalid_input")
        assert len(problem["errors"]) == 3
