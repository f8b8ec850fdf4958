"""Approvals and signals over HTTP: the inbox, answering once, what is refused and why."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from callboard.jobs.models import JobSignal
from tests.fixtures.server import API, Server, running_app, say, workflow

FORM = {"type": "object", "required": ["approved"], "properties": {"approved": {"type": "boolean"}}}


def asked(step_id: str = "review", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "type": "approval", "config": {"title": "May it go out?", "form_schema": FORM, **config}}


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with running_app(database_url, tmp_path) as server:
        outputs = {"approved": "${steps.review.answer.approved}", "by": "${steps.review.answered_by}"}
        server.files.write(workflow("letter", [say("draft", "text"), asked()], outputs=outputs))
        server.files.write(workflow("two_people", [asked(required_answers=2)]))
        loop = {"for_each": "${input.items}", "steps": [asked()]}
        server.files.write(workflow("many", [{"id": "each", "type": "parallel", "config": loop}]))
        waits = {"id": "paid", "type": "wait", "config": {"event": "paid"}, "outputs": ["payment"]}
        server.files.write(workflow("order", [waits], outputs={"amount": "${steps.paid.payment.amount}"}))
        yield server


async def waiting(server: Server, name: str, input_data: Any = None, **fields: Any) -> str:
    job_id = await server.submit(name, input_data, **fields)
    await server.until(job_id, "waiting")
    return job_id


async def answer(server: Server, job_id: str, name: str = "review", **body: Any) -> Any:
    return await server.client.post(
        f"{API}/jobs/{job_id}/approvals/{name}", json={"answer": {"approved": True}, **body}
    )


class TestInbox:
    async def test_shows_what_is_asked_and_by_whom(self, server: Server) -> None:
        job_id = await waiting(server, "letter", user_id="ada")

        page = (await server.client.get(f"{API}/approvals")).json()

        (shown,) = page["items"]
        assert (shown["job_id"], shown["step_id"], shown["status"]) == (job_id, "review", "open")
        assert (shown["title"], shown["form_schema"], shown["user_id"]) == ("May it go out?", FORM, "ada")
        assert page["next_cursor"] is None

    async def test_comes_in_pages_the_oldest_first(self, server: Server) -> None:
        jobs = [await waiting(server, "letter") for _ in range(3)]

        first = (await server.client.get(f"{API}/approvals", params={"limit": 2})).json()
        query = {"limit": 2, "cursor": first["next_cursor"]}
        second = (await server.client.get(f"{API}/approvals", params=query)).json()

        assert [each["job_id"] for each in (*first["items"], *second["items"])] == jobs
        assert second["next_cursor"] is None

    async def test_shows_a_user_their_own_jobs_alone(self, server: Server) -> None:
        await waiting(server, "letter", user_id="ada")
        bob = await server.new_key("jobs:read", "jobs:write", user_id="bob")
        other = await server.new_key("jobs:read", tenant_id="elsewhere")

        assert (await bob.get(f"{API}/approvals")).json()["items"] == []
        assert (await other.get(f"{API}/approvals")).json()["items"] == []

    async def test_forgets_what_was_answered(self, server: Server) -> None:
        job_id = await waiting(server, "letter")
        await answer(server, job_id)
        await server.ended(job_id)

        assert (await server.client.get(f"{API}/approvals")).json()["items"] == []
        (kept,) = (await server.client.get(f"{API}/jobs/{job_id}/approvals")).json()["items"]
        assert (kept["status"], kept["answers"][0]["answer"]) == ("answered", {"approved": True})


class TestAnswer:
    async def test_lets_the_job_go_on_with_it(self, server: Server) -> None:
        job_id = await waiting(server, "letter")

        response = await answer(server, job_id, answered_by="ada")

        assert (response.status_code, response.json()["still_wanted"]) == (200, 0)
        job = await server.ended(job_id)
        assert {name: job["result"][name] for name in ("approved", "by")} == {"approved": True, "by": "ada"}

    async def test_is_taken_by_its_id_too(self, server: Server) -> None:
        job_id = await waiting(server, "letter")
        (shown,) = (await server.client.get(f"{API}/approvals")).json()["items"]

        assert (await answer(server, job_id, shown["approval_id"])).status_code == 200

    async def test_the_second_is_409_even_at_the_same_moment(self, server: Server) -> None:
        job_id = await waiting(server, "letter")

        responses = await asyncio.gather(*(answer(server, job_id, answered_by=name) for name in ("ada", "bob")))

        assert sorted(each.status_code for each in responses) == [200, 409]
        late = await answer(server, job_id, answered_by="eve")
        assert (late.status_code, late.json()["error"]) == (409, "approval_ended")

    async def test_that_does_not_fit_is_refused_with_every_error(self, server: Server) -> None:
        job_id = await waiting(server, "letter")

        response = await answer(server, job_id, answer={"approved": "yes"})

        assert (response.status_code, response.json()["error"]) == (422, "invalid_answer")
        assert response.json()["errors"][0]["pointer"] == "/body/answer/approved"
        assert (await server.job(job_id))["status"] == "waiting"

    async def test_each_person_has_one(self, server: Server) -> None:
        job_id = await waiting(server, "two_people")

        first = await answer(server, job_id, answered_by="ada")
        again = await answer(server, job_id, answered_by="ada")
        second = await answer(server, job_id, answered_by="bob")

        assert (first.json()["still_wanted"], second.json()["still_wanted"]) == (1, 0)
        assert (again.status_code, again.json()["error"]) == (409, "answered_already")
        assert (await server.ended(job_id))["status"] == "completed"

    async def test_a_user_answers_as_themselves(self, server: Server) -> None:
        job_id = await waiting(server, "letter", user_id="ada")
        ada = await server.new_key("jobs:read", "jobs:write", user_id="ada")
        url = f"{API}/jobs/{job_id}/approvals/review"

        refused = await ada.post(url, json={"answer": {"approved": True}, "answered_by": "bob"})
        taken = await ada.post(url, json={"answer": {"approved": True}})

        assert refused.status_code == 403
        assert taken.json()["answered_by"] == "ada"

    async def test_a_step_that_asks_several_times_is_answered_by_id(self, server: Server) -> None:
        job_id = await waiting(server, "many", {"items": [1, 2]})

        response = await answer(server, job_id)

        assert (response.status_code, response.json()["error"]) == (409, "approval_ambiguous")
        for shown in (await server.client.get(f"{API}/jobs/{job_id}/approvals")).json()["items"]:
            assert (await answer(server, job_id, shown["approval_id"])).status_code == 200
        assert (await server.ended(job_id))["status"] == "completed"

    async def test_of_nobody_is_404(self, server: Server) -> None:
        job_id = await waiting(server, "letter")
        stranger = await server.new_key("jobs:write", tenant_id="elsewhere")

        unknown = await answer(server, job_id, "nothing")
        foreign = await stranger.post(f"{API}/jobs/{job_id}/approvals/review", json={"answer": {"approved": True}})

        assert (unknown.status_code, unknown.json()["error"]) == (404, "approval_not_found")
        assert foreign.status_code == 404

    async def test_a_cancelled_job_takes_none(self, server: Server) -> None:
        job_id = await waiting(server, "letter")
        await server.client.delete(f"{API}/workflow/{job_id}")

        response = await answer(server, job_id)

        assert (response.status_code, response.json()["error"]) == (409, "approval_ended")


class TestSignal:
    async def test_lets_the_job_go_on_with_its_payload(self, server: Server) -> None:
        job_id = await waiting(server, "order")

        response = await server.client.post(f"{API}/jobs/{job_id}/signals/paid", json={"payload": {"amount": 7}})

        assert (response.status_code, response.json()) == (202, {"job_id": job_id, "name": "paid"})
        assert (await server.ended(job_id))["result"]["amount"] == 7

    async def test_sent_twice_with_one_key_counts_once(self, server: Server) -> None:
        job_id = await waiting(server, "order")
        url, headers = f"{API}/jobs/{job_id}/signals/shipped", {"Idempotency-Key": "k1"}

        first = await server.client.post(url, json={"payload": 1}, headers=headers)
        again = await server.client.post(url, json={"payload": 1}, headers=headers)
        other = await server.client.post(url, json={"payload": 2}, headers=headers)

        assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
        assert await _signals_of(server, job_id) == [1]

    async def test_to_an_ended_job_is_409(self, server: Server) -> None:
        job_id = await waiting(server, "order")
        await server.client.delete(f"{API}/workflow/{job_id}")

        response = await server.client.post(f"{API}/jobs/{job_id}/signals/paid", json={})

        assert (response.status_code, response.json()["error"]) == (409, "signal_refused")

    @pytest.mark.parametrize("name", ["a b", "ä", "x" * 101], ids=["a space", "no ASCII", "too long"])
    async def test_with_a_name_that_no_step_can_wait_for_is_422(self, server: Server, name: str) -> None:
        job_id = await waiting(server, "order")

        assert (await server.client.post(f"{API}/jobs/{job_id}/signals/{name}", json={})).status_code == 422


async def _signals_of(server: Server, job_id: str) -> list[int]:
    query = sa.select(JobSignal.number).where(JobSignal.job_id == UUID(job_id))
    async with server.services.database.reads() as session:
        return list((await session.scalars(query)).all())
