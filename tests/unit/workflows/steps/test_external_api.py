"""The external_api step: one call, counted, and no secret in what is kept of it."""

import asyncio
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from callboard.core.pricing import Cost, UnitPrice
from callboard.integrations.errors import ServiceRejectedError, ServiceUnavailableError
from callboard.integrations.port import ServiceResult
from callboard.integrations.registry import ServiceRegistry
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from callboard.workflows.steps.base import RunSuspended
from callboard.workflows.steps.external_api import ExternalApiStep
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.scripted_steps import WatchedCheckpointer, run_workflow

COST = Cost(usd=Decimal("0.032"), source="operator", price_id="maps", price=UnitPrice(call_usd=Decimal("0.032")))


class SearchParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: str
    radius: int = 1
    token: str = ""


class Maps:
    """A service in memory. What it is asked stands in `asked`; `query` tells how it answers."""

    name = "maps"
    provider = "maps"
    methods: Mapping[str, type[BaseModel]] = {"search": SearchParameters}

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    async def call(self, method: str, parameters: Mapping[str, Any]) -> ServiceResult:
        self.asked.append(parameters)
        match parameters["query"]:
            case "hang":
                await asyncio.sleep(60)
            case "away":
                raise ServiceUnavailableError(retry_after_seconds=7)
            case "refuse":
                try:
                    int(parameters["token"])
                except ValueError as error:  # its message holds the token
                    message = f"refused {parameters['token']}"
                    raise ServiceRejectedError(message, details={"sent": parameters["token"]}) from error
        data = {"found": parameters["query"], "sent": parameters.get("token")}
        return ServiceResult(data=data, status_code=200, units=1, cost=COST, duration_ms=12)

    async def close(self) -> None:
        """There is nothing to close."""


def compile_call(maps: Maps, config: Mapping[str, Any], **step: Any) -> CompiledWorkflow:
    steps = [{"id": "places", "type": "external_api", "config": {"service": "maps", **config}, **step}]
    registry = StepRegistry([ExternalApiStep(ServiceRegistry([maps]))])
    return compile_workflow(Bundle(definition={"name": "test", "steps": steps}), registry)


def search(**parameters: Any) -> dict[str, Any]:
    return {"method": "search", "parameters": parameters}


class TestExternalApiStep:
    async def test_gives_data_and_how_it_went(self) -> None:
        workflow = compile_call(Maps(), search(query="${input.q}"))

        assert await run_workflow(workflow, input_data={"q": "police"}) == {
            "data": {"found": "police", "sent": None},
            "cached": False,
            "status_code": 200,
            "duration_ms": 12,
        }

    async def test_takes_operation_for_method(self) -> None:
        workflow = compile_call(Maps(), {"operation": "search", "parameters": {"query": "q"}})

        assert (await run_workflow(workflow))["status_code"] == 200

    async def test_records_what_the_call_used_and_cost(self) -> None:
        journal = WatchedCheckpointer()

        await run_workflow(compile_call(Maps(), search(query="q")), journal)

        ((path, usage),) = journal.usage
        assert (path, usage.service, usage.provider, usage.model) == ("places#1", "maps", "maps", "search")
        assert (usage.input_units, usage.cost_usd, usage.task_name) == (1, Decimal("0.032"), "places")
        assert usage.metadata["call_usd"] == "0.032"

    async def test_makes_no_journaled_call_again_and_needs_no_secret_for_it(self) -> None:
        maps, journal = Maps(), WatchedCheckpointer(stop_at_save=1, secrets={"T": "t"})
        workflow = compile_call(maps, search(query="q", token="${secrets.T}"))
        with pytest.raises(RunSuspended):
            await run_workflow(workflow, journal)

        outputs = await run_workflow(workflow, WatchedCheckpointer(journal))

        assert len(maps.asked) == 1
        assert outputs["data"]["found"] == "q"

    async def test_stops_waiting_in_time(self) -> None:
        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_call(Maps(), search(query="hang"), timeout_seconds=0.01))

        assert failed.value.error["type"] == "step_timeout"
        assert "maps.search did not answer within 0.01 s" in failed.value.error["message"]

    async def test_temporary_failures_are_tried_again(self) -> None:
        journal, maps = WatchedCheckpointer(), Maps()

        with pytest.raises(RunFailedError):
            await run_workflow(compile_call(maps, search(query="away"), retry={"max_attempts": 2}), journal)

        assert len(maps.asked) == 2
        assert journal.slept == [7]


class TestSecrets:
    async def test_reach_the_service_and_nothing_else(self) -> None:
        maps, journal = Maps(), WatchedCheckpointer(secrets={"TOKEN": "s3cr3t"})

        outputs = await run_workflow(compile_call(maps, search(query="q", token="Bearer ${secrets.TOKEN}")), journal)

        assert maps.asked[0]["token"] == "Bearer s3cr3t"
        assert outputs["data"]["sent"] == "Bearer [secret]"
        assert "s3cr3t" not in repr((journal.records, journal.calls, journal.usage))

    async def test_are_taken_out_of_errors(self) -> None:
        journal = WatchedCheckpointer(secrets={"TOKEN": "s3cr3t"})

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_call(Maps(), search(query="refuse", token="${secrets.TOKEN}")), journal)

        assert failed.value.error["details"] == {"sent": "[secret]"}
        assert "refused [secret]" in failed.value.error["message"]
        assert "s3cr3t" not in repr(list(_chain(failed.value)))
        assert "s3cr3t" not in repr(journal.records)

    async def test_that_are_missing_fail_the_step_by_name(self) -> None:
        with pytest.raises(RunFailedError, match="TOKEN"):
            await run_workflow(compile_call(Maps(), search(query="q", token="${secrets.TOKEN}")))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and all that led to it."""
    seen: list[BaseException | None] = []
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if error is not None and error not in seen:
            seen.append(error)
            waiting += [error.__cause__, error.__context__]
            yield error


class TestCompile:
    @pytest.mark.parametrize(
        ("config", "places"),
        [
            ({"service": "mapz", "method": "search"}, {("service", "unknown_service")}),
            ({"method": "serch"}, {("method", "unknown_method")}),
            ({"operation": "serch"}, {("operation", "unknown_method")}),
            (search(query="q", radius="far"), {("parameters/radius", "shape")}),
            (search(query="${input.q}", radus=1), {("parameters/radus", "unknown_field")}),
            (search(radius="${input.r}"), {("parameters/query", "missing_field")}),
            (search(query="q", cache=1) | {"cache_ttl": -1}, {("cache_ttl", "shape")}),
            (
                {"parameters": {"query": "${steps.x.y}"}},
                {("method", "missing_field"), ("parameters/query", "unknown_step")},
            ),
        ],
        ids=["service", "method", "operation", "value", "field", "missing", "ttl", "no method"],
    )  # fmt: skip
    def test_tells_what_is_wrong(self, config: dict[str, Any], places: set[tuple[str, str]]) -> None:
        with pytest.raises(InvalidWorkflowError) as refused:
            compile_call(Maps(), config)

        found = {(f.pointer.removeprefix("/steps/0/config/"), f.code) for f in refused.value.findings if f.is_error}
        assert found == places
