"""Workflow files over HTTP: what is listed, what is broken, and what happens when a file changes."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, ask, eventually, running_app, say, workflow

WORKFLOWS = f"{API}/workflows"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


@pytest.fixture
async def server(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with FakeLLM() as fake, running_app(sqlite_url, tmp_path, llm_url=fake.ollama_url) as server:
        server.files.write(workflow("echo", [say("show", "first")], description="Says it.", input_schema=SCHEMA))
        yield server


async def health_of_workflows(server: Server) -> dict[str, Any]:
    health = (await server.client.get("/health")).json()
    return {"status": health["status"], **health["services"]["workflows"]}


async def until_submit_answers(server: Server, name: str, status: int) -> dict[str, Any]:
    """Return the answer to a submit of `name` once its status is `status`."""
    response = await eventually(lambda: server.post_job(name), until=lambda response: response.status_code == status)
    answer: dict[str, Any] = response.json()
    return answer


class TestListWorkflows:
    async def test_tells_what_can_be_submitted_in_order(self, server: Server) -> None:
        server.files.write(workflow("aloud", [say("show", "seen")], version="2.0.0"))

        listed = (await server.client.get(WORKFLOWS)).json()

        assert listed["items"] == [
            {
                "name": "aloud",
                "version": "2.0.0",
                "description": "",
                "total_steps": 1,
                "provider": "openai_compatible",
            },
            {
                "name": "echo",
                "version": "1.0.0",
                "description": "Says it.",
                "total_steps": 1,
                "provider": "openai_compatible",
            },
        ]
        assert (listed["broken"], listed["next_cursor"]) == ([], None)

    async def test_is_empty_where_there_are_no_files(self, server: Server) -> None:
        (server.files.definitions / "echo.json").unlink()

        assert (await server.client.get(WORKFLOWS)).json()["items"] == []


class TestReadWorkflow:
    async def test_shows_the_file_and_what_it_takes(self, server: Server) -> None:
        read = (await server.client.get(f"{WORKFLOWS}/echo")).json()

        assert read["input_schema"] == SCHEMA
        assert read["definition"] == workflow(
            "echo", [say("show", "first")], description="Says it.", input_schema=SCHEMA
        )

    async def test_answers_404_with_the_nearest_name(self, server: Server) -> None:
        response = await server.client.get(f"{WORKFLOWS}/ecko")

        assert (response.status_code, response.json()["error"]) == (404, "workflow_not_found")
        assert "echo" in response.json()["detail"]

    @pytest.mark.parametrize("name", ["..", "%2e%2e%2fecho", "..%2f..%2fetc%2fpasswd", "echo.json", "echo%00"])
    async def test_takes_no_path_for_a_name(self, server: Server, name: str) -> None:
        (server.files.folder / "secret.json").write_text('{"name": "secret"}')

        response = await server.client.get(f"{WORKFLOWS}/{name}")

        assert response.status_code in {404, 422}
        assert "secret" not in response.text


class TestReadFileSchema:
    async def test_is_the_schema_of_what_this_server_runs(self, server: Server) -> None:
        schema = (await server.client.get(f"{WORKFLOWS}/schema")).json()

        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert {"const": "llm", "description": "A prompt, answered by a language model."} in schema["$defs"][
            "StepDefinition"
        ]["properties"]["type"]["oneOf"]


class TestFindings:
    async def test_carry_line_and_column_in_lists_and_problems(self, server: Server) -> None:
        server.files.write_text("odd.json", '{\n  "name": "odd",\n  "stepz": []\n}')

        problem = await until_submit_answers(server, "odd", 422)
        listed = (await server.client.get(WORKFLOWS)).json()

        place = {"pointer": "/stepz", "code": "unknown_field", "severity": "error", "file": "odd.json"}
        assert place | {"line": 3, "column": 3} == {
            key: value for key, value in problem["errors"][0].items() if key != "message"
        }
        (broken,) = listed["broken"]
        assert [(each["line"], each["column"], each["code"]) for each in broken["findings"]] == [
            (3, 3, "unknown_field")
        ]


class TestBrokenFiles:
    @pytest.mark.parametrize(
        ("text", "told"),
        [
            pytest.param('{\n  "name": "draft",\n', "draft.json:", id="not JSON"),
            pytest.param("", "draft.json", id="empty"),
            pytest.param("[]", "draft.json", id="a list"),
            pytest.param('{"name": "draft"}', "steps", id="no steps"),
            pytest.param('{"name": "draft", "steps": [{"id": "a", "type": "llmm"}]}', "llm", id="unknown type"),
        ],
    )
    async def test_are_named_and_hide_no_others(self, server: Server, text: str, told: str) -> None:
        server.files.write_text("draft.json", text)

        refused = await server.post_job("draft")
        health = await health_of_workflows(server)
        listed = (await server.client.get(WORKFLOWS)).json()

        assert (refused.status_code, refused.json()["error"]) == (422, "invalid_workflow")
        assert (health["status"], health["count"]) == ("degraded", 1)
        assert [broken["file"] for broken in health["broken"]] == ["draft.json"]
        assert told in listed["broken"][0]["errors"][0]
        assert told in health["broken"][0]["message"]
        assert (await server.ended(await server.submit("echo")))["status"] == "completed"

    async def test_are_read_with_422_and_every_error(self, server: Server) -> None:
        misspelt = {"id": "b", "type": "transform", "config": {"operation": "templat"}}
        steps = [say("a", "${steps.zz.output}"), misspelt, say("b", "again")]
        server.files.write(workflow("draft", steps))

        response = await server.client.get(f"{WORKFLOWS}/draft")

        assert (response.status_code, response.json()["error"]) == (422, "invalid_workflow")
        assert sorted(error["pointer"] for error in response.json()["errors"]) == [
            "/steps/0/config/config/template",
            "/steps/1/config/operation",
            "/steps/2/id",
        ]

    async def test_are_well_again_when_they_are_mended(self, server: Server) -> None:
        server.files.write_text("draft.json", "{")
        await until_submit_answers(server, "draft", 422)

        server.files.write(workflow("draft", [say("show", "mended")]))
        accepted = await until_submit_answers(server, "draft", 202)

        assert (await server.ended(accepted["job_id"]))["result"]["value"] == "mended"
        assert (await health_of_workflows(server))["status"] == "healthy"

    async def test_are_both_when_two_have_one_name(self, server: Server) -> None:
        server.files.write(workflow("echo", [say("show", "second")]), file="other.json")

        broken = (await health_of_workflows(server))["broken"]

        assert [each["file"] for each in broken] == ["echo.json", "other.json"]


class TestPromptFiles:
    @pytest.mark.parametrize(
        ("files", "told"),
        [
            pytest.param({"a.md": "{{include:b.md}}", "b.md": "{{include:a.md}}"}, "a.md", id="round"),
            pytest.param({"a.md": "{{include:a.md}}"}, "a.md", id="itself"),
            pytest.param({"a.md": "{{include:../definitions/echo.json}}"}, "folder", id="out of the folder"),
            pytest.param({"a.md": "{{include:/etc/passwd}}"}, "/etc/passwd", id="absolute"),
            pytest.param({"a.md": "{{include:nothing.md}}"}, "nothing.md", id="missing"),
        ],
    )
    async def test_with_includes_that_cannot_be_followed_break_the_workflow(
        self, server: Server, files: dict[str, str], told: str
    ) -> None:
        for name, text in files.items():
            server.files.write_prompt(name, text)
        asked = {"id": "think", "type": "llm", "config": {"prompt_template": "a.md"}}
        server.files.write(workflow("asking", [asked]))

        refused = await server.post_job("asking")

        assert (refused.status_code, refused.json()["error"]) == (422, "invalid_workflow")
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/steps/0/config/prompt_template"]
        assert told in refused.json()["detail"]
        assert "root:" not in refused.text
        assert (await health_of_workflows(server))["count"] == 1

    async def test_that_change_are_used_by_the_next_job(self, server: Server) -> None:
        server.files.write_prompt("a.md", "[[say:old]]")
        server.files.write(workflow("asking", [{"id": "t", "type": "llm", "config": {"prompt_template": "a.md"}}]))

        async def run() -> dict[str, Any]:
            return await server.ended(await server.submit("asking"))

        await until_submit_answers(server, "asking", 202)
        old = await run()

        server.files.write_prompt("a.md", "[[say:new]] and longer")
        new = await eventually(run, until=lambda job: job["result"]["content"] != "old")

        assert (old["result"]["content"], new["result"]["content"]) == ("old", "new")


class TestChangedFiles:
    async def test_are_used_without_a_restart_while_a_running_job_keeps_its_version(self, server: Server) -> None:
        def version(number: int) -> dict[str, Any]:
            steps = [ask("think", "[[delay:1.5]]"), say("show", f"version {number}")]
            return workflow("kept", steps, version=f"{number}.0.0")

        server.files.write(version(1))
        started = (await until_submit_answers(server, "kept", 202))["job_id"]
        await server.until(started, "processing")

        server.files.write(version(2))
        await eventually(
            lambda: server.client.get(f"{WORKFLOWS}/kept"), until=lambda answer: answer.json()["version"] == "2.0.0"
        )
        later = await server.submit("kept")

        old, new = await server.ended(started), await server.ended(later)
        assert (old["workflow_version"], old["result"]["value"]) == ("1.0.0", "version 1")
        assert (new["workflow_version"], new["result"]["value"]) == ("2.0.0", "version 2")

    async def test_that_are_gone_leave_accepted_jobs_to_run(self, server: Server) -> None:
        server.files.write(workflow("leaving", [ask("think", "[[delay:1]]"), say("show", "seen")]))
        job_id = (await until_submit_answers(server, "leaving", 202))["job_id"]

        (server.files.definitions / "leaving.json").unlink()
        await until_submit_answers(server, "leaving", 404)

        assert (await server.ended(job_id))["result"]["value"] == "seen"
