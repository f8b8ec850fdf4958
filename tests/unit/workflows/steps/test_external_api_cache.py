"""Kept answers of outside services: cost nothing, show no secret, and belong to who asked with which secret."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from callboard.core.cache import AnswerCache, KeptAnswer
from callboard.core.json_values import JsonValue
from callboard.core.pricing import Cost
from callboard.integrations.errors import ServiceUnavailableError
from callboard.integrations.port import ServiceResult
from callboard.integrations.registry import ServiceRegistry
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import RunFailedError
from callboard.workflows.steps.external_api import ExternalApiStep
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.scripted_steps import WatchedCheckpointer, run_workflow


class SearchParameters(BaseModel):
    query: str = ""
    token: str = ""


class Shop:
    """A service in memory that numbers its answers, all with `status_code`. The first `failures` calls fail."""

    name = "shop"
    methods: Mapping[str, type[BaseModel]] = {"search": SearchParameters, "list": SearchParameters}

    def __init__(self, *, provider: str = "shop", failures: int = 0, status_code: int = 200) -> None:
        self.provider = provider
        self.calls = 0
        self._failures = failures
        self._status_code = status_code

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        self.calls += 1
        number = self.calls
        await asyncio.sleep(0)
        if number <= self._failures:
            raise ServiceUnavailableError
        data = {"call": number, "sent": parameters.get("token")}
        cost = Cost(usd=Decimal("0.01"), source="operator", price_id="shop")
        return ServiceResult(data=data, status_code=self._status_code, units=1, cost=cost, duration_ms=12)

    async def close(self) -> None:
        """There is nothing to close."""


class DictStore:
    """The level below the memory, in a dictionary."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], KeptAnswer] = {}

    async def find(self, tenant_id: str, key: str) -> KeptAnswer | None:
        return self.answers.get((tenant_id, key))

    def keep_soon(self, answer: KeptAnswer) -> None:
        self.answers[answer.tenant_id, answer.key] = answer

    async def close(self) -> None:
        """There is nothing to wait for."""


async def ask(
    shop: Shop,
    cache: AnswerCache,
    *,
    method: str = "search",
    ttl: int = 60,
    secret: str = "s3cr3t",
    journal: WatchedCheckpointer | None = None,
    retry: Any = None,
    **parameters: Any,
) -> JsonValue:
    config = {"service": "shop", "method": method, "parameters": parameters, "cache_ttl": ttl}
    step = {"id": "found", "type": "external_api", "config": config, "retry": retry}
    definition = {"name": "test", "steps": [{name: value for name, value in step.items() if value is not None}]}
    registry = StepRegistry([ExternalApiStep(ServiceRegistry([shop]), cache)])
    workflow = compile_workflow(Bundle(definition=definition), registry)
    return await run_workflow(workflow, journal or WatchedCheckpointer(secrets={"TOKEN": secret}))


class TestKeptAnswers:
    async def test_are_taken_in_place_of_a_call(self) -> None:
        shop, cache = Shop(), AnswerCache()
        first = await ask(shop, cache, query="q")

        second = await ask(shop, cache, query="q")

        assert (first["cached"], first["duration_ms"]) == (False, 12)
        assert (second["cached"], second["data"], second["status_code"]) == (True, first["data"], 200)
        assert shop.calls == 1

    async def test_have_a_usage_row_without_units_or_cost(self) -> None:
        shop, cache, journal = Shop(), AnswerCache(), WatchedCheckpointer()
        await ask(shop, cache)

        await ask(shop, cache, journal=journal)

        ((path, usage),) = journal.usage
        assert (path, usage.service, usage.model, usage.task_name) == ("found#1", "shop", "search", "found")
        assert (usage.input_units, usage.cost_usd) == (0, Decimal(0))
        assert usage.metadata == {"status_code": 200, "cached": True}

    @pytest.mark.parametrize(
        "other", [{"query": "x"}, {"method": "list"}, {"ttl": 0}], ids=["parameters", "method", "no ttl"]
    )
    async def test_are_those_of_the_same_call(self, other: dict[str, Any]) -> None:
        shop, cache = Shop(), AnswerCache()
        await ask(shop, cache, query="q")

        assert (await ask(shop, cache, **{"query": "q", **other}))["cached"] is False

    async def test_of_the_sandbox_are_not_served_once_the_service_is_live(self) -> None:
        cache = AnswerCache()
        await ask(Shop(provider="sandbox"), cache)

        assert (await ask(Shop(provider="shop"), cache))["cached"] is False

    async def test_equal_calls_at_once_are_one(self) -> None:
        shop, cache = Shop(), AnswerCache()

        outputs = await asyncio.gather(*(ask(shop, cache) for _ in range(10)))

        assert [output["data"]["call"] for output in outputs] == [1] * 10
        assert shop.calls == 1

    async def test_a_failure_is_not_kept_and_is_tried_again(self) -> None:
        shop, cache = Shop(failures=1), AnswerCache()

        output = await ask(shop, cache, retry={"max_attempts": 2})

        assert (output["data"]["call"], output["cached"]) == (2, False)

    async def test_an_error_status_that_is_the_answer_is_not_kept(self) -> None:
        shop, cache = Shop(status_code=404), AnswerCache()
        await ask(shop, cache)

        assert (await ask(shop, cache))["cached"] is False

    async def test_a_failure_tells_no_secret(self) -> None:
        with pytest.raises(RunFailedError) as failed:
            await ask(Shop(failures=1), AnswerCache(), token="${secrets.TOKEN}")

        assert "s3cr3t" not in repr(failed.value.error)


class TestSecrets:
    async def test_two_of_them_share_no_answer(self) -> None:
        shop, cache = Shop(), AnswerCache()

        calls = [
            (await ask(shop, cache, token="${secrets.TOKEN}", secret=secret))["data"]["call"]
            for secret in ("one", "two", "one")
        ]

        assert calls == [1, 2, 1]

    async def test_are_in_nothing_that_is_kept(self) -> None:
        store = DictStore()
        cache = AnswerCache(store)
        await ask(Shop(), cache, token="${secrets.TOKEN}")

        output = await ask(Shop(), cache, token="${secrets.TOKEN}")

        assert output["data"] == {"call": 1, "sent": "[secret]"}
        assert "s3cr3t" not in repr(store.answers)
