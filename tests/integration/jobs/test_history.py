"""What earlier runs tell: real runs on both databases, read back for a dry run."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from callboard.jobs.repository.history import JobHistory
from callboard.workflows.dry_runs.history import Seen
from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import Server, ask, running_app, say, workflow

STEPS: list[dict[str, Any]] = [
    ask("draft", "Hi ${input.name}"),
    {
        "id": "choose",
        "type": "conditional",
        "config": {"condition": "input.n > 1", "if_true": [say("big", "b")], "if_false": [say("small", "s")]},
    },
    {
        "id": "each",
        "type": "parallel",
        "config": {
            "for_each": "${input.items}",
            "as": "number",
            "steps": [say("line", "- ${number}"), say("rare", "r", when="number > 1")],
        },
    },
]


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with FakeLLM() as fake, running_app(database_url, tmp_path, llm_url=fake.ollama_url) as server:
        server.files.write(workflow("seen", STEPS))
        yield server


async def run(server: Server, n: int, items: list[int], **options: Any) -> None:
    job = await server.ended(await server.submit("seen", {"name": "Ada", "n": n, "items": items}, **options))
    assert job["status"] == "completed", job["error"]


class TestRead:
    async def test_is_nothing_before_the_first_run(self, server: Server) -> None:
        assert await JobHistory(server.services.database).read("seen", tenant_id="default") is None

    async def test_tells_how_steps_ran(self, server: Server) -> None:
        await run(server, 2, [1, 2, 3, 4])
        await run(server, 1, [1, 2])

        past = await JobHistory(server.services.database).read("seen", tenant_id="default")

        assert past is not None
        assert (past.runs, set(past.steps)) == (2, {"draft", "choose", "big", "small", "each", "line", "rare"})
        assert past.steps["line"].instances == Seen(2, 3, 4)
        assert past.steps["line"].output_chars == Seen(5, 5, 5)  # "- 1" in quotes
        assert past.steps["rare"].ran_share == pytest.approx(4 / 6)
        assert past.steps["choose"].choices == {"if_true": 1, "if_false": 1}
        assert past.steps["draft"].sample["content"]

    async def test_tells_what_calls_used_and_cost(self, server: Server) -> None:
        await run(server, 2, [])

        past = await JobHistory(server.services.database).read("seen", tenant_id="default")

        assert past is not None
        draft = past.steps["draft"]
        assert draft.calls == Seen(1, 1, 1)
        assert draft.input_tokens is not None
        assert draft.output_tokens is not None
        assert draft.output_tokens.mean > 0
        assert draft.cost_usd is not None
        assert past.steps["big"].calls is None

    async def test_is_of_one_tenant_alone(self, server: Server) -> None:
        other = await server.new_key("jobs:read", "jobs:write", tenant_id="other")
        await run(server, 2, [1, 2, 3], by=other)

        history = JobHistory(server.services.database)

        assert await history.read("seen", tenant_id="default") is None
        assert await history.read("seen", tenant_id="other") is not None


class TestWorkflowsThatRunOthers:
    async def test_steps_inside_have_names_of_their_own(self, server: Server) -> None:
        inner = [ask("draft", "Sum up ${input.n}"), say("line", "x" * 20)]
        server.files.write(workflow("inner", inner))
        sub = {"id": "sub", "type": "workflow", "config": {"workflow": "inner", "input": {"n": "${number}"}}}
        loop = {"for_each": "${input.items}", "as": "number", "steps": [sub]}
        each = {"id": "each", "type": "parallel", "config": loop}
        server.files.write(workflow("outer", [each, say("line", "${input.name}")]))
        for items in ([1, 2, 3], [1]):
            job = await server.ended(await server.submit("outer", {"name": "Ada", "n": 1, "items": items}))
            assert job["status"] == "completed", job["error"]

        past = await JobHistory(server.services.database).read("outer", tenant_id="default")

        assert past is not None
        assert set(past.steps) == {"each", "sub", "sub/draft", "sub/line", "line"}
        assert past.steps["line"].instances == Seen(1, 1, 1)
        assert past.steps["line"].output_chars == Seen(5, 5, 5)  # "Ada" in quotes
        assert past.steps["sub/line"].instances == Seen(1, 2, 3)
        assert past.steps["sub/line"].output_chars == Seen(22, 22, 22)
        assert (past.steps["line"].sample, past.steps["sub/line"].sample) == ("Ada", "x" * 20)
        assert past.steps["sub/draft"].calls == Seen(1, 1, 1)
        assert past.steps["sub/draft"].output_tokens is not None
        assert len(past.steps["each"].choices) == 2

    async def test_only_so_many_rows_of_them_are_read_newest_runs_first(self, server: Server) -> None:
        server.files.write(workflow("inner", [say("line", "${input.n}")]))
        sub = {"id": "sub", "type": "workflow", "config": {"workflow": "inner", "input": {"n": "${input.n}"}}}
        server.files.write(workflow("outer", [sub]))
        for n in (11, 2):
            await server.ended(await server.submit("outer", {"n": n}))

        newest = await JobHistory(server.services.database, max_rows=3).read("outer", tenant_id="default")
        nothing = await JobHistory(server.services.database, max_rows=1).read("outer", tenant_id="default")

        assert newest is not None
        assert (newest.runs, newest.steps["sub/line"].output_chars) == (1, Seen(3, 3, 3))  # "2" in quotes
        assert nothing is None
