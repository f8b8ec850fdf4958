"""POST /workflow: a job from its submit to its result, and every way in which a submit is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_llm import GOOD_KEY, FakeLLM
from tests.fixtures.server import API, Server, ask, running_app, say, workflow

SUBMIT = f"{API}/workflow"
JSON = {"Content-Type": "application/json"}
GREET = workflow(
    "greet",
    [say("greet", "Hello, ${input.name}!")],
    input_schema={
        "type": "object",
        "required": ["name", "age", "tags"],
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "additionalProperties": False,
    },
    outputs={"greeting": "${steps.greet.output}"},
)
INPUT = {"name": "Ada", "age": 36, "tags": []}


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with running_app(database_url, tmp_path) as server:
        server.files.write(GREET)
        server.files.write(workflow("anything", [say("show", "seen")]))
        yield server


@pytest.fixture
async def sqlite_server(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """For refusals that come before anything is asked of a database."""
    async with running_app(sqlite_url, tmp_path) as server:
        server.files.write(GREET)
        server.files.write(workflow("anything", [say("show", "seen")]))
        yield server


class TestSubmit:
    async def test_answers_at_once_and_says_where_to_ask(self, server: Server) -> None:
        response = await server.post_job("greet", INPUT, user_id="user-17", priority=3)

        accepted = response.json()
        assert response.status_code == 202
        assert response.headers["location"] == accepted["status_url"] == f"{API}/status/{accepted['job_id']}"
        assert (accepted["status"], accepted["estimated_wait_seconds"]) == ("queued", 0)
        assert accepted["celery_task_id"] != accepted["job_id"]

    async def test_gives_the_result_under_both_paths(self, server: Server) -> None:
        job_id = await server.submit("greet", INPUT)

        job = await server.ended(job_id)

        assert (job["status"], job["result"]["greeting"]) == ("completed", "Hello, Ada!")
        assert (await server.client.get(f"{API}/status/{job_id}")).json() == job

    async def test_gives_back_what_the_caller_attached(self, server: Server) -> None:
        given = {"user_id": "user-17", "run_name": "Nightly", "username": "ada", "action": "greet", "priority": 7}
        metadata = {"order": 2**63 - 1, "note": "\u00e4\U0001f600", "list": [1.5, None, {"a": []}]}

        job = await server.ended(await server.submit("greet", INPUT, metadata=metadata, **given))

        assert {name: job[name] for name in given} == given
        assert job["metadata"] == metadata

    async def test_counts_tokens_and_dollars_of_every_call(self, database_url: str, tmp_path: Path) -> None:
        prompt = "[[tokens:120:30]][[say:Hi]] greet"
        async with (
            FakeLLM() as fake,
            running_app(
                database_url,
                tmp_path,
                openrouter_api_key=GOOD_KEY,
                openrouter_base_url=fake.openrouter_url,
                default_llm_provider="openrouter",
                default_llm_model_name="some/model",
            ) as server,
        ):
            server.files.write(workflow("costly", [ask("first", prompt), ask("second", prompt)]))
            job = await server.ended(await server.submit("costly"))
            usage = (await server.client.get(f"{API}/jobs/{job['job_id']}/usage")).json()

        costs = job["result"]["cost_data"]
        assert costs == job["cost_data"] == usage["totals"]
        assert (costs["input_tokens"], costs["output_tokens"], costs["total_tokens"]) == (240, 60, 300)
        assert costs["cost_usd"] == job["cost_usd"] == 0.00162  # 2 x (120 x 3 + 30 x 15 dollars per million)
        assert (costs["provider"], costs["model"]) == ("openrouter", "some/model")
        assert [call["step_id"] for call in costs["llm_calls"]] == ["first", "second"]
        assert [(item["step_id"], item["cost_usd"]) for item in usage["items"]] == [
            ("first", 0.00081),
            ("second", 0.00081),
        ]


class TestUnknownWorkflow:
    async def test_answers_404_with_the_nearest_name(self, sqlite_server: Server) -> None:
        response = await sqlite_server.post_job("greett", INPUT)

        assert (response.status_code, response.json()["error"]) == (404, "workflow_not_found")
        assert "greet" in response.json()["detail"].partition("greett")[2]

    @pytest.mark.parametrize("name", ["../greet", "/etc/passwd", "greet.json", "definitions/greet", "GREET", "%2e%2e"])
    async def test_takes_no_path_for_a_name(self, sqlite_server: Server, name: str) -> None:
        response = await sqlite_server.post_job(name, INPUT)

        assert (response.status_code, response.json()["error"]) == (404, "workflow_not_found")


class TestInput:
    async def test_lists_everything_that_does_not_fit_the_schema(self, server: Server) -> None:
        response = await server.post_job("greet", {"name": 7, "age": -1, "tags": ["a", 2]})

        problem = response.json()
        assert (response.status_code, problem["error"]) == (422, "invalid_input")
        assert sorted(error["pointer"] for error in problem["errors"]) == [
            "/body/input_data/age",
            "/body/input_data/name",
            "/body/input_data/tags/1",
        ]
        assert (await server.client.get(f"{API}/jobs")).json()["jobs"] == []

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            pytest.param('{"x": NaN}', "/body/input_data/x", id="NaN"),
            pytest.param('{"x": [1, -Infinity]}', "/body/input_data/x/1", id="infinity"),
            pytest.param('{"x": 1e999}', "/body/input_data/x", id="float beyond all"),
            pytest.param('{"x": "a\\u0000b"}', "/body/input_data/x", id="NUL"),
            pytest.param('{"x": "\\ud800"}', "/body/input_data/x", id="lone surrogate"),
            pytest.param('{"\\ud800": 1}', "/body/input_data", id="lone surrogate in a key"),
            pytest.param('{"x": 9223372036854775808}', "/body/input_data/x", id="integer beyond 64 bit"),
            pytest.param('{"a~/b": NaN}', "/body/input_data/a~0~1b", id="key that needs escaping"),
        ],
    )
    @pytest.mark.parametrize("workflow_name", ["anything", "greet"])
    async def test_refuses_what_cannot_be_stored(
        self, sqlite_server: Server, workflow_name: str, body: str, pointer: str
    ) -> None:
        content = f'{{"workflow_name": "{workflow_name}", "input_data": {body}}}'

        response = await sqlite_server.client.post(SUBMIT, content=content, headers=JSON)

        assert (response.status_code, response.json()["error"]) == (422, "invalid_input")
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]

    async def test_refuses_input_that_is_nested_too_deep(self, sqlite_server: Server) -> None:
        content = '{"workflow_name": "anything", "input_data": ' + "[" * 300 + "]" * 300 + "}"

        response = await sqlite_server.client.post(SUBMIT, content=content, headers=JSON)

        assert (response.status_code, response.json()["error"]) == (422, "invalid_input")

    async def test_refuses_metadata_that_cannot_be_stored(self, sqlite_server: Server) -> None:
        content = '{"workflow_name": "anything", "metadata": {"x": ["\\u0000"]}}'

        response = await sqlite_server.client.post(SUBMIT, content=content, headers=JSON)

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/body/metadata/x/0"

    @pytest.mark.parametrize("value", [None, 7, "text", [1, 2], True, 2**63 - 1, -(2**63), 0.1, "\u00e4\U0001f600"])
    async def test_takes_any_json_where_the_workflow_has_no_schema(self, server: Server, value: Any) -> None:
        server.files.write(workflow("same", [say("show", "seen")], outputs={"same": "${input}"}))
        response = await server.client.post(SUBMIT, json={"workflow_name": "same", "input_data": value})

        job = await server.ended(response.json()["job_id"])

        assert job["result"]["same"] == value


class TestFields:
    @pytest.mark.parametrize(
        ("fields", "pointer"),
        [
            pytest.param({"priority": 11}, "/body/priority", id="priority too high"),
            pytest.param({"priority": -1}, "/body/priority", id="priority too low"),
            pytest.param({"priority": "5"}, "/body/priority", id="priority is text"),
            pytest.param({"priority": 1.5}, "/body/priority", id="priority is a fraction"),
            pytest.param({"priority": True}, "/body/priority", id="priority is true"),
            pytest.param({"priority": None}, "/body/priority", id="priority is null"),
            pytest.param({"workflow_name": ""}, "/body/workflow_name", id="name is empty"),
            pytest.param({"workflow_name": "a" * 101}, "/body/workflow_name", id="name is too long"),
            pytest.param({"workflow_name": "a\x00"}, "/body/workflow_name", id="NUL in the name"),
            pytest.param({"workflow_name": None}, "/body/workflow_name", id="name is null"),
            pytest.param({"user_id": ""}, "/body/user_id", id="user is empty"),
            pytest.param({"user_id": 17}, "/body/user_id", id="user is a number"),
            pytest.param({"user_id": "u\x00"}, "/body/user_id", id="NUL in the user"),
            pytest.param({"run_name": "r" * 256}, "/body/run_name", id="run name too long"),
            pytest.param({"username": ["ada"]}, "/body/username", id="username is a list"),
            pytest.param({"metadata": [1]}, "/body/metadata", id="metadata is a list"),
            pytest.param({"budget_usd": 0}, "/body/budget_usd", id="budget of nothing"),
            pytest.param({"budget_usd": -1}, "/body/budget_usd", id="budget below nothing"),
            pytest.param({"budget_usd": "0.5"}, "/body/budget_usd", id="budget is text"),
            pytest.param({"budget_usd": True}, "/body/budget_usd", id="budget is true"),
            pytest.param({"budget_usd": 1e-13}, "/body/budget_usd", id="budget of 13 decimals"),
            pytest.param({"budget_usd": 2e9}, "/body/budget_usd", id="budget too high"),
            pytest.param({"colour": "red"}, "/body/colour", id="unknown field"),
            pytest.param({"debug_mode": "yes"}, "/body/debug_mode", id="debug_mode is text"),
        ],
    )
    async def test_says_which_field_is_wrong(self, sqlite_server: Server, fields: dict[str, Any], pointer: str) -> None:
        response = await sqlite_server.client.post(SUBMIT, json={"workflow_name": "anything", **fields})

        assert (response.status_code, response.json()["error"]) == (422, "validation_error")
        assert [error["pointer"] for error in response.json()["errors"]] == [pointer]

    async def test_tells_of_all_wrong_fields_at_once(self, sqlite_server: Server) -> None:
        response = await sqlite_server.client.post(SUBMIT, json={"priority": 99, "user_id": 1, "colour": "red"})

        pointers = {error["pointer"] for error in response.json()["errors"]}
        assert pointers == {"/body/workflow_name", "/body/priority", "/body/user_id", "/body/colour"}

    @pytest.mark.parametrize(
        "fields",
        [
            {"webhook_url": "https://example.com/hook"},
            {"webhook_url": ""},
            {"webhook_secret": "12345678"},
            {"debug_mode": True},
        ],
        ids=["webhook_url", "empty webhook_url", "webhook_secret", "debug_mode"],
    )
    async def test_never_ignores_a_field_whose_feature_is_missing(
        self, sqlite_server: Server, fields: dict[str, Any]
    ) -> None:
        response = await sqlite_server.post_job("anything", **fields)

        assert (response.status_code, response.json()["error"]) == (422, "not_yet_supported")
        assert [error["pointer"] for error in response.json()["errors"]] == [f"/body/{next(iter(fields))}"]

    async def test_takes_null_for_what_is_not_wanted(self, server: Server) -> None:
        absent = dict.fromkeys(("webhook_url", "webhook_secret", "budget_usd", "user_id", "metadata", "run_name"))

        response = await server.post_job("anything", debug_mode=False, **absent)

        assert response.status_code == 202


class TestBody:
    @pytest.mark.parametrize(
        ("body", "headers", "status", "code"),
        [
            pytest.param(b"workflow_name=anything", JSON, 400, "invalid_json", id="not JSON"),
            pytest.param(b'{"workflow_name": "any', JSON, 400, "invalid_json", id="cut off"),
            pytest.param(b'{"workflow_name": "\xff"}', JSON, 400, "invalid_json", id="not UTF-8"),
            pytest.param(b"[" * 100_000, JSON, 400, "invalid_json", id="nested without end"),
            pytest.param(b"[]", JSON, 422, "validation_error", id="a list"),
            pytest.param(b"", JSON, 422, "validation_error", id="nothing"),
            pytest.param(b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type", id="text"),
            pytest.param(b" " * 2 * 1024 * 1024, JSON, 413, "body_too_large", id="2 MiB"),
        ],
    )
    async def test_refuses_what_cannot_be_read(
        self, sqlite_server: Server, body: bytes, headers: dict[str, str], status: int, code: str
    ) -> None:
        response = await sqlite_server.client.post(SUBMIT, content=body, headers=headers)

        assert (response.status_code, response.json()["error"]) == (status, code)
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["x-request-id"]

    async def test_takes_an_input_that_nearly_fills_the_body(self, server: Server) -> None:
        job = await server.ended(await server.submit("anything", {"text": "x" * 1_000_000}))

        assert job["status"] == "completed"
