"""`POST /workflow/validate` and `GET /workflows/{name}/diagram`: what they tell, to whom, and that nobody is called."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, ask, running_app, say, workflow

VALIDATE = f"{API}/workflow/validate"
SCHEMA = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
STEPS = [{**ask("draft", "Hi ${input.name}"), "display_name": "Write it"}, say("end", "${steps.draft.content}")]


@pytest.fixture
async def fake() -> AsyncIterator[FakeLLM]:
    async with FakeLLM() as fake:
        yield fake


@pytest.fixture
async def server(sqlite_url: str, tmp_path: Path, fake: FakeLLM) -> AsyncIterator[Server]:
    prices = {"gpt-4o": {"prompt": 2, "completion": 10}}
    async with running_app(sqlite_url, tmp_path, llm_url=fake.ollama_url, external_service_pricing=prices) as server:
        server.files.write(workflow("greet", STEPS, input_schema=SCHEMA))
        yield server


async def validate(client: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await client.post(VALIDATE, json=body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


class TestByName:
    async def test_tells_the_plan_and_calls_nobody(self, server: Server, fake: FakeLLM) -> None:
        found = await validate(server.client, workflow_name="greet", input_data={"name": "Ada"})

        assert (found["valid"], found["workflow_name"], found["errors"]) == (True, "greet", None)
        assert [step["id"] for step in found["plan"]] == ["draft", "end"]
        assert found["plan"][0]["calls"][0]["messages"] == [{"role": "user", "text": "Hi Ada", "tokens": 6}]
        assert (found["basis"], found["runs_seen"]) == ("prompt", 0)
        assert found["estimated_tokens"] == found["input_tokens"]["likely"] + found["output_tokens"]["likely"]
        assert found["estimated_cost_usd"] == found["cost_usd"]["likely"]
        assert found["estimated_duration_seconds"] == found["duration_seconds"]["likely"]
        assert not fake.requests

    async def test_without_a_price_the_cost_is_null_and_that_is_told(self, server: Server) -> None:
        step = {"id": "a", "type": "llm", "config": {"model": "gpt-none", "prompt_text": "x", "max_tokens": 5}}
        server.files.write(workflow("unpriced", [step]))

        found = await validate(server.client, workflow_name="unpriced")

        assert (found["valid"], found["estimated_cost_usd"], found["cost_usd"]) == (True, None, None)
        assert "unknown_price" in {warning["code"] for warning in found["warnings"]}

    async def test_estimates_by_earlier_runs(self, server: Server) -> None:
        job = await server.ended(await server.submit("greet", {"name": "Ada"}))
        used = job["cost_data"]["output_tokens"]

        found = await validate(server.client, workflow_name="greet", input_data={"name": "Bob"})

        assert (found["basis"], found["runs_seen"]) == ("history", 1)
        assert found["output_tokens"]["likely"] == used

    async def test_earlier_runs_of_others_tell_nothing(self, server: Server) -> None:
        await server.ended(await server.submit("greet", {"name": "Ada"}))
        other = await server.new_key("jobs:read", tenant_id="other")

        found = await validate(other, workflow_name="greet", input_data={"name": "Bob"})

        assert (found["basis"], found["runs_seen"]) == ("prompt", 0)

    async def test_tells_why_an_input_does_not_fit(self, server: Server) -> None:
        found = await validate(server.client, workflow_name="greet", input_data={"name": 5})

        assert found["valid"] is False
        assert [error["pointer"] for error in found["errors"]] == ["/input_data/name"]
        assert found["plan"] is not None

    async def test_does_without_an_input(self, server: Server) -> None:
        found = await validate(server.client, workflow_name="greet")

        assert found["valid"] is True
        assert "«input.name: unknown" in found["plan"][0]["calls"][0]["messages"][0]["text"]

    async def test_null_is_an_input(self, server: Server) -> None:
        found = await validate(server.client, workflow_name="greet", input_data=None)

        assert found["valid"] is False

    @pytest.mark.parametrize("name", ["\\ud800", "\\u0000"], ids=["lone surrogate", "NUL"])
    async def test_an_input_that_no_job_could_have_is_told(self, server: Server, name: str) -> None:
        body = f'{{"workflow_name": "greet", "input_data": {{"name": "{name}"}}}}'

        response = await server.client.post(VALIDATE, content=body, headers={"Content-Type": "application/json"})

        assert (response.status_code, response.json()["valid"]) == (200, False)
        assert response.json()["errors"][0]["pointer"] == "/input_data/name"

    async def test_tells_what_is_wrong_with_a_broken_file(self, server: Server) -> None:
        server.files.write(workflow("broken", [say("a", "${steps.b.output}")]))

        found = await validate(server.client, workflow_name="broken")

        assert (found["valid"], found["plan"], found["estimated_cost_usd"]) == (False, None, None)
        (error,) = found["errors"]
        assert error["pointer"] == "/steps/0/config/config/template"
        assert error["line"] == 1
        assert error["severity"] == "error"

    async def test_answers_404_with_the_nearest_name(self, server: Server) -> None:
        response = await server.client.post(VALIDATE, json={"workflow_name": "great"})

        assert (response.status_code, response.json()["error"]) == (404, "workflow_not_found")
        assert "greet" in response.json()["detail"]


class TestByDefinition:
    async def test_tells_the_plan_of_it(self, server: Server) -> None:
        found = await validate(server.admin, definition=workflow("new", STEPS), input_data={"name": "Ada"})

        assert (found["valid"], found["workflow_name"]) == (True, "new")
        assert found["plan"][0]["calls"][0]["messages"][0]["text"] == "Hi Ada"

    async def test_tells_everything_that_is_wrong(self, server: Server) -> None:
        steps = [say("a", "${steps.b.output}"), {"id": "c", "type": "lm"}]

        found = await validate(server.admin, definition=workflow("new", steps))

        assert found["valid"] is False
        assert {error["code"] for error in found["errors"]} == {"unknown_step", "unknown_step_type"}
        assert all(error["message"] and error["pointer"] for error in found["errors"])

    async def test_needs_the_scope(self, server: Server) -> None:
        key = await server.new_key("jobs:read", "jobs:write")

        response = await key.post(VALIDATE, json={"definition": workflow("new", STEPS)})

        assert response.status_code == 403
        assert "workflows:write" in response.json()["detail"]

    async def test_the_scope_is_enough(self, server: Server) -> None:
        key = await server.new_key("jobs:read", "workflows:write")

        assert (await validate(key, definition=workflow("new", STEPS)))["valid"] is True

    async def test_is_not_kept(self, server: Server) -> None:
        await validate(server.admin, definition=workflow("new", STEPS))

        assert (await server.client.get(f"{API}/workflows/new")).status_code == 404

    async def test_of_too_many_steps_is_refused_with_the_number(self, server: Server) -> None:
        steps = [say(f"s{number}", "x") for number in range(501)]

        found = await validate(server.admin, definition=workflow("new", steps))

        assert found["valid"] is False
        assert "501" in found["errors"][0]["message"]

    async def test_that_takes_too_long_is_given_up_and_the_server_goes_on(self, server: Server) -> None:
        pattern = {"operation": "regex_extract", "input": "${item}", "config": {"pattern": "(a|aa)+$"}}
        slow = {"id": "slow", "type": "transform", "error_mode": "continue", "config": pattern}
        loop = {"id": "each", "type": "parallel", "config": {"for_each": "${input.texts}", "steps": [slow]}}
        body = {"definition": workflow("new", [loop]), "input_data": {"texts": ["a" * 60 + "!"] * 50}}

        response = await server.admin.post(VALIDATE, json=body)

        assert (response.status_code, response.json()["error"]) == (422, "dry_run_too_slow")
        assert (await server.client.get("/health/live")).status_code == 200


class TestBody:
    @pytest.mark.parametrize(
        "body",
        [{}, {"workflow_name": "greet", "definition": {}}, {"workflow_name": "greet", "input": {}}, {"definition": []}],
        ids=["neither", "both", "unknown field", "no object"],
    )
    async def test_that_is_not_valid_is_refused(self, server: Server, body: dict[str, Any]) -> None:
        response = await server.admin.post(VALIDATE, json=body)

        assert response.status_code == 422
        assert response.json()["errors"]

    async def test_needs_a_key(self, server: Server) -> None:
        assert (await server.as_key(None).post(VALIDATE, json={"workflow_name": "greet"})).status_code == 401


class TestDiagram:
    async def test_is_text(self, server: Server) -> None:
        response = await server.client.get(f"{API}/workflows/greet/diagram")

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert 'step_draft{{"Write it<br>draft: llm default model"}}' in response.text

    async def test_of_an_unknown_workflow_is_404(self, server: Server) -> None:
        assert (await server.client.get(f"{API}/workflows/nope/diagram")).status_code == 404

    async def test_of_a_broken_file_lists_what_is_wrong(self, server: Server) -> None:
        server.files.write_text("broken.json", "{")

        response = await server.client.get(f"{API}/workflows/broken/diagram")

        assert response.status_code == 422
        assert response.json()["errors"]
