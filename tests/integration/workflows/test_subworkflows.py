"""Workflows inside workflows, in real workers on both databases: end to end, after a crash, and pinned at submit."""

import json
from pathlib import Path

from callboard.workflows.bundles import Bundle
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.scripted_steps import subrun
from tests.fixtures.server import API, WorkflowFiles, ask, eventually, running_app, say, workflow

PROPERTIES = {"name": {"type": "string"}, "end": {"type": "string", "default": "!"}}
GREETING = workflow(
    "greeting",
    [ask("draft", "[[say:Dear ${input.name}]]"), say("text", "${steps.draft.content}, ${context.word}${input.end}")],
    input_schema={"type": "object", "required": ["name"], "properties": PROPERTIES},
    context={"word": "hello"},
    outputs={"text": "${steps.text.output}"},
)
LETTERS = workflow(
    "letters",
    [
        {
            "id": "each",
            "type": "parallel",
            "config": {"for_each": "${input.names}", "steps": [subrun("greet", "greeting", {"name": "${item}"})]},
        }
    ],
    outputs={"texts": "${steps.each.output[*].text}"},
)
RECORDED = {"service": "llm", "request": {"model": "m"}, "response": {"content": "x"}}
EXPECTED = ["Dear Ada, hello!", "Dear Lin, hello!"]


class TestRun:
    async def test_goes_from_submit_to_result(self, database_url: str, tmp_path: Path) -> None:
        async with FakeLLM() as fake, running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
            server.files.write(GREETING)
            server.files.write(LETTERS)
            job_id = await server.submit("letters", {"names": ["Ada", "Lin"]})
            job = await server.ended(job_id)
            steps = (await server.admin.get(f"{API}/jobs/{job_id}/steps")).json()["items"]

        assert (job["status"], job["total_steps"]) == ("completed", 1)
        assert job["result"]["texts"] == EXPECTED
        assert {step["path"] for step in steps} == {
            "each",
            *(f"each[{index}]/greet{rest}" for index in (0, 1) for rest in ("", "/draft", "/text")),
        }
        assert len(job["cost_data"]["llm_calls"]) == 2

    async def test_is_pinned_to_the_files_as_they_were_at_submit(self, database_url: str, tmp_path: Path) -> None:
        async with FakeLLM() as fake:
            async with running_app(database_url, tmp_path, llm_url=fake.ollama_url, embedded_worker=False) as server:
                server.files.write(GREETING)
                server.files.write(LETTERS)
                job_id = await server.submit("letters", {"names": ["Ada", "Lin"]})
                schema = {"properties": {**PROPERTIES, "end": {"default": "?"}}}
                server.files.write({**GREETING, "context": {"word": "goodbye"}, "input_schema": schema})
            async with running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
                job = await server.ended(job_id)
                later = await server.ended(await server.submit("letters", {"names": ["Ada"]}))

        assert job["result"]["texts"] == EXPECTED
        assert later["result"]["texts"] == ["Dear Ada, goodbye?"]

    async def test_a_file_that_is_gone_is_told_at_the_next_submit(self, database_url: str, tmp_path: Path) -> None:
        async with running_app(database_url, tmp_path) as server:
            server.files.write(GREETING)
            server.files.write(LETTERS)
            await server.submit("letters", {"names": []})
            (server.files.definitions / "greeting.json").unlink()

            refused = await eventually(
                lambda: server.post_job("letters", {"names": []}), until=lambda answer: answer.status_code != 202
            )

        assert refused.status_code == 422
        assert 'There is no workflow \\"greeting\\".' in refused.text


class TestDefaults:
    async def test_are_those_of_each_workflow_by_its_own_name(self, sqlite_url: str, tmp_path: Path) -> None:
        answers = {"workflow": "greeting", "origin": "a test", "answers": [RECORDED]}
        WorkflowFiles(tmp_path).write_prompt("greeting.replay.json", json.dumps(answers))
        async with running_app(sqlite_url, tmp_path, default_llm_provider=None) as server:
            server.files.write(GREETING)
            server.files.write(LETTERS)

            prepared = server.services.catalogue.prepare("letters")

        bundle = Bundle.from_json(prepared.content)
        assert bundle.defaults["provider"] == "sandbox"
        assert bundle.workflows["greeting"].defaults["provider"] == "replay"
