"""A step that calls a host over HTTP: the workflow file, the engine, the guard and a real server together."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from callboard.core.config import load_settings
from callboard.core.http_client import HttpClient
from callboard.core.replay import RecordedAnswers
from callboard.core.telemetry import Telemetry
from callboard.integrations.registry import ServiceRegistry
from callboard.outside_services import build_registry, build_services
from callboard.workflows.bundles import Bundle
from callboard.workflows.compiled_workflow import CompiledWorkflow
from callboard.workflows.compiler import compile_workflow
from callboard.workflows.errors import InvalidWorkflowError, RunFailedError
from callboard.workflows.steps.external_api import ExternalApiStep
from callboard.workflows.steps.registry import StepRegistry
from tests.fixtures.fake_shop import FakeShop
from tests.fixtures.scripted_steps import WatchedCheckpointer, run_workflow


@pytest.fixture
async def shop() -> AsyncIterator[FakeShop]:
    async with FakeShop() as fake:
        yield fake


@pytest.fixture
async def services(shop: FakeShop) -> AsyncIterator[ServiceRegistry]:
    settings = load_settings(http_allowed_hosts=shop.host)
    http = HttpClient()
    answers = RecordedAnswers.load(settings.prompts_dir / "none")
    registry = build_registry(settings, build_services(settings, http, answers), Telemetry())
    yield registry
    await registry.close()
    await http.close()


def compile_call(services: ServiceRegistry, method: str, parameters: dict[str, Any], **step: Any) -> CompiledWorkflow:
    config = {"service": "http", "method": method, "parameters": parameters}
    steps = [{"id": "orders", "type": "external_api", "config": config, **step}]
    return compile_workflow(
        Bundle(definition={"name": "test", "steps": steps}), StepRegistry([ExternalApiStep(services)])
    )


class TestHttpStep:
    async def test_calls_the_host_and_gives_its_json(self, services: ServiceRegistry, shop: FakeShop) -> None:
        call = {"url": f"{shop.url}/orders", "query": {"customer": "${input.customer_id}"}}

        output = await run_workflow(compile_call(services, "get", call), input_data={"customer_id": 7})

        assert output["data"] == {"orders": [{"id": 1, "total": 9.5}]}
        assert (output["status_code"], output["cached"]) == (200, False)
        assert shop.queries == ["customer=7"]

    async def test_hands_a_secret_to_the_host_alone(self, services: ServiceRegistry, shop: FakeShop) -> None:
        journal = WatchedCheckpointer(secrets={"TOKEN": "s3cr3t", "KEY": "k/e+y"})
        call = {
            "url": f"{shop.url}/status/200",
            "headers": {"Authorization": "Bearer ${secrets.TOKEN}"},
            "query": {"key": "${secrets.KEY}"},
            "body": "echo ${secrets.TOKEN}",
        }

        with capture_logs() as logs:
            output = await run_workflow(compile_call(services, "post", call), journal)

        assert shop.seen[0].headers["Authorization"] == "Bearer s3cr3t"
        assert output["data"] == "echo [secret]"
        assert "s3cr3t" not in repr((journal.records, journal.calls, journal.usage, logs))

    async def test_takes_a_secret_out_of_a_refusal(self, services: ServiceRegistry, shop: FakeShop) -> None:
        journal = WatchedCheckpointer(secrets={"TOKEN": "s3cr3t"})
        call = {"url": f"{shop.url}/status/400", "body": "bad token ${secrets.TOKEN}"}

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_call(services, "post", call), journal)

        assert "answered post with 400: bad token [secret]" in failed.value.error["message"]
        assert "s3cr3t" not in repr((failed.value.error, journal.records))

    async def test_is_tried_again_when_the_host_says_so(self, services: ServiceRegistry, shop: FakeShop) -> None:
        journal = WatchedCheckpointer()
        call = {"url": f"{shop.url}/status/503", "query": {"retry_after": 7}}

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_call(services, "get", call, retry={"max_attempts": 2}), journal)

        assert failed.value.error["type"] == "service_unavailable"
        assert journal.slept == [7]
        assert len(shop.seen) == 2

    async def test_refuses_a_host_that_is_not_allowed(self, services: ServiceRegistry, shop: FakeShop) -> None:
        call = {"url": "${input.url}"}

        with pytest.raises(RunFailedError) as failed:
            await run_workflow(compile_call(services, "get", call), input_data={"url": "http://169.254.169.254/"})

        assert failed.value.error["type"] == "url_refused"
        assert "HTTP_ALLOWED_HOSTS" in failed.value.error["message"]
        assert shop.seen == []

    async def test_is_checked_before_it_runs(self, services: ServiceRegistry) -> None:
        with pytest.raises(InvalidWorkflowError) as caught:
            compile_call(services, "get", {"url": "api.example.com", "json": {}})

        found = {(finding.pointer, finding.code) for finding in caught.value.findings}
        assert ("/steps/0/config/parameters/json", "unknown_field") in found
        assert any(pointer == "/steps/0/config/parameters/url" for pointer, _ in found)
