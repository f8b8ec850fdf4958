"""Budgets over HTTP: at submit, in the status, in `/admin/limits`, `/admin/spending` and `/budget`."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.fake_llm import FakeLLM
from tests.fixtures.server import API, Server, running_app, workflow

LIMITS = f"{API}/admin/limits"
PRICES = '{"openai_compatible/fake": {"prompt": 1000, "completion": 1000}}'  # a token costs $0.001
# Of each call at most (30 characters / 2.5 + 4) + 10 tokens: $0.026 or so. 4 + 6 are counted: $0.01.
CALL_USD = 0.01


def ask(prompt: str, **config: Any) -> dict[str, Any]:
    """Return a step that asks a model of ten tokens at most."""
    return {"id": "a", "type": "llm", "config": {"prompt_text": prompt, "model": "fake", "max_tokens": 10, **config}}


QUESTION = ask("[[tokens:4:6]][[say:Hi]] 012345")


@pytest.fixture
async def server(database_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    async with (
        FakeLLM() as fake,
        running_app(
            database_url,
            tmp_path,
            llm_url=fake.ollama_url,
            default_llm_provider="openai_compatible",
            external_service_pricing=PRICES,
        ) as server,
    ):
        server.files.write(workflow("free", [QUESTION]))
        server.files.write(workflow("capped", [QUESTION], budget_usd=0.05))
        yield server


async def limit(server: Server, limit_usd: float | None, **fields: Any) -> None:
    response = await server.admin.put(LIMITS, json={"period": "day", "limit_usd": limit_usd, **fields})
    assert response.status_code == 200, response.text


class TestBudgetOfARun:
    async def test_is_the_file_s_unless_the_submit_lowers_it(self, server: Server) -> None:
        whole = await server.ended(await server.submit("capped"))
        lowered = await server.ended(await server.submit("capped", budget_usd=0.0123456789))
        free = await server.ended(await server.submit("free"))

        assert [job["budget_usd"] for job in (whole, lowered, free)] == [0.05, 0.012346, None]
        assert (whole["status"], whole["cost_usd"], whole["unconfirmed_usd"]) == ("completed", CALL_USD, 0)
        assert whole["cost_data"]["unconfirmed_usd"] == 0
        assert (lowered["status"], lowered["error"]["type"]) == ("failed", "budget_exceeded")
        assert "could cost up to $0.0" in lowered["error"]["message"]

    async def test_is_not_raised_by_a_submit(self, server: Server) -> None:
        response = await server.post_job("capped", budget_usd=0.06)

        problem = response.json()
        assert (response.status_code, problem["error"]) == (422, "budget_too_high")
        assert problem["errors"][0]["pointer"] == "/body/budget_usd"
        assert "$0.06" in problem["detail"]
        assert "$0.05" in problem["detail"]

    async def test_counts_a_call_that_was_cut_off_as_unconfirmed(self, server: Server) -> None:
        server.files.write(workflow("lost", [ask("[[close]] 012345")], budget_usd=0.05))

        job = await server.ended(await server.submit("lost"))

        assert (job["status"], job["cost_usd"]) == ("failed", 0)
        assert 0 < job["unconfirmed_usd"] == job["cost_data"]["unconfirmed_usd"] <= 0.05

    async def test_releases_a_call_that_the_provider_refused(self, server: Server) -> None:
        server.files.write(workflow("refused", [ask("[[fail:429]] 01")], budget_usd=1))

        job = await server.ended(await server.submit("refused"))

        assert (job["status"], job["unconfirmed_usd"]) == ("failed", 0)

    async def test_wants_a_model_with_a_price_where_the_file_names_its_provider(self, server: Server) -> None:
        unknown = ask("Hi", model="nobody-knows-it", provider="openai_compatible")
        server.files.write(workflow("priceless", [unknown], budget_usd=1))

        problem = (await server.post_job("priceless")).json()

        assert problem["error"] == "invalid_workflow"
        assert [error["code"] for error in problem["errors"]] == ["model_without_price"]

    async def test_is_refused_for_a_model_whose_price_nobody_knows(self, server: Server) -> None:
        server.files.write(workflow("unknown", [ask("Hi", model="nobody-knows-it", provider="openai_compatible")]))

        job = await server.ended(await server.submit("unknown", budget_usd=1))
        named = await server.post_job("unknown")

        assert job["error"]["type"] == "budget_price_unknown"
        assert "EXTERNAL_SERVICE_PRICING" in job["error"]["message"]
        assert named.status_code == 202


class TestLimits:
    async def test_limits_a_user_from_the_moment_it_is_set(self, server: Server) -> None:
        first = await server.ended(await server.submit("free", user_id="ada"))
        await limit(server, 0.0301, user_id="ada")

        second = await server.ended(await server.submit("free", user_id="ada"))
        other = await server.ended(await server.submit("free", user_id="bob"))

        assert [job["status"] for job in (first, second, other)] == ["completed", "failed", "completed"]
        error = second["error"]
        assert error["details"]["scope"] == "user_day"
        assert (error["details"]["limit_usd"], error["details"]["spent_usd"]) == (0.0301, CALL_USD)
        assert error["details"]["resets_at"].endswith("T00:00:00Z")

    async def test_shows_what_is_left(self, server: Server) -> None:
        await limit(server, 1, user_id="ada")
        await server.ended(await server.submit("free", user_id="ada"))

        budget = (await server.client.get(f"{API}/budget", params={"user_id": "ada"})).json()

        assert {name: budget["day"][name] for name in ("limit_usd", "spent_usd", "reserved_usd", "left_usd")} == {
            "limit_usd": 1,
            "spent_usd": CALL_USD,
            "reserved_usd": 0,
            "left_usd": 1 - CALL_USD,
        }
        assert (budget["month"]["limit_usd"], budget["month"]["spent_usd"]) == (None, CALL_USD)
        tenant = (await server.client.get(f"{API}/budget")).json()
        assert (tenant["day"]["user_id"], tenant["day"]["spent_usd"]) == (None, CALL_USD)

    async def test_is_listed_changed_and_taken_away(self, server: Server) -> None:
        await limit(server, 1, user_id="ada")
        await limit(server, 2, user_id="ada")
        await limit(server, None, tenant_id="acme")

        listed = (await server.admin.get(LIMITS)).json()["items"]
        gone = await server.admin.delete(LIMITS, params={"user_id": "ada", "period": "day"})
        again = await server.admin.delete(LIMITS, params={"user_id": "ada", "period": "day"})

        assert [(each["tenant_id"], each["user_id"], each["limit_usd"]) for each in listed] == [
            ("acme", None, None),
            ("default", "ada", 2),
        ]
        assert (gone.status_code, again.status_code, again.json()["error"]) == (204, 404, "limit_not_found")

    async def test_lists_the_spending_of_all_who_are_limited(self, server: Server) -> None:
        await limit(server, 1, user_id="ada")
        await limit(server, 2)
        await server.ended(await server.submit("free", user_id="ada"))

        items = (await server.admin.get(f"{API}/admin/spending")).json()["items"]

        seen = sorted((each["user_id"] or "", each["limit_usd"], each["spent_usd"]) for each in items)
        assert seen == [("", 2, CALL_USD), ("ada", 1, CALL_USD)]

    async def test_keeps_tenants_from_each_other_and_from_their_own_limit(self, server: Server) -> None:
        acme = await server.new_key("admin", tenant_id="acme")
        bound = await server.new_key("jobs:read", user_id="ada")
        own = {"period": "day", "limit_usd": 1}

        statuses = [
            (await acme.put(LIMITS, json={**own, "tenant_id": "default", "user_id": "ada"})).status_code,
            (await acme.put(LIMITS, json=own)).status_code,
            (await acme.put(LIMITS, json={**own, "user_id": "ada"})).status_code,
            (await acme.get(LIMITS, params={"tenant_id": "default"})).status_code,
            (await server.client.put(LIMITS, json=own)).status_code,
            (await bound.get(f"{API}/budget", params={"user_id": "bob"})).status_code,
            (await bound.get(f"{API}/budget")).status_code,
        ]

        assert statuses == [403, 403, 200, 403, 403, 403, 200]
        assert (await bound.get(f"{API}/budget")).json()["day"]["user_id"] == "ada"
