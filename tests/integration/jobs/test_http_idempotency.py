"""Idempotency-Key on POST /workflow: one key and body make one job, whatever the network does."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from callboard.core.idempotency import IdempotencyKey
from tests.fixtures.server import API, Server, eventually, running_app, say, workflow


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with running_app(database_url, tmp_path) as server:
        server.files.write(workflow("echo", [say("show", "seen")]))
        yield server


async def count_jobs(server: Server) -> int:
    return len((await server.admin.get(f"{API}/jobs", params={"limit": 200})).json()["jobs"])


class TestIdempotencyKey:
    async def test_gives_the_first_answer_again(self, server: Server) -> None:
        first = await server.post_job("echo", {"a": 1}, idempotency_key="k")
        await server.ended(first.json()["job_id"])

        again = await server.post_job("echo", {"a": 1}, idempotency_key="k")

        assert (again.status_code, again.json()) == (202, first.json())
        assert again.headers["location"] == first.headers["location"]
        assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
        assert await count_jobs(server) == 1

    @pytest.mark.parametrize(
        "change", [{"input_data": {"a": 2}}, {"priority": 1}, {"user_id": "bob"}, {"metadata": {}}], ids=str
    )
    async def test_refuses_another_body(self, server: Server, change: dict[str, Any]) -> None:
        body = {"workflow_name": "echo", "input_data": {"a": 1}}
        headers = {"Idempotency-Key": "k"}
        await server.client.post(f"{API}/workflow", json=body, headers=headers)

        other = await server.client.post(f"{API}/workflow", json=body | change, headers=headers)

        assert (other.status_code, other.json()["error"]) == (409, "idempotency_conflict")
        assert await count_jobs(server) == 1

    async def test_takes_the_same_body_in_another_order_for_the_same(self, server: Server) -> None:
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        texts = (
            '{"workflow_name": "echo", "input_data": {"a": 1, "b": 2}}',
            '{"input_data": {"b": 2,  "a": 1}, "workflow_name": "echo"}',
        )

        answers = [await server.client.post(f"{API}/workflow", content=text, headers=headers) for text in texts]

        assert answers[0].json() == answers[1].json()

    async def test_makes_one_job_of_twenty_requests_in_a_race(self, server: Server) -> None:
        race = [server.post_job("echo", {"a": 1}, idempotency_key="k") for _ in range(20)]

        answers = await asyncio.gather(*race)

        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.text for answer in answers}) == 1
        assert await count_jobs(server) == 1

    async def test_makes_one_job_where_bodies_race(self, server: Server) -> None:
        race = [server.post_job("echo", {"a": number}, idempotency_key="k") for number in range(10)]

        answers = await asyncio.gather(*race)

        assert sorted(answer.status_code for answer in answers) == [202] + [409] * 9
        assert await count_jobs(server) == 1

    async def test_makes_a_job_each_for_other_keys_and_for_none(self, server: Server) -> None:
        for key in ("a", "b", None, None):
            assert (await server.post_job("echo", {"a": 1}, idempotency_key=key)).status_code == 202

        assert await count_jobs(server) == 4

    async def test_belongs_to_its_tenant(self, server: Server) -> None:
        acme = await server.new_key("jobs:write", tenant_id="acme")
        ours = await server.post_job("echo", {"a": 1}, idempotency_key="k")

        theirs = await server.post_job("echo", {"a": 2}, idempotency_key="k", by=acme)

        assert theirs.status_code == 202
        assert theirs.json()["job_id"] != ours.json()["job_id"]

    async def test_is_free_again_when_it_is_old(self, server: Server) -> None:
        first = await server.post_job("echo", {"a": 1}, idempotency_key="k")
        async with server.services.database.writes() as session:
            made_at = (await session.scalars(sa.select(IdempotencyKey.created_at))).one()
            await session.execute(sa.update(IdempotencyKey).values(created_at=made_at - timedelta(hours=24, seconds=1)))

        second = await server.post_job("echo", {"a": 2}, idempotency_key="k")

        assert (second.status_code, second.json()["job_id"] == first.json()["job_id"]) == (202, False)
        assert (await server.post_job("echo", {"a": 1}, idempotency_key="k")).status_code == 409

    async def test_is_not_used_up_by_a_request_that_was_refused(self, server: Server) -> None:
        refused = await server.post_job("nothing", idempotency_key="k")

        taken = await server.post_job("echo", idempotency_key="k")

        assert (refused.status_code, taken.status_code) == (404, 202)

    async def test_gives_the_first_answer_when_the_workflow_is_gone_by_then(self, server: Server) -> None:
        first = await server.post_job("echo", idempotency_key="k")
        (server.files.definitions / "echo.json").unlink()
        await eventually(lambda: server.post_job("echo"), until=lambda response: response.status_code == 404)

        again = await server.post_job("echo", idempotency_key="k")

        assert (again.status_code, again.json()) == (202, first.json())

    @pytest.mark.parametrize("value", ["NaN", "9223372036854775808", '"\\ud800"'], ids=["NaN", "65 bit", "surrogate"])
    async def test_does_not_hide_what_is_wrong_with_another_body(self, server: Server, value: str) -> None:
        await server.post_job("echo", idempotency_key="k")
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        content = f'{{"workflow_name": "echo", "input_data": {value}}}'

        response = await server.client.post(f"{API}/workflow", content=content, headers=headers)

        assert (response.status_code, response.json()["error"]) == (422, "invalid_input")

    @pytest.mark.parametrize("key", ["", "two words", "k" * 256, "caf\u00e9"], ids=["empty", "space", "long", "8 bit"])
    async def test_is_printable_ascii(self, server: Server, key: str) -> None:
        headers = {b"Idempotency-Key": key.encode("latin-1")}

        response = await server.client.post(f"{API}/workflow", json={"workflow_name": "echo"}, headers=headers)

        assert response.status_code == 422
        assert [error["pointer"] for error in response.json()["errors"]] == ["/header/Idempotency-Key"]
